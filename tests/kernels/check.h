/*
 * The kernel checker: every kernel of every set against the scalar one, bit for bit; and the benchmark of the same
 * kernels. Inputs come from a counter-based generator, so that a printed seed repeats a failure.
 */
#ifndef ACC_TESTS_KERNELS_CHECK_H
#define ACC_TESTS_KERNELS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/hash.h"
#include "kernels/kernels.h"

/* Memory between two pages that fault. Its end (rounded up to 64 bytes) touches the second one; what lies before the
 * start on the first usable page holds a pattern. Filled with 0xa5. */
typedef struct check_buffer {
    uint8_t *data;
    size_t size, map_bytes;
    uint8_t *map;
} check_buffer;

check_buffer check_alloc(size_t bytes);
/* Fails the test if the bytes around the buffer were written; frees. */
void check_release(check_buffer *b);

static inline float *check_floats(const check_buffer *b)
{
    return (float *)(void *)b->data;
}

/* A stream of numbers. */
typedef struct check_random {
    uint64_t seed, at;
} check_random;

static inline uint64_t check_next(check_random *r)
{
    return acc_random(r->seed, r->at++);
}

/* The named set, or skip() where the machine or build lacks it. */
void check_set(acc_kernels *k, const char *isa);

/* Seeds: ACCLLM_SEED alone, or several fixed ones. */
size_t check_seeds(uint64_t seeds[4]);

/* ---- checks: cmocka tests whose state is the set's name ---- */
void check_matvec(void **state);
void check_matmul(void **state);
void check_attn4(void **state);
void check_attn8(void **state);
void check_attn_query(void **state);
void check_kv(void **state);
void check_a8(void **state);
void check_norm_a8(void **state);
void check_silu_mul(void **state);
void check_scale(void **state);

/* ---- benchmarks: lines of "kernel,isa,shape,ns,GB/s,Gweight/s" ---- */
void bench_linear(const acc_kernels *k, const char *only);
/* The others: "kernel,isa,shape,ns" per call, and per position and head or element. */
void bench_other(const acc_kernels *k);

#endif
