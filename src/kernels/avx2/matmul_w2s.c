/*
 * Prefill of W2S, at half the products of a dense format: a quad is two picks (linear.h), so two quads are four weights
 * and four places among eight activations, which a byte shuffle brings to each row. The activations are the unsigned
 * side, a + 128; sums start at -128 * sum(weights), which makes them exact: a group's fit 16 bits.
 */
#include "kernels/avx2/matmul.h"

#define TOKENS 4

/* y [n][64] += 16 rows times n (constant) tokens. dense: by two quads weights [16 rows][4], places [16][4]; then the
 * sums' start [16]. */
ACC_INLINE void rows16(const uint8_t *dense, uint32_t quads, const int8_t *a, const uint8_t *m, int32_t *y, const int n)
{
    const uint8_t *first = dense + (size_t)quads * 64;
    __m256i s0[TOKENS], s1[TOKENS];
#pragma GCC unroll 4
    for (int t = 0; t < n; t++) {
        s0[t] = load256(first);
        s1[t] = load256(first + 32);
    }
    for (uint32_t q = 0; q < quads; q += 2, dense += 128) {
        const __m256i w0 = load256(dense), w1 = load256(dense + 32);
        const __m256i place0 = load256(dense + 64), place1 = load256(dense + 96);
#pragma GCC unroll 4
        for (int t = 0; t < n; t++) {
            const __m256i v = broadcast8(a + (size_t)t * quads * 4 + 4 * q);
            s0[t] = acc_add_bytes(s0[t], _mm256_shuffle_epi8(v, place0), w0);
            s1[t] = acc_add_bytes(s1[t], _mm256_shuffle_epi8(v, place1), w1);
        }
    }
    const __m256i m0 = acc_scale(m), m1 = acc_scale(m + 8);
#pragma GCC unroll 4
    for (int t = 0; t < n; t++, y += ACC_TILE_ROWS) {
        store256(y, _mm256_add_epi32(load256(y), acc_scaled_words(s0[t], m0)));
        store256(y + 8, _mm256_add_epi32(load256(y + 8), acc_scaled_words(s1[t], m1)));
    }
}

#define BLOCK(n)                                                                                           \
    static void block##n(const acc_matmul *e, const uint8_t *dense, const int8_t *a, const int32_t *start, \
                         const uint8_t *m, int32_t *y)                                                     \
    {                                                                                                      \
        (void)start;                                                                                       \
        for (uint32_t i = 0; i < ACC_TILE_ROWS; i += 16, dense += e->rows_bytes)                           \
            rows16(dense, e->w->group / 4, a, m + i, y + i, n);                                            \
    }
BLOCK(2)
BLOCK(3)
BLOCK(4)

static acc_block_fn *const blocks[TOKENS + 1] = {NULL, NULL, block2, block3, block4};

/* What a pick's nibble names, 16 values for both lanes. */
typedef struct tables {
    __m256i values, places;
} tables;

/* 16 rows of two quads; sum[2]: of 128 * weights, rows 0..7 and 8..15. */
static inline void expand_rows16(__m256i quad0, __m256i quad1, const tables *t, uint8_t *dense, __m256i sum[2])
{
    const __m256i second = _mm256_set1_epi32(0x04040000), offset = _mm256_set1_epi8(-128);
    const __m256i picks[2] = {_mm256_unpacklo_epi16(quad0, quad1), _mm256_unpackhi_epi16(quad0, quad1)};
    for (int i = 0; i < 2; i++, dense += 32) {
        const __m256i w = _mm256_shuffle_epi8(t->values, picks[i]);
        store256(dense, w);
        store256(dense + 64, _mm256_or_si256(_mm256_shuffle_epi8(t->places, picks[i]), second));
        sum[i] = acc_add_bytes(sum[i], offset, w);
    }
}

/* One 32-row block of one column group into two groups of 16 rows; m to row order. */
static void expand_rows32(const uint8_t *src, uint32_t quads, const tables *t, uint8_t *dense, size_t rows_bytes,
                          uint8_t *m)
{
    const __m256i mask = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
    __m256i sum[4] = {zero, zero, zero, zero};
    for (uint32_t q = 0; q < quads; q += 2, src += 64, dense += 128) {
        const __m256i x = load256(src), y = load256(src + 32);
        _mm_prefetch((const char *)src + 4096, _MM_HINT_T0);
        expand_rows16(_mm256_and_si256(x, mask), _mm256_and_si256(y, mask), t, dense, sum);
        expand_rows16(_mm256_and_si256(_mm256_srli_epi16(x, 4), mask), _mm256_and_si256(_mm256_srli_epi16(y, 4), mask),
                      t, dense + rows_bytes, sum + 2);
    }
    for (int i = 0; i < 2; i++) {
        store256(dense + i * rows_bytes, acc_negated(sum[2 * i]));
        store256(dense + i * rows_bytes + 32, acc_negated(sum[2 * i + 1]));
        const __m128i x = _mm_loadu_si128((const __m128i *)(src + 16 * i)); /* dwords: rows 0, 8, 4, 12 on */
        _mm_storeu_si128((__m128i *)(m + 16 * i), _mm_shuffle_epi32(x, _MM_SHUFFLE(3, 1, 2, 0)));
    }
}

static const uint8_t *expand(const acc_matmul *e, uint32_t cg, uint32_t rb, uint8_t *dense)
{
    const size_t bytes = acc_nibble_tile_bytes(e->w), rows = e->rows_bytes;
    uint8_t *m = dense + 4 * rows;
    for (uint32_t h = 0; h < 2; h++)
        expand_rows32(acc_nibble_block(e->w, 2 * rb + h) + cg * bytes, e->w->group / 4, e->tables, dense + 2 * h * rows,
                      rows, m + 32 * h);
    return m;
}

/* So many are cheaper with decode's kernel: measured without AVX-VNNI, by the number of instructions with it. */
#define FEW_TOKENS (ACC_SUM_BITS == 16 ? 8 : 4)

static acc_matmul matmul_of(const acc_weight *w, const tables *t)
{
    return (acc_matmul){.w = w,
                        .expand = expand,
                        .blocks = blocks,
                        .tables = t,
                        .tokens = TOKENS,
                        .parts = 1,
                        .rows_bytes = 16 * w->group + 64,
                        .flip = 0x80};
}

void ACC_AVX2(w2s_pack)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)
{
    const acc_matmul e = matmul_of(w, NULL);
    if (n_tokens <= FEW_TOKENS)
        acc_avx2_w2s_pack_few(w, a, lda, n_tokens, scratch);
    else
        ACC_AVX2(pack)(&e, a, lda, n_tokens, scratch);
}

void ACC_AVX2(w2s_matmul)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                          size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    if (n_tokens <= FEW_TOKENS) {
        acc_avx2_w2s_few(w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);
        return;
    }
    const tables t = {acc_nibble_values(w),
                      _mm256_setr_epi32(0, 0x01010101, 0x02020202, 0x03030303, 0, 0x01010101, 0x02020202, 0x03030303)};
    const acc_matmul e = matmul_of(w, &t);
    ACC_AVX2(matmul)(&e, n_tokens, isum, ldi, rb0, rb1, scratch);
}
