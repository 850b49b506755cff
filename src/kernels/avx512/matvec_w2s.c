/*
 * W2S decode by table look-up: for each quad of activations the 128 products quad(code) . a are tabulated (low bytes,
 * high bytes); each code of 64 rows is then one look-up in 128 entries. A column group's tables (8 KB) stay in the
 * first-level cache while the walk goes down its row blocks. Their loads starve the hardware prefetcher, so that the
 * weights are prefetched to the second level, far ahead.
 */
#include "kernels/avx512/linear.h"
#include "kernels/picks.h"

#define AHEAD_BYTES 24576
#define QUAD_TABLE 256

typedef struct tables {
    __m512i first[4], second[4]; /* picks of codes 32 j on, as words */
    __m512i even, odd;           /* byte selectors */
    __m256i values;
} tables;

static void make_tables(const acc_weight *w, tables *t)
{
    int16_t first[128], second[128], values[16];
    uint8_t even[64], odd[64];
    const int16_t level[4] = {(int16_t)-w->level2, (int16_t)-w->level1, w->level1, w->level2};
    for (unsigned c = 0; c < 128; c++) {
        first[c] = acc_w2s_picks(c) & 15;
        second[c] = acc_w2s_picks(c) >> 4;
    }
    for (int i = 0; i < 16; i++) values[i] = level[i % 4];
    for (int i = 0; i < 64; i++) {
        even[i] = (uint8_t)(2 * i);
        odd[i] = (uint8_t)(2 * i + 1);
    }
    for (int j = 0; j < 4; j++) {
        t->first[j] = acc_load512(first + 32 * j);
        t->second[j] = acc_load512(second + 32 * j);
    }
    t->even = acc_load512(even);
    t->odd = acc_load512(odd);
    t->values = _mm256_loadu_si256((const __m256i *)values);
}

/* The 16 products of a pick, then every code's sum of two. */
static inline void quad_table(const tables *t, const int8_t *a, uint8_t *table)
{
    int32_t four;
    memcpy(&four, a, 4);
    const __m128i spread = _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m256i x = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(_mm_cvtsi32_si128(four), spread));
    const __m512i products = _mm512_castsi256_si512(_mm256_mullo_epi16(x, t->values));
    __m512i s[4];
    for (int j = 0; j < 4; j++)
        s[j] = _mm512_add_epi16(_mm512_permutexvar_epi16(t->first[j], products),
                                _mm512_permutexvar_epi16(t->second[j], products));
    acc_store512(table, _mm512_permutex2var_epi8(s[0], t->even, s[1]));
    acc_store512(table + 64, _mm512_permutex2var_epi8(s[2], t->even, s[3]));
    acc_store512(table + 128, _mm512_permutex2var_epi8(s[0], t->odd, s[1]));
    acc_store512(table + 192, _mm512_permutex2var_epi8(s[2], t->odd, s[3]));
}

/* Adds one quad: s0 takes rows 16 l + 0..7 of lane l, s1 rows 16 l + 8..15. */
static inline void add_quad(__m512i codes, const uint8_t *table, __m512i *s0, __m512i *s1)
{
    const __m512i lo = _mm512_permutex2var_epi8(acc_load512(table), codes, acc_load512(table + 64));
    const __m512i hi = _mm512_permutex2var_epi8(acc_load512(table + 128), codes, acc_load512(table + 192));
    *s0 = _mm512_add_epi16(*s0, _mm512_unpacklo_epi8(lo, hi));
    *s1 = _mm512_add_epi16(*s1, _mm512_unpackhi_epi8(lo, hi));
}

/* y [32] += s * m; the dwords stay in unpacking order. */
static inline void add_scaled(__m512i s, __m512i m, int32_t *y)
{
    const __m512i lo = _mm512_mullo_epi16(s, m), hi = _mm512_mulhi_epi16(s, m);
    acc_store512(y, _mm512_add_epi32(acc_load512(y), _mm512_unpacklo_epi16(lo, hi)));
    acc_store512(y + 16, _mm512_add_epi32(acc_load512(y + 16), _mm512_unpackhi_epi16(lo, hi)));
}

static void tile(const uint8_t *p, const char *ahead, const uint8_t *table, uint32_t quads, int32_t *y)
{
    const __m512i spread = acc_w2s_spread(), shifts = acc_w2s_shifts(), zero = _mm512_setzero_si512();
    __m512i s0 = zero, s1 = zero, s2 = zero, s3 = zero;
    for (uint32_t q = 0; q < quads; q += 2, p += 112, ahead += 112, table += 2 * QUAD_TABLE) {
        _mm_prefetch(ahead, _MM_HINT_T1);
        _mm_prefetch(ahead + 64, _MM_HINT_T1);
        add_quad(acc_w2s_codes512(p, spread, shifts), table, &s0, &s1);
        add_quad(acc_w2s_codes512(p + 56, spread, shifts), table + QUAD_TABLE, &s2, &s3);
    }
    const __m512i m = acc_load512(p);
    add_scaled(_mm512_add_epi16(s0, s2), _mm512_unpacklo_epi8(m, zero), y);
    add_scaled(_mm512_add_epi16(s1, s3), _mm512_unpackhi_epi8(m, zero), y + 32);
}

void acc_avx512_w2s_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1,
                           void *scratch)
{
    tables t;
    make_tables(w, &t);
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t quads = w->group / 4, ahead = (uint32_t)(AHEAD_BYTES / bytes);
    uint8_t *table = scratch;
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        for (uint32_t q = 0; q < quads; q++)
            quad_table(&t, a + (size_t)cg * w->group + 4 * q, table + (size_t)q * QUAD_TABLE);
        for (uint32_t rb = rb0; rb < rb1; rb++)
            tile(acc_weight_tile(w, bytes, cg, rb), (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, ahead),
                 table, quads, isum + (size_t)(rb - rb0) * ACC_TILE_ROWS);
    }
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS) {
        __m512i y[4]; /* lane l of y[i]: rows 16 l + 4 i on */
        for (int i = 0; i < 4; i++) y[i] = acc_load512(isum + 16 * i);
        acc_transpose_lanes(y);
        for (int i = 0; i < 4; i++) acc_store512(isum + 16 * i, y[i]);
    }
}
