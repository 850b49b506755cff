/*
 * Prefill by products of bytes, and what the dense formats put in: unsigned bytes code + offset, [4 groups of 16 rows]
 * [quad][16][4], of which 16 rows x 6 tokens live in registers. Sums start at -offset * sum(a), which makes them exact.
 * Those of 16 bits (dots.h) hold 32 quads * 2 * 3 * 127 (W2) or 16 quads * 2 * 8 * 127 (W4), but not W8.
 */
#include "kernels/avx2/matmul.h"

#define TOKENS 6         /* of one register tile */
#define DENSE_BYTES 8576 /* 64 rows x 128 columns; W2S: and the start of 64 sums, and 64 m */

typedef struct tokens {
    int8_t *codes;  /* [col_groups][n][group], flipped: rows of the original stride would meet in one cache set */
    int32_t *start; /* [col_groups][n][parts] */
    uint32_t n;
} tokens;

/* Where they stand in scratch: behind an expanded tile and a row block's sums. */
static tokens tokens_of(const acc_matmul *e, uint32_t n, uint8_t *scratch)
{
    tokens t = {.codes = (int8_t *)scratch + DENSE_BYTES + (size_t)n * ACC_TILE_ROWS * sizeof(int32_t), .n = n};
    t.start = (int32_t *)(void *)(t.codes + (size_t)e->w->col_groups * e->w->group * n);
    return t;
}

void ACC_AVX2(pack)(const acc_matmul *e, const int8_t *a, size_t lda, uint32_t n_tokens, uint8_t *scratch)
{
    const __m256i flip = _mm256_set1_epi8((char)e->flip);
    const uint32_t group = e->w->group, part = group / e->parts;
    const tokens t = tokens_of(e, n_tokens, scratch);
    for (uint32_t i = 0; i < n_tokens; i++)
        for (uint32_t cg = 0; cg < e->w->col_groups; cg++) {
            const int8_t *from = a + i * lda + (size_t)cg * group;
            const size_t at = (size_t)cg * n_tokens + i;
            for (uint32_t k = 0; k < group; k += 32)
                store256(t.codes + at * group + k, _mm256_xor_si256(load256(from + k), flip));
            for (uint32_t p = 0; e->offset && p < e->parts; p++)
                t.start[at * e->parts + p] = acc_start(from + p * part, part, e->offset);
        }
}

/* y [n][64] += 16 rows times n (constant) tokens, over one part. */
ACC_INLINE void rows16(const acc_matmul *e, const uint8_t *dense, const int8_t *a, const int32_t *start,
                       const uint8_t *m, int32_t *y, const int n)
{
    const uint32_t group = e->w->group, quads = group / 4 / e->parts;
    __m256i s0[TOKENS], s1[TOKENS];
#pragma GCC unroll 6
    for (int t = 0; t < n; t++) s0[t] = s1[t] = _mm256_set1_epi32(start[(uint32_t)t * e->parts]);
    for (uint32_t q = 0; q < quads; q++, dense += 64) {
        const __m256i w0 = load256(dense), w1 = load256(dense + 32);
#pragma GCC unroll 6
        for (int t = 0; t < n; t++) {
            const __m256i v = broadcast4(a + (size_t)t * group + 4 * q);
            s0[t] = acc_add_bytes(s0[t], w0, v);
            s1[t] = acc_add_bytes(s1[t], w1, v);
        }
    }
    if (m) {
        const __m256i m0 = acc_scale(m), m1 = acc_scale(m + 8);
#pragma GCC unroll 6
        for (int t = 0; t < n; t++) {
            s0[t] = acc_scaled(s0[t], m0);
            s1[t] = acc_scaled(s1[t], m1);
        }
    }
#pragma GCC unroll 6
    for (int t = 0; t < n; t++, y += ACC_TILE_ROWS) {
        store256(y, _mm256_add_epi32(load256(y), s0[t]));
        store256(y + 8, _mm256_add_epi32(load256(y + 8), s1[t]));
    }
}

/* The inner function stands alone: inlined, clang 14 keeps its sums in memory. */
#define BLOCK(n)                                                                                                 \
    static __attribute__((noinline)) void rows16_##n(const acc_matmul *e, const uint8_t *dense, const int8_t *a, \
                                                     const int32_t *start, const uint8_t *m, int32_t *y)         \
    {                                                                                                            \
        rows16(e, dense, a, start, m, y, n);                                                                     \
    }                                                                                                            \
    static void block##n(const acc_matmul *e, const uint8_t *dense, const int8_t *a, const int32_t *start,       \
                         const uint8_t *m, int32_t *y)                                                           \
    {                                                                                                            \
        const uint32_t part = e->w->group / e->parts;                                                            \
        for (uint32_t i = 0; i < ACC_TILE_ROWS; i += 16, dense += e->rows_bytes)                                 \
            for (uint32_t p = 0; p < e->parts; p++)                                                              \
                rows16_##n(e, dense + p * part * 16, a + p * part, start + p, m ? m + i : NULL, y + i);          \
    }
BLOCK(2)
BLOCK(3)
BLOCK(4)
BLOCK(5)
BLOCK(6)

static acc_block_fn *const blocks[TOKENS + 1] = {NULL, NULL, block2, block3, block4, block5, block6};

/* ---- expanding a tile ---- */

/* A tile of the file's layout; the next one is asked for. */
static const uint8_t *take_tile(const acc_matmul *e, uint32_t cg, uint32_t rb)
{
    const size_t bytes = acc_weight_tile_bytes(e->w);
    const uint8_t *next = acc_tile_after(e->w, bytes, cg, rb);
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)next + i, _MM_HINT_T1);
    return acc_weight_tile(e->w, bytes, cg, rb);
}

static const uint8_t *expand_w2(const acc_matmul *e, uint32_t cg, uint32_t rb, uint8_t *dense)
{
    const uint8_t *src = take_tile(e, cg, rb);
    const uint8_t *end = src + (size_t)e->w->group / 4 * ACC_W2_QUAD_BYTES;
    const __m256i mask = _mm256_set1_epi8(6);
    const size_t rows = e->rows_bytes;
    for (; src < end; src += ACC_W2_QUAD_BYTES, dense += 64)
        for (uint32_t i = 0; i < 64; i += 32) {
            const __m256i x = load256(src + i);
            store256(dense + i, _mm256_and_si256(_mm256_slli_epi16(x, 1), mask));
            store256(dense + rows + i, _mm256_and_si256(_mm256_srli_epi16(x, 1), mask));
            store256(dense + 2 * rows + i, _mm256_and_si256(_mm256_srli_epi16(x, 3), mask));
            store256(dense + 3 * rows + i, _mm256_and_si256(_mm256_srli_epi16(x, 5), mask));
        }
    return end;
}

static const uint8_t *expand_w4(const acc_matmul *e, uint32_t cg, uint32_t rb, uint8_t *dense)
{
    const uint8_t *src = take_tile(e, cg, rb);
    const uint8_t *end = src + (size_t)e->w->group / 4 * ACC_W4_QUAD_BYTES;
    const __m256i mask = _mm256_set1_epi8(15);
    const size_t rows = e->rows_bytes;
    for (; src < end; src += ACC_W4_QUAD_BYTES, dense += 64)
        for (uint32_t i = 0; i < 4; i++) {
            const __m256i x = load256(src + 32 * i);
            uint8_t *to = dense + i / 2 * rows + i % 2 * 32;
            store256(to, _mm256_and_si256(x, mask));
            store256(to + 2 * rows, _mm256_and_si256(_mm256_srli_epi16(x, 4), mask));
        }
    return end;
}

/* ---- the chunk ---- */

/* One row block: y [n][64], which stays in the nearest cache while the column groups are walked. */
static void row_block(const acc_matmul *e, const tokens *t, uint32_t rb, uint8_t *dense, int32_t *y)
{
    memset(y, 0, (size_t)t->n * ACC_TILE_ROWS * sizeof *y);
    for (uint32_t cg = 0; cg < e->w->col_groups; cg++) {
        const uint8_t *m = e->expand(e, cg, rb, dense);
        /* Blocks as alike as can be: one of a few tokens is slow. */
        for (uint32_t at = 0, left = (t->n + e->tokens - 1) / e->tokens, n; left > 0; at += n, left--) {
            n = (t->n - at + left - 1) / left;
            const size_t first = (size_t)cg * t->n + at;
            e->blocks[n](e, dense, t->codes + first * e->w->group, t->start + first * e->parts, m,
                         y + (size_t)at * ACC_TILE_ROWS);
        }
    }
}

void ACC_AVX2(matmul)(const acc_matmul *e, uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                      uint8_t *scratch)
{
    int32_t *y = (int32_t *)(void *)(scratch + DENSE_BYTES);
    const tokens t = tokens_of(e, n_tokens, scratch);
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS) {
        row_block(e, &t, rb, scratch, y);
        for (uint32_t i = 0; i < n_tokens; i++)
            memcpy(isum + i * ldi, y + (size_t)i * ACC_TILE_ROWS, ACC_TILE_ROWS * sizeof *y);
    }
}

/* Of a dense format: how a tile is expanded, the parts of a group, and what its bytes are above the codes. */
static acc_matmul dense_matmul(const acc_weight *w, acc_expand_fn *expand, uint32_t parts, int32_t offset)
{
    return (acc_matmul){.w = w,
                        .expand = expand,
                        .blocks = blocks,
                        .tokens = TOKENS,
                        .parts = parts,
                        .rows_bytes = 16 * w->group,
                        .offset = offset};
}

static acc_matmul w2_matmul(const acc_weight *w)
{
    return dense_matmul(w, expand_w2, 1, 3);
}

static acc_matmul w4_matmul(const acc_weight *w)
{
    return dense_matmul(w, expand_w4, ACC_SUM_BITS == 16 && w->group == 128 ? 2 : 1, 8);
}

/* Both functions of a dense format whose few tokens go one by one. */
#define DENSE(format)                                                                                                  \
    void ACC_AVX2(format##_pack)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)   \
    {                                                                                                                  \
        const acc_matmul e = format##_matmul(w);                                                                       \
        if (n_tokens >= ACC_FEW_TOKENS) ACC_AVX2(pack)(&e, a, lda, n_tokens, scratch);                                 \
    }                                                                                                                  \
    void ACC_AVX2(format##_matmul)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, \
                                   size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)                              \
    {                                                                                                                  \
        const acc_matmul e = format##_matmul(w);                                                                       \
        if (n_tokens < ACC_FEW_TOKENS)                                                                                 \
            acc_one_by_one(ACC_AVX2(format##_matvec), w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);              \
        else                                                                                                           \
            ACC_AVX2(matmul)(&e, n_tokens, isum, ldi, rb0, rb1, scratch);                                              \
    }
DENSE(w2)
DENSE(w4)

#ifdef ACC_AVXVNNI

static const uint8_t *expand_w8(const acc_matmul *e, uint32_t cg, uint32_t rb, uint8_t *dense)
{
    const uint8_t *src = take_tile(e, cg, rb);
    const __m256i flip = _mm256_set1_epi8(-128);
    for (uint32_t q = 0; q < e->w->group / 4; q++, dense += 64)
        for (uint32_t i = 0; i < 4; i++, src += 64) {
            uint8_t *to = dense + i * e->rows_bytes;
            store256(to, _mm256_xor_si256(load256(src), flip));
            store256(to + 32, _mm256_xor_si256(load256(src + 32), flip));
        }
    return NULL;
}

static acc_matmul w8_matmul(const acc_weight *w)
{
    return dense_matmul(w, expand_w8, 1, 128);
}

void acc_avxvnni_w8_pack(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)
{
    const acc_matmul e = w8_matmul(w);
    if (n_tokens > 1) acc_avxvnni_pack(&e, a, lda, n_tokens, scratch);
}

void acc_avxvnni_w8_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                           size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    const acc_matmul e = w8_matmul(w);
    (void)a;
    (void)lda;
    acc_avxvnni_matmul(&e, n_tokens, isum, ldi, rb0, rb1, scratch);
}

#endif
