#include "core/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *acc_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (!acc_mul(n, size, &bytes) || bytes > SIZE_MAX - ACC_ALIGN) return NULL;
    bytes = acc_round_up(bytes ? bytes : 1, ACC_ALIGN);
    void *p = aligned_alloc(ACC_ALIGN, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

accllm_status acc_alloc(void **out, size_t n, size_t size, const char *what, accllm_error *err)
{
    *out = acc_calloc(n, size);
    if (*out) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: %s (%.1f MB)", what, (double)n * (double)size / 1e6);
}

void acc_free(void *p)
{
    free(p);
}

#define HUGE_PAGE ((size_t)2 << 20)

void *acc_pages_alloc(size_t bytes)
{
    if (bytes == 0 || bytes > SIZE_MAX - HUGE_PAGE) return NULL;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (bytes >= HUGE_PAGE) (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish, not a need */
    return p;
}

void acc_pages_free(void *p, size_t bytes)
{
    if (p) (void)munmap(p, bytes);
}

char *acc_strndup(const char *s, size_t n)
{
    return strndup(s, n);
}
