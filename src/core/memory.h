/* Allocation and checked size arithmetic. Every size that comes from a file passes acc_mul/acc_add. */
#ifndef ACC_CORE_MEMORY_H
#define ACC_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define ACC_ALIGN 64 /* cache line; widest vector */

static inline bool acc_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool acc_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline size_t acc_round_up(size_t x, size_t to)
{
    return (x + to - 1) / to * to;
}

/* n items of size bytes, zeroed, 64-byte aligned; NULL when out of memory or n * size overflows. n = 0 gives a valid
 * pointer. Free with acc_free(). */
void *acc_calloc(size_t n, size_t size) __attribute__((malloc));
/* The same with the message "out of memory: WHAT (N MB)". */
accllm_status acc_alloc(void **out, size_t n, size_t size, const char *what, accllm_error *err) ACC_MUST_CHECK;
void acc_free(void *p); /* NULL-safe */
/* Zeroed memory in its own pages, on huge pages where the system has them; for large weights. */
void *acc_pages_alloc(size_t bytes);
void acc_pages_free(void *p, size_t bytes);
/* malloc'ed copies; NULL when out of memory. */
char *acc_strndup(const char *s, size_t n);

#endif
