/*
 * Prefill: many tokens meet one tile. W2S, W2 and W4 are expanded once per tile to unsigned bytes code + offset; 16
 * rows x up to 6 tokens then live in registers, a multiply-add of bytes and an add of words per 32 products. The words
 * start at -offset * sum(a), which makes the sums exact modulo 2^16, where they fit: a word holds one pair of columns
 * of every quad, at most Q * 127 * G / 4 (W2S), 32 quads * 2 * 3 * 127 (W2) or 16 quads * 2 * 8 * 127 (W4). W8
 * multiplies words.
 */
#include "kernels/avx2/linear.h"

#define TOKENS 6         /* of one register tile */
#define DENSE_BYTES 8192 /* 64 rows x 128 columns */

/* Tokens' codes by column group, so that rows of the original stride never meet in one cache set, with the starting
 * words of each part of a group. */
typedef struct tokens {
    int8_t *codes;  /* [col_groups][n][group] */
    int32_t *start; /* [col_groups][parts][n] */
    uint32_t n, parts;
} tokens;

static void pack_tokens(const acc_weight *w, const int8_t *a, size_t lda, int32_t offset, tokens *t)
{
    const uint32_t width = w->group / t->parts;
    for (uint32_t cg = 0; cg < w->col_groups; cg++)
        for (uint32_t n = 0; n < t->n; n++) {
            const int8_t *src = a + n * lda + (size_t)cg * w->group;
            memcpy(t->codes + ((size_t)cg * t->n + n) * w->group, src, w->group);
            for (uint32_t p = 0; p < t->parts; p++)
                t->start[((size_t)cg * t->parts + p) * t->n + n] = acc_start_words(src + p * width, width, offset);
        }
}

/* Where a kernel finds one tile: dense bytes [4 groups of 16 rows][quad][16][4], m [64] in row order. */
typedef struct dense_tile {
    const uint8_t *dense;
    const uint8_t *m;
    uint32_t quads; /* of the group */
} dense_tile;

/* isum [n][ldi] += 16 rows times n (constant) tokens. */
static inline __attribute__((always_inline)) void block(const uint8_t *dense, uint32_t quads, const int8_t *a,
                                                        uint32_t group, const int32_t *start, __m256i m0, __m256i m1,
                                                        int32_t *isum, size_t ldi, const int n)
{
    __m256i s0[TOKENS], s1[TOKENS];
#pragma GCC unroll 6
    for (int t = 0; t < n; t++) s0[t] = s1[t] = _mm256_set1_epi32(start[t]);
    for (uint32_t q = 0; q < quads; q++, dense += 64) {
        const __m256i w0 = load256(dense), w1 = load256(dense + 32);
#pragma GCC unroll 6
        for (int t = 0; t < n; t++) {
            const __m256i v = broadcast4(a + (size_t)t * group + 4 * q);
            s0[t] = acc_add_bytes(s0[t], w0, v);
            s1[t] = acc_add_bytes(s1[t], w1, v);
        }
    }
#pragma GCC unroll 6
    for (int t = 0; t < n; t++, isum += ldi) {
        store256(isum, _mm256_add_epi32(load256(isum), _mm256_madd_epi16(s0[t], m0)));
        store256(isum + 8, _mm256_add_epi32(load256(isum + 8), _mm256_madd_epi16(s1[t], m1)));
    }
}

#define BLOCK(n)                                                                                                 \
    static __attribute__((noinline)) void block##n(const uint8_t *dense, uint32_t quads, const int8_t *a,        \
                                                   uint32_t group, const int32_t *start, __m256i m0, __m256i m1, \
                                                   int32_t *isum, size_t ldi)                                    \
    {                                                                                                            \
        block(dense, quads, a, group, start, m0, m1, isum, ldi, n);                                              \
    }
BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)
BLOCK(5)
BLOCK(6)

typedef void block_fn(const uint8_t *dense, uint32_t quads, const int8_t *a, uint32_t group, const int32_t *start,
                      __m256i m0, __m256i m1, int32_t *isum, size_t ldi);
static block_fn *const blocks[TOKENS + 1] = {NULL, block1, block2, block3, block4, block5, block6};

static void add_tile(const acc_weight *w, const dense_tile *d, const tokens *t, uint32_t cg, int32_t *isum, size_t ldi)
{
    const uint32_t quads = d->quads / t->parts;
    for (uint32_t at = 0; at < t->n; at += TOKENS) {
        block_fn *f = blocks[t->n - at < TOKENS ? t->n - at : TOKENS];
        const int8_t *a = t->codes + ((size_t)cg * t->n + at) * w->group;
        for (uint32_t rows = 0; rows < ACC_TILE_ROWS; rows += 16) {
            const __m256i m0 = acc_twice(d->m + rows), m1 = acc_twice(d->m + rows + 8);
            for (uint32_t p = 0; p < t->parts; p++)
                f(d->dense + ((size_t)rows / 16 * d->quads + p * quads) * 64, quads, a + p * quads * 4, w->group,
                  t->start + ((size_t)cg * t->parts + p) * t->n + at, m0, m1, isum + at * ldi + rows, ldi);
        }
    }
}

/* ---- expanding a tile ---- */

static const uint8_t *expand_w2(const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    const __m256i mask = _mm256_set1_epi8(6);
    const size_t rows16 = (size_t)quads * 64;
    for (uint32_t q = 0; q < quads; q++, src += ACC_W2_QUAD_BYTES, dense += 64)
        for (uint32_t i = 0; i < 64; i += 32) {
            const __m256i x = load256(src + i);
            store256(dense + i, _mm256_and_si256(_mm256_slli_epi16(x, 1), mask));
            store256(dense + rows16 + i, _mm256_and_si256(_mm256_srli_epi16(x, 1), mask));
            store256(dense + 2 * rows16 + i, _mm256_and_si256(_mm256_srli_epi16(x, 3), mask));
            store256(dense + 3 * rows16 + i, _mm256_and_si256(_mm256_srli_epi16(x, 5), mask));
        }
    return src;
}

static const uint8_t *expand_w4(const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    const __m256i mask = _mm256_set1_epi8(15);
    for (uint32_t q = 0; q < quads; q++, src += ACC_W4_QUAD_BYTES, dense += 64)
        for (uint32_t i = 0; i < 4; i++) {
            const __m256i x = load256(src + 32 * i);
            uint8_t *to = dense + (size_t)(i / 2) * quads * 64 + i % 2 * 32;
            store256(to, _mm256_and_si256(x, mask));
            store256(to + (size_t)2 * quads * 64, _mm256_and_si256(_mm256_srli_epi16(x, 4), mask));
        }
    return src;
}

/* Two picks per row in adjacent bytes: the table of each position adds what both picks put there. */
static inline void expand_rows16(__m256i nibbles, const __m256i table[4], __m256i offset, uint8_t *dense)
{
    const __m256i ones = _mm256_set1_epi8(1);
    __m256i w[4];
    for (int k = 0; k < 4; k++) w[k] = _mm256_maddubs_epi16(ones, _mm256_shuffle_epi8(table[k], nibbles));
    const __m256i w01 = _mm256_add_epi16(_mm256_add_epi16(w[0], offset), _mm256_slli_epi16(w[1], 8));
    const __m256i w23 = _mm256_add_epi16(_mm256_add_epi16(w[2], offset), _mm256_slli_epi16(w[3], 8));
    store256(dense, _mm256_unpacklo_epi16(w01, w23));
    store256(dense + 32, _mm256_unpackhi_epi16(w01, w23));
}

typedef struct pick_tables {
    __m256i table[4], offset;
} pick_tables;

static pick_tables w2s_tables(const acc_weight *w)
{
    pick_tables p;
    const __m256i values = acc_nibble_values(w), lanes = _mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3);
    for (int k = 0; k < 4; k++) p.table[k] = _mm256_and_si256(values, _mm256_cmpeq_epi32(lanes, _mm256_set1_epi32(k)));
    p.offset = _mm256_set1_epi16((short)((w->level1 + w->level2) * 257));
    return p;
}

/* One 32-row block of one column group into two groups of 16 rows; m to row order. */
static void expand_w2s(const uint8_t *src, uint32_t quads, const pick_tables *p, uint8_t *dense, uint8_t *m)
{
    const __m256i mask = _mm256_set1_epi8(15);
    for (uint32_t q = 0; q < quads; q++, src += 32, dense += 64) {
        const __m256i x = load256(src);
        _mm_prefetch((const char *)src + 4096, _MM_HINT_T0);
        expand_rows16(_mm256_and_si256(x, mask), p->table, p->offset, dense);
        expand_rows16(_mm256_and_si256(_mm256_srli_epi16(x, 4), mask), p->table, p->offset, dense + (size_t)quads * 64);
    }
    for (int i = 0; i < 2; i++) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(src + 16 * i)); /* dwords: rows 0, 8, 4, 12 on */
        _mm_storeu_si128((__m128i *)(m + 16 * i), _mm_shuffle_epi32(x, _MM_SHUFFLE(3, 1, 2, 0)));
    }
}

static void clear(int32_t *isum, size_t ldi, uint32_t n_tokens, uint32_t rows)
{
    for (uint32_t t = 0; t < n_tokens; t++) memset(isum + t * ldi, 0, rows * sizeof *isum);
}

/* Lays out the scratch memory: dense tile, codes, starting words. */
static tokens place_tokens(const acc_weight *w, uint32_t n, uint32_t parts, void *scratch)
{
    tokens t = {.codes = (int8_t *)scratch + DENSE_BYTES, .n = n, .parts = parts};
    t.start = (int32_t *)(void *)(t.codes + (size_t)w->col_groups * w->group * n);
    return t;
}

/* Fewer tokens than this are cheaper one by one: expanding a tile costs about as much as 7 tokens of it. */
#define FEW_TOKENS 5

void acc_avx2_w2s_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, size_t ldi,
                         uint32_t rb0, uint32_t rb1, void *scratch)
{
    if (n_tokens < FEW_TOKENS) {
        for (uint32_t t = 0; t < n_tokens; t++) acc_avx2_w2s_matvec(w, a + t * lda, isum + t * ldi, rb0, rb1, scratch);
        return;
    }
    tokens t = place_tokens(w, n_tokens, 1, scratch);
    const uint32_t quads = w->group / 4;
    const size_t bytes = acc_nibble_tile_bytes(w);
    const pick_tables tables = w2s_tables(w);
    uint8_t *dense = scratch, m[ACC_TILE_ROWS];
    pack_tokens(w, a, lda, w->level1 + w->level2, &t);
    clear(isum, ldi, n_tokens, (rb1 - rb0) * ACC_TILE_ROWS);
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS)
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            for (uint32_t h = 0; h < 2; h++)
                expand_w2s(acc_nibble_block(w, 2 * rb + h) + cg * bytes, quads, &tables,
                           dense + (size_t)2 * h * quads * 64, m + 32 * h);
            add_tile(w, &(dense_tile){dense, m, quads}, &t, cg, isum, ldi);
        }
}

typedef const uint8_t *expand_fn(const uint8_t *src, uint32_t quads, uint8_t *dense); /* returns where m stand */

static void dense_matmul(expand_fn *expand, int32_t offset, const acc_weight *w, const int8_t *a, size_t lda, tokens *t,
                         int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1, uint8_t *dense)
{
    const uint32_t quads = w->group / 4;
    const size_t bytes = acc_weight_tile_bytes(w);
    pack_tokens(w, a, lda, offset, t);
    clear(isum, ldi, t->n, (rb1 - rb0) * ACC_TILE_ROWS);
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS)
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            const uint8_t *m = expand(acc_weight_tile(w, bytes, cg, rb), quads, dense);
            add_tile(w, &(dense_tile){dense, m, quads}, t, cg, isum, ldi);
        }
}

void acc_avx2_w2_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, size_t ldi,
                        uint32_t rb0, uint32_t rb1, void *scratch)
{
    tokens t = place_tokens(w, n_tokens, 1, scratch);
    dense_matmul(expand_w2, 3, w, a, lda, &t, isum, ldi, rb0, rb1, scratch);
}

void acc_avx2_w4_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, size_t ldi,
                        uint32_t rb0, uint32_t rb1, void *scratch)
{
    tokens t = place_tokens(w, n_tokens, w->group == 128 ? 2 : 1, scratch);
    dense_matmul(expand_w4, 8, w, a, lda, &t, isum, ldi, rb0, rb1, scratch);
}
