/*
 * Linear layers, the definition: isum[n] = sum_g m[n,g] * sum_k w[n,k] a[k], modulo 2^32. A tile is expanded to
 * integers once and meets every token.
 */
#include <string.h>

#include "kernels/scalar/scalar.h"

typedef struct tile {
    int8_t w[ACC_TILE_ROWS][128];
    uint32_t m[ACC_TILE_ROWS];
} tile;

typedef void expand_fn(const acc_weight *w, const uint8_t *src, tile *t);

static void read_m(const uint8_t *m, tile *t)
{
    for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) t->m[r] = m[r];
}

static void expand_w2s(const acc_weight *w, const uint8_t *src, tile *t)
{
    int8_t quads[128][4];
    for (unsigned c = 0; c < 128; c++) acc_w2s_quad(c, w->level1, w->level2, quads[c]);
    for (uint32_t k = 0; k < w->group; k += 4, src += ACC_W2S_QUAD_BYTES) {
        uint8_t codes[ACC_TILE_ROWS];
        acc_w2s_codes(src, codes);
        for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) memcpy(&t->w[r][k], quads[codes[r]], 4);
    }
    read_m(src, t);
}

static void expand_w2(const acc_weight *w, const uint8_t *src, tile *t)
{
    for (uint32_t k = 0; k < w->group; k += 4, src += ACC_W2_QUAD_BYTES)
        for (uint32_t i = 0; i < ACC_W2_QUAD_BYTES; i++)
            for (uint32_t f = 0; f < 4; f++)
                t->w[i / 4 + 16 * f][k + i % 4] = (int8_t)(2 * (src[i] >> (2 * f) & 3) - 3);
    read_m(src, t);
}

static void expand_w4(const acc_weight *w, const uint8_t *src, tile *t)
{
    for (uint32_t k = 0; k < w->group; k += 4, src += ACC_W4_QUAD_BYTES) {
        for (uint32_t i = 0; i < ACC_W4_QUAD_BYTES; i++) {
            t->w[i / 4][k + i % 4] = (int8_t)((src[i] & 15) - 8);
            t->w[i / 4 + 32][k + i % 4] = (int8_t)((src[i] >> 4) - 8);
        }
    }
    read_m(src, t);
}

static void expand_w8(const acc_weight *w, const uint8_t *src, tile *t)
{
    for (uint32_t k = 0; k < w->group; k += 4, src += ACC_W8_QUAD_BYTES)
        for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) memcpy(&t->w[r][k], src + 4 * r, 4);
    for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) t->m[r] = 1;
}

static void add_tile(const tile *t, uint32_t group, const int8_t *a, int32_t *isum)
{
    for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) {
        int32_t sum = 0;
        for (uint32_t k = 0; k < group; k++) sum += t->w[r][k] * a[k];
        isum[r] = (int32_t)((uint32_t)isum[r] + t->m[r] * (uint32_t)sum);
    }
}

static void linear(expand_fn *expand, const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens,
                   int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    for (uint32_t t = 0; t < n_tokens; t++)
        memset(isum + t * ldi, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t rb = rb0; rb < rb1; rb++) {
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            tile t;
            expand(w, acc_weight_tile(w, bytes, cg, rb), &t);
            for (uint32_t n = 0; n < n_tokens; n++)
                add_tile(&t, w->group, a + n * lda + (size_t)cg * w->group,
                         isum + n * ldi + (size_t)(rb - rb0) * ACC_TILE_ROWS);
        }
    }
}

#define LINEAR(format)                                                                                              \
    static void matvec_##format(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1,    \
                                void *scratch)                                                                      \
    {                                                                                                               \
        (void)scratch;                                                                                              \
        linear(expand_##format, w, a, 0, 1, isum, 0, rb0, rb1);                                                     \
    }                                                                                                               \
    static void matmul_##format(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, \
                                size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)                              \
    {                                                                                                               \
        (void)scratch;                                                                                              \
        linear(expand_##format, w, a, lda, n_tokens, isum, ldi, rb0, rb1);                                          \
    }

LINEAR(w2s)
LINEAR(w2)
LINEAR(w4)
LINEAR(w8)

void acc_kernels_init_scalar_linear(acc_kernels *k)
{
    k->w[ACC_FMT_W2S].matvec = matvec_w2s;
    k->w[ACC_FMT_W2S].matmul = matmul_w2s;
    k->w[ACC_FMT_W2].matvec = matvec_w2;
    k->w[ACC_FMT_W2].matmul = matmul_w2;
    k->w[ACC_FMT_W4].matvec = matvec_w4;
    k->w[ACC_FMT_W4].matmul = matmul_w4;
    k->w[ACC_FMT_W8].matvec = matvec_w8;
    k->w[ACC_FMT_W8].matmul = matmul_w8;
    for (int f = 0; f < ACC_FMT_COUNT; f++) k->w[f].run = 16;
}
