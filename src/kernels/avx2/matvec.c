/*
 * Decode for one token: all formats stream their weights once, so the memory bus is the limit; software prefetch
 * runs ahead of the reads.
 */
#include "core/inline.h"
#include "kernels/avx2/linear.h"

#define W2S_TOGETHER 4    /* tokens */
#define AHEAD_BYTES 16384 /* prefetch distance of the repacked stream, to the second level */

/* ---- W2S: two byte look-ups per pick, the activation with its value's sign and the value's magnitude ---- */

/* Per quad 16 bytes: what a pick's nibble makes of its activation, which takes the sign of the pick's value. */
static void w2s_table(const int8_t *a, size_t n, int8_t *table)
{
    const __m128i spread = _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m128i signs = _mm_set1_epi32(0x0101ffff);
    for (size_t i = 0; i < n; i += 16, table += 64) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(a + i));
        for (int q = 0; q < 4; q++) {
            const __m128i picks = _mm_shuffle_epi8(x, _mm_add_epi8(spread, _mm_set1_epi8((char)(4 * q))));
            _mm_store_si128((__m128i *)(void *)(table + 16 * q), _mm_sign_epi8(picks, signs));
        }
    }
}

/* Adds s * m of 16 rows (words in the order of avx2/linear.h) to rows 0..7 and 8..15. */
static inline void add_scaled(__m256i s, const uint8_t *m, __m256i *first, __m256i *second)
{
    const __m256i scale = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)m));
    const __m256i lo = _mm256_mullo_epi16(s, scale), hi = _mm256_mulhi_epi16(s, scale);
    *first = _mm256_add_epi32(*first, _mm256_unpacklo_epi16(lo, hi));
    *second = _mm256_add_epi32(*second, _mm256_unpackhi_epi16(lo, hi));
}

/* 32 rows times nt (constant) tokens, whose tables are `stride` apart. A pick adds its value's magnitude times what the
 * table names. A group's sum fits 16 bits. */
ACC_INLINE const uint8_t *w2s_rows32(const uint8_t *p, const int8_t *table, size_t stride, uint32_t groups,
                                     uint32_t quads, __m256i magnitudes, int32_t *isum, size_t ldi, const int nt)
{
    const __m256i mask = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
    __m256i y[W2S_TOGETHER][4];
    ACC_UNROLL for (int t = 0; t < nt; t++) y[t][0] = y[t][1] = y[t][2] = y[t][3] = zero;
    for (uint32_t g = 0; g < groups; g++) {
        __m256i s[W2S_TOGETHER][2];
        ACC_UNROLL for (int t = 0; t < nt; t++) s[t][0] = s[t][1] = zero;
#pragma GCC unroll 4
        for (uint32_t q = 0; q < quads; q++, p += 32, table += 16) {
            if (q % 2 == 0) _mm_prefetch((const char *)p + AHEAD_BYTES, _MM_HINT_T1);
            const __m256i x = load256(p);
            const __m256i n0 = _mm256_and_si256(x, mask), n1 = _mm256_and_si256(_mm256_srli_epi16(x, 4), mask);
            const __m256i m0 = _mm256_shuffle_epi8(magnitudes, n0), m1 = _mm256_shuffle_epi8(magnitudes, n1);
            ACC_UNROLL for (int t = 0; t < nt; t++)
            {
                const __m256i a = _mm256_broadcastsi128_si256(*(const __m128i *)(const void *)(table + t * stride));
                s[t][0] = acc_add_bytes(s[t][0], m0, _mm256_shuffle_epi8(a, n0));
                s[t][1] = acc_add_bytes(s[t][1], m1, _mm256_shuffle_epi8(a, n1));
            }
        }
        _mm_prefetch((const char *)p + AHEAD_BYTES, _MM_HINT_T1);
        ACC_UNROLL for (int t = 0; t < nt; t++)
        {
            add_scaled(s[t][0], p, &y[t][0], &y[t][1]);
            add_scaled(s[t][1], p + 16, &y[t][2], &y[t][3]);
        }
        p += 32;
    }
    ACC_UNROLL for (int t = 0; t < nt; t++) ACC_UNROLL for (int i = 0; i < 4; i++)
        store256(isum + (size_t)t * ldi + 8 * i, y[t][i]);
    return p;
}

static size_t w2s_table_bytes(const acc_weight *w)
{
    return (size_t)4 * w->col_groups * w->group;
}

ACC_INLINE void w2s_tokens(const acc_weight *w, const int8_t *table, int32_t *isum, size_t ldi, uint32_t rb0,
                           uint32_t rb1, const int nt)
{
    const size_t stride = w2s_table_bytes(w);
    const __m256i magnitudes = _mm256_abs_epi8(acc_nibble_values(w));
    const uint8_t *p = acc_nibble_block(w, 2 * rb0);
    for (uint32_t b = 2 * rb0; b < 2 * rb1; b++, isum += ACC_NIBBLE_ROWS) {
        if (w->group == 128)
            p = w2s_rows32(p, table, stride, w->col_groups, 32, magnitudes, isum, ldi, nt);
        else
            p = w2s_rows32(p, table, stride, w->col_groups, w->group / 4, magnitudes, isum, ldi, nt);
    }
}

void acc_avx2_w2s_pack_few(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)
{
    const size_t bytes = w2s_table_bytes(w);
    for (uint32_t t = 0; t < n_tokens; t++) w2s_table(a + t * lda, bytes / 4, (int8_t *)scratch + t * bytes);
}

void acc_avx2_w2s_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)a;
    w2s_tokens(w, scratch, isum, 0, rb0, rb1, 1);
}

void acc_avx2_w2s_few(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, size_t ldi,
                      uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)a;
    (void)lda;
    const int8_t *table = scratch;
    for (; n_tokens >= W2S_TOGETHER; n_tokens -= W2S_TOGETHER, isum += W2S_TOGETHER * ldi) {
        w2s_tokens(w, table, isum, ldi, rb0, rb1, W2S_TOGETHER);
        table += W2S_TOGETHER * w2s_table_bytes(w);
    }
    if (n_tokens == 1)
        w2s_tokens(w, table, isum, ldi, rb0, rb1, 1);
    else if (n_tokens == 2)
        w2s_tokens(w, table, isum, ldi, rb0, rb1, 2);
    else if (n_tokens == 3)
        w2s_tokens(w, table, isum, ldi, rb0, rb1, 3);
}

/* ---- W4: the nibble code + 8 is the unsigned operand, 8 * sum(a) is taken off per group ---- */

static int32_t sum_of(const int8_t *a, uint32_t n)
{
    int32_t s = 0;
    for (uint32_t i = 0; i < n; i++) s += a[i];
    return s;
}

/* Up to 8 quads: pairs of columns fit 16 bits (8 * 2 * 15 * 127), folded into 32 bits. s[2 l + j] are rows 16 l + 8 j
 * on (low nibbles), s[4 + 2 l + j] the rows 32 further. */
static inline void w4_fold(const uint8_t *p, const char *ahead, const int8_t *a, __m256i s[8])
{
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i t[8];
    for (int i = 0; i < 8; i++) t[i] = _mm256_setzero_si256();
    for (uint32_t q = 0; q < 8; q++, p += ACC_W4_QUAD_BYTES, ahead += ACC_W4_QUAD_BYTES) {
        const __m256i v = broadcast4(a + 4 * q);
        _mm_prefetch(ahead, _MM_HINT_T0);
        _mm_prefetch(ahead + 64, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m256i x = load256(p + 32 * i);
            const __m256i lo = _mm256_and_si256(x, mask), hi = _mm256_and_si256(_mm256_srli_epi16(x, 4), mask);
            t[i] = _mm256_add_epi16(t[i], _mm256_maddubs_epi16(lo, v));
            t[4 + i] = _mm256_add_epi16(t[4 + i], _mm256_maddubs_epi16(hi, v));
        }
    }
    for (int i = 0; i < 8; i++) s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(t[i], ones));
}

void acc_avx2_w4_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)scratch;
    const size_t bytes = acc_weight_tile_bytes(w);
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++, a += w->group) {
        const __m256i start = _mm256_set1_epi32(-8 * sum_of(a, w->group));
        int32_t *y = isum;
        for (uint32_t rb = rb0; rb < rb1; rb++, y += ACC_TILE_ROWS) {
            const uint8_t *p = acc_weight_tile(w, bytes, cg, rb);
            const char *ahead = (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, 2);
            __m256i s[8];
            for (int i = 0; i < 8; i++) s[i] = start;
            for (uint32_t k = 0; k < w->group; k += 32, p += 8 * ACC_W4_QUAD_BYTES, ahead += 8 * ACC_W4_QUAD_BYTES)
                w4_fold(p, ahead, a + k, s);
            _mm_prefetch(ahead, _MM_HINT_T0);
            for (int i = 0; i < 8; i++) {
                const __m256i m = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8 * i)));
                store256(y + 8 * i, _mm256_add_epi32(load256(y + 8 * i), _mm256_mullo_epi32(s[i], m)));
            }
        }
    }
}

/* ---- W8: |w| is the unsigned operand and the activation takes w's sign; a pair is at most 2 * 128 * 127 ---- */

void acc_avx2_w8_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)scratch;
    const size_t bytes = acc_weight_tile_bytes(w);
    const __m256i ones = _mm256_set1_epi16(1);
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++, a += w->group) {
        int32_t *y = isum;
        for (uint32_t rb = rb0; rb < rb1; rb++, y += ACC_TILE_ROWS) {
            const uint8_t *p = acc_weight_tile(w, bytes, cg, rb);
            const char *ahead = (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, 1);
            __m256i s[8];
            for (int i = 0; i < 8; i++) s[i] = load256(y + 8 * i);
            for (uint32_t k = 0; k < w->group; k += 4, p += ACC_W8_QUAD_BYTES, ahead += ACC_W8_QUAD_BYTES) {
                const __m256i v = broadcast4(a + k);
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) {
                    if (i % 2 == 0) _mm_prefetch(ahead + 32 * i, _MM_HINT_T0);
                    const __m256i x = load256(p + 32 * i);
                    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(v, x));
                    s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(pairs, ones));
                }
            }
            for (int i = 0; i < 8; i++) store256(y + 8 * i, s[i]);
        }
    }
}
