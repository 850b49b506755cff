/* Guarded buffers, sets and seeds of the kernel checker. */
#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/memory.h"

check_buffer check_alloc(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = acc_round_up(bytes ? bytes : 1, ACC_ALIGN);
    check_buffer b = {.size = bytes, .map_bytes = acc_round_up(size, page) + 2 * page};
    b.map = mmap(NULL, b.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b.map == MAP_FAILED || mprotect(b.map + page, b.map_bytes - 2 * page, PROT_READ | PROT_WRITE) != 0)
        fail_msg("out of memory: %zu bytes", bytes);
    memset(b.map + page, 0xa5, b.map_bytes - 2 * page);
    b.data = b.map + b.map_bytes - page - size;
    return b;
}

void check_release(check_buffer *b)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (const uint8_t *p = b->map + page; p < b->data; p++)
        if (*p != 0xa5) fail_msg("written %zu bytes before a buffer of %zu", (size_t)(b->data - p), b->size);
    for (const uint8_t *p = b->data + b->size; p < b->map + b->map_bytes - page; p++)
        if (*p != 0xa5) fail_msg("written behind a buffer of %zu", b->size);
    (void)munmap(b->map, b->map_bytes);
}

void check_set(acc_kernels *k, const char *isa)
{
    const char *names[8];
    acc_kernels_available(names);
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(names[i], isa) != 0) continue;
        accllm_error err;
        if (acc_kernels_select(k, isa, &err) != ACCLLM_OK) fail_msg("%s", err.text);
        assert_string_equal(k->name, isa);
        return;
    }
    skip();
}

size_t check_seeds(uint64_t seeds[4])
{
    const char *one = getenv("ACCLLM_SEED");
    if (one) {
        seeds[0] = strtoull(one, NULL, 10);
        return 1;
    }
    for (uint64_t i = 0; i < 3; i++) seeds[i] = i + 1;
    return 3;
}
