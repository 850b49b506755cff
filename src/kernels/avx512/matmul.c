/*
 * Prefill of all formats: a tile is expanded once to unsigned bytes code + offset, [quad][64 rows][4]; 64 rows x 6
 * tokens then live in registers, one byte dot product per 64 products. Sums start at -offset * sum(a), which makes them
 * exact.
 */
#include "kernels/avx512/linear.h"

#define TOKENS 6         /* of one register tile */
#define DENSE_BYTES 8192 /* 64 rows x 128 columns */

typedef struct tokens {
    int8_t *codes;  /* [col_groups][n][group]: rows of the original stride would meet in one cache set */
    int32_t *start; /* [col_groups][n] */
    uint32_t n;
} tokens;

/* Copies a group of codes, a multiple of 32; returns their sum. */
static inline int32_t copy_codes(int8_t *to, const int8_t *from, uint32_t n)
{
    __m512i sum = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i += 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(from + i));
        _mm256_storeu_si256((__m256i *)(to + i), x);
        sum = acc_dot(sum, _mm512_set1_epi8(1), _mm512_zextsi256_si512(x));
    }
    return _mm512_reduce_add_epi32(sum);
}

static tokens pack_tokens(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n, int32_t offset, uint8_t *memory)
{
    tokens t = {.codes = (int8_t *)memory, .n = n};
    t.start = (int32_t *)(void *)(t.codes + (size_t)w->col_groups * w->group * n);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            const size_t at = (size_t)cg * n + i;
            t.start[at] = -offset * copy_codes(t.codes + at * w->group, a + i * lda + (size_t)cg * w->group, w->group);
        }
    return t;
}

/* How a group's sums meet m: W8 has none; where they fit 16 bits one multiplication is cheaper. */
typedef enum scaling { PLAIN, WORDS, LONGS } scaling;

/* y [n][64] += 64 rows times n (constant) tokens. m [4]: 16 rows each. */
static inline __attribute__((always_inline)) void block(const uint8_t *dense, uint32_t quads, const int8_t *a,
                                                        const int32_t *start, const __m512i *m, int32_t *y, const int n,
                                                        const scaling by)
{
    const size_t group = (size_t)quads * 4;
    __m512i s[TOKENS][4];
#pragma GCC unroll 6
    for (int t = 0; t < n; t++) s[t][0] = s[t][1] = s[t][2] = s[t][3] = _mm512_set1_epi32(start[t]);
    for (uint32_t q = 0; q < quads; q++, dense += 256) {
        const __m512i w0 = acc_load512(dense), w1 = acc_load512(dense + 64);
        const __m512i w2 = acc_load512(dense + 128), w3 = acc_load512(dense + 192);
#pragma GCC unroll 6
        for (int t = 0; t < n; t++) {
            const __m512i v = broadcast4(a + (size_t)t * group + 4 * q);
            s[t][0] = acc_dot(s[t][0], w0, v);
            s[t][1] = acc_dot(s[t][1], w1, v);
            s[t][2] = acc_dot(s[t][2], w2, v);
            s[t][3] = acc_dot(s[t][3], w3, v);
        }
    }
#pragma GCC unroll 6
    for (int t = 0; t < n; t++, y += ACC_TILE_ROWS)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512i x = s[t][i];
            if (by == WORDS) x = _mm512_madd_epi16(x, m[i]);
            if (by == LONGS) x = _mm512_mullo_epi32(x, m[i]);
            acc_store512(y + 16 * i, _mm512_add_epi32(acc_load512(y + 16 * i), x));
        }
}

typedef void block_fn(const uint8_t *dense, uint32_t quads, const int8_t *a, const int32_t *start, const __m512i *m,
                      int32_t *y);

#define BLOCK(n, by)                                                                                          \
    static __attribute__((noinline)) void block##n##by(const uint8_t *dense, uint32_t quads, const int8_t *a, \
                                                       const int32_t *start, const __m512i *m, int32_t *y)    \
    {                                                                                                         \
        block(dense, quads, a, start, m, y, n, by);                                                           \
    }
#define BLOCKS(by) BLOCK(1, by) BLOCK(2, by) BLOCK(3, by) BLOCK(4, by) BLOCK(5, by) BLOCK(6, by)
#define ENTRIES(by)                                                                  \
    {                                                                                \
        NULL, block1##by, block2##by, block3##by, block4##by, block5##by, block6##by \
    }
BLOCKS(PLAIN)
BLOCKS(WORDS)
BLOCKS(LONGS)

static block_fn *const blocks[3][TOKENS + 1] = {ENTRIES(PLAIN), ENTRIES(WORDS), ENTRIES(LONGS)};

/* ---- expanding a tile ---- */

typedef struct expander expander;
struct expander {
    /* Returns where the tile's m stand. */
    const uint8_t *(*run)(const expander *e, const uint8_t *src, uint32_t quads, uint8_t *dense);
    int32_t offset;
    scaling by;
    uint8_t plane[4][128]; /* W2S: column k of every code, + offset */
};

static const uint8_t *expand_w2s(const expander *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    const __m512i spread = acc_w2s_spread(), shifts = acc_w2s_shifts();
    __m512i low[4], high[4];
    for (int k = 0; k < 4; k++) {
        low[k] = acc_load512(e->plane[k]);
        high[k] = acc_load512(e->plane[k] + 64);
    }
    for (uint32_t q = 0; q < quads; q++, src += ACC_W2S_QUAD_BYTES, dense += 256) {
        const __m512i c = acc_w2s_codes512(src, spread, shifts);
        __m512i w[4], x[4];
        for (int k = 0; k < 4; k++) w[k] = _mm512_permutex2var_epi8(low[k], c, high[k]);
        const __m512i l01 = _mm512_unpacklo_epi8(w[0], w[1]), h01 = _mm512_unpackhi_epi8(w[0], w[1]);
        const __m512i l23 = _mm512_unpacklo_epi8(w[2], w[3]), h23 = _mm512_unpackhi_epi8(w[2], w[3]);
        x[0] = _mm512_unpacklo_epi16(l01, l23);
        x[1] = _mm512_unpackhi_epi16(l01, l23);
        x[2] = _mm512_unpacklo_epi16(h01, h23);
        x[3] = _mm512_unpackhi_epi16(h01, h23);
        acc_transpose_lanes(x);
        for (int i = 0; i < 4; i++) acc_store512(dense + 64 * i, x[i]);
    }
    return src;
}

static const uint8_t *expand_w2(const expander *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    (void)e;
    const __m512i mask = _mm512_set1_epi8(6);
    for (uint32_t q = 0; q < quads; q++, src += ACC_W2_QUAD_BYTES, dense += 256) {
        const __m512i x = acc_load512(src);
        acc_store512(dense, _mm512_and_si512(_mm512_slli_epi16(x, 1), mask));
        acc_store512(dense + 64, _mm512_and_si512(_mm512_srli_epi16(x, 1), mask));
        acc_store512(dense + 128, _mm512_and_si512(_mm512_srli_epi16(x, 3), mask));
        acc_store512(dense + 192, _mm512_and_si512(_mm512_srli_epi16(x, 5), mask));
    }
    return src;
}

static const uint8_t *expand_w4(const expander *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    (void)e;
    const __m512i mask = _mm512_set1_epi8(15);
    for (uint32_t q = 0; q < quads; q++, src += ACC_W4_QUAD_BYTES, dense += 256)
        for (int i = 0; i < 2; i++) {
            const __m512i x = acc_load512(src + 64 * i);
            acc_store512(dense + 64 * i, _mm512_and_si512(x, mask));
            acc_store512(dense + 128 + 64 * i, _mm512_and_si512(_mm512_srli_epi16(x, 4), mask));
        }
    return src;
}

static const uint8_t *expand_w8(const expander *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    (void)e;
    const __m512i flip = _mm512_set1_epi8(-128);
    for (uint32_t i = 0; i < quads * 4; i++, src += 64, dense += 64)
        acc_store512(dense, _mm512_xor_si512(acc_load512(src), flip));
    return NULL;
}

/* The next tile of a row block lies far from the last: the processor does not foresee it. */
static inline void prefetch_tile(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

/* One row block: y [n][64], which stays in the nearest cache while the column groups are walked. */
static void row_block(const expander *e, const acc_weight *w, const tokens *t, uint32_t rb, uint8_t *dense, int32_t *y)
{
    const uint32_t quads = w->group / 4;
    const size_t bytes = acc_weight_tile_bytes(w);
    memset(y, 0, (size_t)t->n * ACC_TILE_ROWS * sizeof *y);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        const uint8_t *m8 = e->run(e, acc_weight_tile(w, bytes, cg, rb), quads, dense);
        __m512i m[4] = {{0}};
        for (int i = 0; e->by != PLAIN && i < 4; i++) m[i] = acc_widen_u8(m8 + 16 * i);
        if (cg + 1 < w->col_groups) prefetch_tile(acc_weight_tile(w, bytes, cg + 1, rb), bytes);
        for (uint32_t at = 0; at < t->n; at += TOKENS) {
            const uint32_t n = t->n - at < TOKENS ? t->n - at : TOKENS;
            const size_t first = (size_t)cg * t->n + at;
            blocks[e->by][n](dense, quads, t->codes + first * w->group, t->start + first, m,
                             y + (size_t)at * ACC_TILE_ROWS);
        }
    }
}

static void matmul(const expander *e, const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens,
                   int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1, uint8_t *scratch)
{
    int32_t *y = (int32_t *)(void *)(scratch + DENSE_BYTES);
    const tokens t = pack_tokens(w, a, lda, n_tokens, e->offset, (uint8_t *)(y + (size_t)n_tokens * ACC_TILE_ROWS));
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS) {
        row_block(e, w, &t, rb, scratch, y);
        for (uint32_t i = 0; i < n_tokens; i++)
            memcpy(isum + i * ldi, y + (size_t)i * ACC_TILE_ROWS, ACC_TILE_ROWS * sizeof *y);
    }
}

/* Fewer tokens than this are cheaper by look-up, one by one. */
#define FEW_TOKENS 5

void acc_avx512_w2s_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                           size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    if (n_tokens < FEW_TOKENS) {
        for (uint32_t t = 0; t < n_tokens; t++)
            acc_avx512_w2s_matvec(w, a + t * lda, isum + t * ldi, rb0, rb1, scratch);
        return;
    }
    expander e = {.run = expand_w2s, .offset = w->level1 + w->level2, .by = WORDS};
    for (unsigned c = 0; c < 128; c++) {
        int8_t quad[4];
        acc_w2s_quad(c, w->level1, w->level2, quad);
        for (int k = 0; k < 4; k++) e.plane[k][c] = (uint8_t)(quad[k] + e.offset);
    }
    matmul(&e, w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);
}

void acc_avx512_w2_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                          size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    const expander e = {.run = expand_w2, .offset = 3, .by = w->group <= 64 ? WORDS : LONGS};
    matmul(&e, w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);
}

void acc_avx512_w4_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                          size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    const expander e = {.run = expand_w4, .offset = 8, .by = LONGS};
    matmul(&e, w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);
}

void acc_avx512_w8_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                          size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    const expander e = {.run = expand_w8, .offset = 128, .by = PLAIN};
    matmul(&e, w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);
}
