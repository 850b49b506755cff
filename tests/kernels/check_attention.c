/* attn4, attn8 and attn_query of every set against the scalar ones: shapes, masks, pieces and values at the edges. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kv_layout.h"
#include "numerics/numerics.h"

#define MAX_PIECES 8

typedef struct attn_case {
    uint32_t bits, head_dim, n_heads, n_pieces, positions, first, end;
    int style; /* 0 ordinary; else extremes, see fill() */
} attn_case;

typedef struct attn_data {
    check_buffer k[MAX_PIECES], v[MAX_PIECES], kscale[MAX_PIECES], vscale[MAX_PIECES], kzero[MAX_PIECES],
        vzero[MAX_PIECES];
    check_buffer q, max, l, o, scratch;
    acc_attn_piece pieces[MAX_PIECES];
    acc_attn_query *queries;
} attn_data;

static uint16_t f16_between(check_random *r, double low, double high)
{
    return acc_f32_to_f16((float)(low * exp((double)(check_next(r) % 4096) / 4096 * log(high / low))));
}

/* Codes and scales of one piece. Positions outside first..end hold anything at all. */
static void fill_piece(const attn_case *c, check_random *r, attn_data *t, uint32_t p, uint32_t base)
{
    uint32_t n = t->pieces[p].n;
    for (size_t i = 0; i < t->k[p].size; i++) t->k[p].data[i] = (uint8_t)(c->style == 1 ? 0xff : check_next(r));
    for (size_t i = 0; i < t->v[p].size; i++) t->v[p].data[i] = (uint8_t)(c->style == 1 ? 0xff : check_next(r));
    if (c->bits == 8) {
        for (size_t i = 0; i < t->k[p].size; i++) {
            if (c->style == 1) t->k[p].data[i] = t->v[p].data[i] = i % 3 ? 127 : 0x81;
            if (t->k[p].data[i] == 0x80) t->k[p].data[i] = 0x81;
            if (t->v[p].data[i] == 0x80) t->v[p].data[i] = 0x81;
        }
    }
    uint16_t *ks = (uint16_t *)(void *)t->kscale[p].data, *vs = (uint16_t *)(void *)t->vscale[p].data;
    for (uint32_t i = 0; i < n; i++) {
        bool inside = base + i >= c->first && base + i < c->end;
        ks[i] = f16_between(r, 0.004, 0.4);
        vs[i] = c->style == 2 ? f16_between(r, 1e-7, 60000) : f16_between(r, 0.01, 1);
        if (c->style == 3) vs[i] = 0;
        if (c->style == 4 && check_next(r) % 4) ks[i] = vs[i] = 0;
        if (c->style == 5) ks[i] = 0x7bff; /* the maximum towers over the rest */
        if (c->bits == 4) {
            t->kzero[p].data[i] = c->style == 1 ? 15 : (uint8_t)(check_next(r) % 16);
            t->vzero[p].data[i] = c->style == 1 ? 0 : (uint8_t)(check_next(r) % 16);
        }
        if (inside) continue;
        ks[i] = (uint16_t)check_next(r);
        vs[i] = check_next(r) % 2 ? 0x7e00 : 0xfc00;
        if (c->bits == 4) t->kzero[p].data[i] = t->vzero[p].data[i] = (uint8_t)check_next(r);
    }
}

static void make(const attn_case *c, check_random *r, attn_data *t)
{
    uint32_t dims = acc_kv_dims(c->head_dim), blocks = c->positions / 16, base = 0;
    size_t block = c->bits == 4 ? acc_kv4_block_bytes(dims) : acc_kv8_block_bytes(dims);
    memset(t, 0, sizeof *t);
    for (uint32_t p = 0; p < c->n_pieces; p++) {
        uint32_t n = (blocks * (p + 1) / c->n_pieces - blocks * p / c->n_pieces) * 16;
        t->k[p] = check_alloc(n / 16 * block);
        t->v[p] = check_alloc(n / 16 * block);
        t->kscale[p] = check_alloc(2 * (size_t)n);
        t->vscale[p] = check_alloc(2 * (size_t)n);
        t->kzero[p] = check_alloc(n);
        t->vzero[p] = check_alloc(n);
        t->pieces[p] = (acc_attn_piece){.k = t->k[p].data,
                                        .v = t->v[p].data,
                                        .kscale = (const uint16_t *)(const void *)t->kscale[p].data,
                                        .vscale = (const uint16_t *)(const void *)t->vscale[p].data,
                                        .kzero = c->bits == 4 ? t->kzero[p].data : NULL,
                                        .vzero = c->bits == 4 ? t->vzero[p].data : NULL,
                                        .n = n,
                                        .variant = (uint32_t)(check_next(r) % c->n_pieces)};
        fill_piece(c, r, t, p, base);
        base += n;
    }
    size_t n_queries = (size_t)c->n_pieces * c->n_heads;
    t->q = check_alloc(n_queries * dims);
    t->queries = calloc(n_queries, sizeof *t->queries);
    assert_non_null(t->queries);
    for (size_t i = 0; i < n_queries; i++) {
        int8_t *q = (int8_t *)t->q.data + i * dims;
        acc_attn_query *out = &t->queries[i];
        out->q = q;
        for (uint32_t d = 0; d < dims; d++) {
            q[d] = (int8_t)((int)(check_next(r) % 255) - 127);
            if (c->style == 1) q[d] = i % 2 ? 127 : -127;
            if (d >= c->head_dim) q[d] = 0;
            out->sum += q[d];
        }
        out->c = ldexpf((float)(1 + check_next(r) % 100), c->style == 5 ? -3 : -14);
        out->beta = (float)(int)(check_next(r) % 17) - 8;
        if (c->style == 4) out->c = 0, out->beta = i % 2 ? 0.0f : -0.0f;
        if (c->style == 6 && i % 3 == 1) out->c = 3e38f;
        if (c->style == 6 && i % 3 == 2) out->beta = NAN; /* never a crash, and the same bits */
    }
    t->max = check_alloc(c->n_heads * sizeof(float));
    t->l = check_alloc(c->n_heads * sizeof(uint32_t));
    t->o = check_alloc((size_t)c->n_heads * c->head_dim * sizeof(float));
    t->scratch = check_alloc(acc_kernel_scratch_bytes(64, 1));
}

static void destroy(attn_data *t)
{
    for (uint32_t p = 0; p < MAX_PIECES; p++) {
        check_buffer *all[] = {&t->k[p], &t->v[p], &t->kscale[p], &t->vscale[p], &t->kzero[p], &t->vzero[p]};
        for (size_t i = 0; t->pieces[p].n && i < 6; i++) check_release(all[i]);
    }
    check_buffer *rest[] = {&t->q, &t->max, &t->l, &t->o, &t->scratch};
    for (size_t i = 0; i < 5; i++) check_release(rest[i]);
    free(t->queries);
}

static void call(const acc_kernels *k, const attn_case *c, attn_data *t)
{
    acc_attn_segment s = {.pieces = t->pieces,
                          .n_pieces = c->n_pieces,
                          .first = c->first,
                          .end = c->end,
                          .head_dim = c->head_dim,
                          .n_heads = c->n_heads,
                          .queries = t->queries,
                          .max = check_floats(&t->max),
                          .l = (uint32_t *)(void *)t->l.data,
                          .o = check_floats(&t->o)};
    memset(t->scratch.data, 0x5a, t->scratch.size);
    memset(t->max.data, 0x5a, t->max.size);
    memset(t->l.data, 0x5a, t->l.size);
    memset(t->o.data, 0x5a, t->o.size);
    (c->bits == 4 ? k->attn4 : k->attn8)(&s, t->scratch.data);
}

static void check_case(const acc_kernels *k, const attn_case *c, uint64_t seed)
{
    acc_kernels ref;
    check_random r = {.seed = seed};
    attn_data t;
    assert_int_equal(acc_kernels_select(&ref, "scalar", NULL), ACCLLM_OK);
    make(c, &r, &t);
    call(&ref, c, &t);
    uint8_t *expect = malloc(t.o.size + 8 * c->n_heads);
    assert_non_null(expect);
    memcpy(expect, t.o.data, t.o.size);
    memcpy(expect + t.o.size, t.max.data, t.max.size);
    memcpy(expect + t.o.size + t.max.size, t.l.data, t.l.size);
    call(k, c, &t);
    if (memcmp(expect, t.o.data, t.o.size) != 0 || memcmp(expect + t.o.size, t.max.data, t.max.size) != 0 ||
        memcmp(expect + t.o.size + t.max.size, t.l.data, t.l.size) != 0) {
        const char *what = memcmp(expect + t.o.size, t.max.data, t.max.size) != 0            ? "max"
                           : memcmp(expect + t.o.size + t.max.size, t.l.data, t.l.size) != 0 ? "l"
                                                                                             : "o";
        fail_msg("%s differs: seed %llu bits %u head_dim %u heads %u pieces %u positions %u first %u end %u style %d",
                 what, (unsigned long long)seed, c->bits, c->head_dim, c->n_heads, c->n_pieces, c->positions, c->first,
                 c->end, c->style);
    }
    free(expect);
    destroy(&t);
}

static void check_attention(void **state, uint32_t bits)
{
    static const uint32_t dims[] = {64, 48, 128, 80, 8, 256, 32, 22, 96};
    static const uint32_t positions[] = {16, 48, 176, 512};
    acc_kernels k;
    check_set(&k, *state);
    uint64_t seeds[4];
    size_t n = check_seeds(seeds);
    for (size_t i = 0; i < n; i++) {
        check_random r = {.seed = seeds[i] + bits};
        for (uint32_t t = 0; t < 9 * 8; t++) {
            attn_case c = {.bits = bits, .head_dim = dims[t % 9], .n_heads = 1 + t / 9, .style = (int)(t % 7)};
            c.positions = positions[check_next(&r) % 4];
            c.n_pieces = 1 + (uint32_t)(check_next(&r) % 3);
            c.first = check_next(&r) % 2 ? (uint32_t)(check_next(&r) % c.positions) : 0;
            c.end =
                check_next(&r) % 2 ? c.first + 1 + (uint32_t)(check_next(&r) % (c.positions - c.first)) : c.positions;
            if (c.n_pieces > c.positions / 16) c.n_pieces = c.positions / 16;
            check_case(&k, &c, seeds[i] * 1000 + t);
        }
    }
    /* Full segments, with a mask at both ends, ordinary and at the largest sums. */
    uint32_t full = bits == 4 ? ACC_SEGMENT_KV4 : ACC_SEGMENT_KV8;
    for (int style = 0; style < 2; style++) {
        attn_case c = {bits, 64, 3, 4, full, 0, full, style};
        check_case(&k, &c, 77);
        c = (attn_case){bits, 32, 2, 5, full + 32, 17, full + 15, style};
        check_case(&k, &c, 78);
    }
}

void check_attn4(void **state)
{
    check_attention(state, 4);
}

void check_attn8(void **state)
{
    check_attention(state, 8);
}

/* Fills x with ordinary numbers, or with what the style asks for. */
static void fill_floats(float *x, uint32_t n, check_random *r, uint32_t style)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = (float)((double)(int64_t)check_next(r) * 0x1p-62);
        if (style == 1) x[i] = (check_next(r) & 1 ? 1 : -1) * 0x1p-101f;
        if (style == 2) x[i] = check_next(r) & 1 ? 0.0f : -0.0f;
        if (style == 3 && check_next(r) % 8 == 0) x[i] *= 1e30f;
        if (style == 4) x[i] = (float)(int)(check_next(r) % 9) - 4; /* ties */
    }
    if (style == 5) x[check_next(r) % n] = NAN;
    if (style == 6) x[check_next(r) % n] = -INFINITY;
    if (style == 7) x[check_next(r) % n] = 3.4e38f;
}

void check_attn_query(void **state)
{
    static const uint32_t dims[] = {64, 48, 128, 80, 8, 256, 32, 22, 2, 96, 40};
    acc_kernels k, ref;
    check_set(&k, *state);
    assert_int_equal(acc_kernels_select(&ref, "scalar", NULL), ACCLLM_OK);
    uint64_t seeds[4];
    size_t n = check_seeds(seeds);
    for (size_t i = 0; i < n; i++)
        for (uint32_t t = 0; t < 11 * 16; t++) {
            check_random r = {.seed = seeds[i] * 1000 + t};
            uint32_t dim = dims[t % 11], dp = acc_kv_dims(dim), style = t / 11 % 8;
            check_buffer q = check_alloc(4 * dim), mu = check_alloc(4 * dim), cos_ = check_alloc(2 * dim);
            check_buffer sin_ = check_alloc(2 * dim), a = check_alloc(dp), b = check_alloc(dp);
            float *qf = check_floats(&q), *mf = check_floats(&mu);
            float *cf = check_floats(&cos_), *sf = check_floats(&sin_);
            fill_floats(qf, dim, &r, style);
            fill_floats(mf, dim, &r, style == 3 ? 3 : 0);
            for (uint32_t j = 0; j < dim / 2; j++) acc_sincos(check_next(&r), &sf[j], &cf[j]);
            bool sink = t % 3 == 0;
            uint32_t block = sink ? 1 : acc_hadamard_block(dim);
            acc_attn_query x = {0}, y = {0};
            bool ok = ref.attn_query(qf, cf, sf, sink ? NULL : mf, dim, block, 0.125f, (int8_t *)a.data, &x);
            assert_int_equal(k.attn_query(qf, cf, sf, sink ? NULL : mf, dim, block, 0.125f, (int8_t *)b.data, &y), ok);
            if (style == 5 || style == 6) assert_false(ok);
            if (ok) {
                assert_memory_equal(a.data, b.data, dp);
                assert_ptr_equal(y.q, b.data);
                assert_int_equal(x.sum, y.sum);
                assert_memory_equal(&x.c, &y.c, 4);
                assert_memory_equal(&x.beta, &y.beta, 4);
            }
            check_buffer *all[] = {&q, &mu, &cos_, &sin_, &a, &b};
            for (size_t j = 0; j < 6; j++) check_release(all[j]);
        }
}
