/* Attention and vector kernels against the clock: one thread, everything in cache, best of several runs. */
#include "check.h"

#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "kernels/kv_layout.h"
#include "numerics/numerics.h"

/* Nanoseconds of one call, the best of 9 runs of about 2 ms. */
#define BEST_NS(best, call)                                               \
    do {                                                                  \
        uint64_t times = 1;                                               \
        (best) = 1e30;                                                    \
        for (int run_ = 0; run_ < 9; run_++) {                            \
            double t_ = acc_seconds();                                    \
            for (uint64_t i_ = 0; i_ < times; i_++) call;                 \
            t_ = (acc_seconds() - t_) * 1e9;                              \
            if (t_ / (double)times < (best)) (best) = t_ / (double)times; \
            if (t_ < 2e6) times = (uint64_t)(2e6 / (best)) + 1;           \
        }                                                                 \
    } while (0)

static void *bytes(size_t n, uint64_t seed)
{
    uint8_t *p = acc_calloc(n, 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)acc_random(seed, i);
    return p;
}

static float *floats(uint32_t n, uint64_t seed)
{
    float *x = acc_calloc(n, sizeof *x);
    assert_non_null(x);
    for (uint32_t i = 0; i < n; i++) x[i] = (float)(acc_random_unit(seed, i) * 8 - 4);
    return x;
}

/* Pages of 256 positions, as in the ring. */
static void bench_attn(const acc_kernels *k, uint32_t bits, uint32_t head_dim, uint32_t n_heads, uint32_t n)
{
    enum { PIECES = 16 };
    uint32_t dims = acc_kv_dims(head_dim), pieces = (n + 255) / 256;
    size_t block = bits == 4 ? acc_kv4_block_bytes(dims) : acc_kv8_block_bytes(dims);
    uint8_t *kl = bytes(n / 16 * block, 1), *vl = bytes(n / 16 * block, 2), *zero = bytes(n, 3);
    uint16_t *scale = acc_calloc(n, 2);
    int8_t *q = bytes((size_t)PIECES * n_heads * dims, 4);
    acc_attn_query queries[PIECES * 8];
    acc_attn_piece p[PIECES];
    float *max = floats(8, 0), *o = floats(8 * head_dim, 0);
    uint32_t *l = acc_calloc(8, 4);
    void *scratch = acc_calloc(acc_kernel_scratch_bytes(64, 1), 1);
    assert_true(scale && l && scratch);
    for (uint32_t i = 0; i < n; i++) {
        zero[i] &= 15;
        scale[i] = (uint16_t)(0x2c00 + acc_random(5, i) % 1024);
    }
    for (uint32_t i = 0; i < pieces * n_heads; i++) {
        queries[i] = (acc_attn_query){.q = q + i * dims, .c = 0.004f, .beta = 0.1f};
        for (uint32_t d = 0; d < dims; d++)
            queries[i].sum += q[i * dims + d] == -128 ? (q[i * dims + d] = 1) : q[i * dims + d];
    }
    for (uint32_t i = 0; i < pieces; i++) {
        size_t from = i * 256;
        p[i] = (acc_attn_piece){kl + from / 16 * block,
                                vl + from / 16 * block,
                                scale + from,
                                scale + from,
                                bits == 4 ? zero + from : NULL,
                                bits == 4 ? zero + from : NULL,
                                i + 1 < pieces ? 256 : n - i * 256,
                                i};
    }
    acc_attn_segment s = {p, pieces, 0, n, head_dim, n_heads, queries, max, l, o};
    double ns;
    BEST_NS(ns, (bits == 4 ? k->attn4 : k->attn8)(&s, scratch));
    (void)printf("attn%u,%s,%ux%ux%u,%.0f,%.3f ns/position/head\n", bits, k->name, head_dim, n_heads, n, ns,
                 ns / n / n_heads);
    void *all[] = {kl, vl, zero, scale, q, max, o, l, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
}

static void bench_vectors(const acc_kernels *k, uint32_t n)
{
    float *x = floats(n, 1), *g = floats(n, 2), *y = floats(n, 3), s;
    int8_t *a = bytes(n, 4);
    int32_t *isum = bytes(n * sizeof *isum, 5);
    double ns;
    BEST_NS(ns, (void)k->a8(x, n, n, a, &s));
    (void)printf("a8,%s,%u,%.0f,%.3f ns/element\n", k->name, n, ns, ns / n);
    BEST_NS(ns, (void)k->norm_a8(x, g, n, n, 1e-5f, a, &s));
    (void)printf("norm_a8,%s,%u,%.0f,%.3f ns/element\n", k->name, n, ns, ns / n);
    BEST_NS(ns, k->silu_mul(x, g, y, n));
    (void)printf("silu_mul,%s,%u,%.0f,%.3f ns/element\n", k->name, n, ns, ns / n);
    BEST_NS(ns, k->scale(isum, x, 0.5f, NULL, y, n));
    (void)printf("scale,%s,%u,%.0f,%.3f ns/element\n", k->name, n, ns, ns / n);
    void *all[] = {x, g, y, a, isum};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
}

static void bench_query(const acc_kernels *k, uint32_t dim)
{
    float *q = floats(dim, 1), *c = floats(dim / 2, 2), *s = floats(dim / 2, 3), *mu = floats(dim, 4);
    int8_t *q8 = bytes(acc_kv_dims(dim), 5);
    acc_attn_query out;
    double ns;
    BEST_NS(ns, (void)k->attn_query(q, c, s, mu, dim, acc_hadamard_block(dim), 0.125f, q8, &out));
    (void)printf("attn_query,%s,%u,%.0f,%.3f ns/element\n", k->name, dim, ns, ns / dim);
    void *all[] = {q, c, s, mu, q8};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
}

static void bench_kv(const acc_kernels *k, uint32_t dim)
{
    float *x = floats(dim, 1), *c = floats(dim / 2, 2), *s = floats(dim / 2, 3), *mu = floats(dim, 4);
    float *y = floats(acc_kv_dims(dim), 5);
    uint8_t *u = bytes(dim, 6), zero;
    uint16_t scale;
    double ns;
    BEST_NS(ns, k->kv_turn(x, c, s, mu, dim, acc_hadamard_block(dim), y));
    (void)printf("kv_turn,%s,%u,%.0f,%.3f ns/element\n", k->name, dim, ns, ns / dim);
    BEST_NS(ns, (void)k->kv4(x, dim, u, &scale, &zero));
    (void)printf("kv4,%s,%u,%.0f,%.3f ns/element\n", k->name, dim, ns, ns / dim);
    BEST_NS(ns, (void)k->kv4_key(x, dim, mu, u, &scale, &zero));
    (void)printf("kv4_key,%s,%u,%.0f,%.3f ns/element\n", k->name, dim, ns, ns / dim);
    BEST_NS(ns, (void)k->kv8(x, dim, (int8_t *)u, &scale));
    (void)printf("kv8,%s,%u,%.0f,%.3f ns/element\n", k->name, dim, ns, ns / dim);
    void *all[] = {x, c, s, mu, y, u};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
}

void bench_other(const acc_kernels *k)
{
    static const uint32_t shapes[][2] = {{64, 3}, {64, 1}, {64, 4}, {64, 7}, {128, 1}, {128, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bench_attn(k, 4, shapes[i][0], shapes[i][1], 2048);
        bench_attn(k, 8, shapes[i][0], shapes[i][1], 512);
    }
    bench_attn(k, 4, 64, 3, 16);
    bench_attn(k, 8, 64, 3, 16);
    bench_query(k, 64);
    bench_query(k, 128);
    bench_kv(k, 64);
    bench_kv(k, 128);
    bench_vectors(k, 576);
    bench_vectors(k, 1536);
}
