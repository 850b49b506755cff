/*
 * W2S decode by table look-up: for each quad of activations the 128 products v = quad(code) . a are tabulated as two
 * bytes, v = 32 high + low with low in 0..31; each code of 64 rows is then one look-up in 128 entries per byte. Both
 * are added up as bytes, for as many quads as fit, so that the shuffle unit, which bounds the loop on Intel, has
 * nothing to do but look-ups and the extraction of codes. Loads bound it on Zen 4: four row blocks share those of a
 * table. A column group's tables (8 KB) stay in the first-level cache while the walk goes down its row blocks. Reading
 * four tiles at a time is no order that hardware follows, so that every line is prefetched to the second level, far
 * ahead.
 */
#include "core/inline.h"
#include "kernels/avx512/linear.h"
#include "kernels/picks.h"

#define AHEAD_BYTES 16384
#define TOGETHER 4 /* tiles */
#define QUAD_TABLE 256
#define LOW_BITS 5

/* Picks of the codes as words, in the order that packing two vectors to bytes undoes. */
typedef struct tables {
    __m512i first[4], second[4];
    __m256i values;
} tables;

static void make_tables(const acc_weight *w, tables *t)
{
    int16_t first[128], second[128], values[16];
    const int16_t level[4] = {(int16_t)-w->level2, (int16_t)-w->level1, w->level1, w->level2};
    for (unsigned i = 0; i < 128; i++) {
        const unsigned c = (i & 64) | (i >> 3 & 3) << 4 | (i >> 5 & 1) << 3 | (i & 7);
        first[i] = acc_w2s_picks(c) & 15;
        second[i] = acc_w2s_picks(c) >> 4;
    }
    for (int i = 0; i < 16; i++) values[i] = level[i % 4];
    for (int j = 0; j < 4; j++) {
        t->first[j] = acc_load512(first + 32 * j);
        t->second[j] = acc_load512(second + 32 * j);
    }
    t->values = _mm256_loadu_si256((const __m256i *)values);
}

/* The 16 products of a pick, then every code's sum of two: low parts of codes 0..127, then high ones. */
static inline void quad_table(const tables *t, const int8_t *a, uint8_t *table)
{
    int32_t four;
    memcpy(&four, a, 4);
    const __m128i spread = _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m256i x = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(_mm_cvtsi32_si128(four), spread));
    const __m512i products = _mm512_castsi256_si512(_mm256_mullo_epi16(x, t->values));
    const __m512i low = _mm512_set1_epi16((1 << LOW_BITS) - 1);
    __m512i s[4];
    for (int j = 0; j < 4; j++)
        s[j] = _mm512_add_epi16(_mm512_permutexvar_epi16(t->first[j], products),
                                _mm512_permutexvar_epi16(t->second[j], products));
    for (int j = 0; j < 2; j++) {
        const __m512i u = s[2 * j], v = s[2 * j + 1];
        acc_store512(table + 64 * j, _mm512_packus_epi16(_mm512_and_si512(u, low), _mm512_and_si512(v, low)));
        acc_store512(table + 128 + 64 * j,
                     _mm512_packs_epi16(_mm512_srai_epi16(u, LOW_BITS), _mm512_srai_epi16(v, LOW_BITS)));
    }
}

/* Sums over quads, 64 rows: bytes of both parts, and words of rows 2 i and 2 i + 1. */
typedef struct sums {
    __m512i low, high, even, odd;
} sums;

/* The bytes' sums to words. */
ACC_INLINE void widen(sums *s)
{
    const __m512i odd = _mm512_set1_epi16((int16_t)0xff00);
    s->even = _mm512_add_epi16(s->even, _mm512_andnot_si512(odd, s->low));
    s->even = _mm512_add_epi16(s->even, _mm512_srai_epi16(_mm512_slli_epi16(s->high, 8), 8 - LOW_BITS));
    s->odd = _mm512_add_epi16(s->odd, _mm512_srli_epi16(s->low, 8));
    s->odd = _mm512_add_epi16(s->odd, _mm512_srai_epi16(_mm512_and_si512(s->high, odd), 8 - LOW_BITS));
    s->low = s->high = _mm512_setzero_si512();
}

/* y [16] += s * m, the words where mask has ones. */
ACC_INLINE void add_scaled(__m512i s, __m512i m, int32_t mask, int32_t *y)
{
    const __m512i product = _mm512_madd_epi16(s, _mm512_and_si512(m, _mm512_set1_epi32(mask)));
    acc_store512(y, _mm512_add_epi32(acc_load512(y), product));
}

/* Entry codes[i] (7 bits) of 128 bytes, for each i. Inline assembly, because gcc 12 prefers to overwrite and load again
 * one half of the table. */
ACC_INLINE __m512i look_up(__m512i codes, __m512i low, __m512i high)
{
#ifdef ACC_SIMDE
    return _mm512_permutex2var_epi8(low, codes, high);
#else
    __asm__("vpermi2b %2, %1, %0" : "+v"(codes) : "v"(low), "v"(high));
    return codes;
#endif
}

/* `n` tiles, `bytes` apart, so that one load of a table serves them all. `batch`: quads
 * whose sums fit bytes. y [n][4][16]: rows 4 i, 4 i + 1, ... */
ACC_INLINE void tiles(const uint8_t *p, size_t bytes, const char *ahead, const uint8_t *table, uint32_t quads,
                      uint32_t batch, uint32_t n, int32_t *y)
{
    const __m512i spread = acc_w2s_spread(), shifts = acc_w2s_shifts();
    const uint32_t pace = (uint32_t)bytes / quads;
    sums s[4];
    ACC_UNROLL for (uint32_t r = 0; r < n; r++) s[r].low = s[r].high = s[r].even = s[r].odd = _mm512_setzero_si512();
    for (uint32_t q = 0; q < quads; q += batch) {
        for (uint32_t i = 0; i < batch; i++, p += 56, ahead += n * pace, table += QUAD_TABLE) {
            const __m512i low0 = acc_load512(table), low1 = acc_load512(table + 64);
            const __m512i high0 = acc_load512(table + 128), high1 = acc_load512(table + 192);
            ACC_UNROLL for (uint32_t r = 0; r < n; r++)
            {
                _mm_prefetch(ahead + r * 64, _MM_HINT_T1);
                const __m512i codes = acc_w2s_codes512(p + r * bytes, spread, shifts);
                s[r].low = _mm512_add_epi8(s[r].low, look_up(codes, low0, low1));
                s[r].high = _mm512_add_epi8(s[r].high, look_up(codes, high0, high1));
            }
        }
        ACC_UNROLL for (uint32_t r = 0; r < n; r++) widen(&s[r]);
    }
    ACC_UNROLL for (uint32_t r = 0; r < n; r++)
    {
        const __m512i m = acc_load512(p + r * bytes), next = _mm512_srli_epi16(m, 8);
        add_scaled(s[r].even, m, 0xff, y + 64 * r);
        add_scaled(s[r].odd, next, 0xff, y + 64 * r + 16);
        add_scaled(s[r].even, m, 0xff0000, y + 64 * r + 32);
        add_scaled(s[r].odd, next, 0xff0000, y + 64 * r + 48);
    }
}

/* One column group down its row blocks. */
ACC_INLINE void column(const acc_weight *w, const uint8_t *table, uint32_t batch, uint32_t cg, uint32_t rb0,
                       uint32_t rb1, int32_t *y)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t ahead = (uint32_t)(AHEAD_BYTES / bytes), quads = w->group / 4;
    uint32_t rb = rb0;
    for (; rb + TOGETHER <= rb1; rb += TOGETHER, y += TOGETHER * ACC_TILE_ROWS)
        tiles(acc_weight_tile(w, bytes, cg, rb), bytes, (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, ahead),
              table, quads, batch, TOGETHER, y);
    for (; rb < rb1; rb++, y += ACC_TILE_ROWS)
        tiles(acc_weight_tile(w, bytes, cg, rb), bytes, (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, ahead),
              table, quads, batch, 1, y);
}

/* Rows of a block in their order: y [4][16] as tile() has it. */
static void sort_rows(int32_t *y)
{
    const __m512i y0 = acc_load512(y), y1 = acc_load512(y + 16), y2 = acc_load512(y + 32), y3 = acc_load512(y + 48);
    const __m512i a = _mm512_unpacklo_epi32(y0, y1), b = _mm512_unpacklo_epi32(y2, y3);
    const __m512i c = _mm512_unpackhi_epi32(y0, y1), d = _mm512_unpackhi_epi32(y2, y3);
    __m512i x[4] = {_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b), _mm512_unpacklo_epi64(c, d),
                    _mm512_unpackhi_epi64(c, d)}; /* lane l of x[i]: rows 16 l + 4 i on */
    acc_transpose_lanes(x);
    for (int i = 0; i < 4; i++) acc_store512(y + 16 * i, x[i]);
}

void acc_avx512_w2s_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1,
                           void *scratch)
{
    tables t;
    uint8_t *table = scratch;
    make_tables(w, &t);
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        for (uint32_t q = 0; q < w->group / 4; q++)
            quad_table(&t, a + (size_t)cg * w->group + 4 * q, table + (size_t)q * QUAD_TABLE);
        /* High parts lie between -8 L2 and 8 L2, low ones below 32. */
        if (w->level2 <= 2)
            column(w, table, 8, cg, rb0, rb1, isum);
        else if (w->level2 <= 4)
            column(w, table, 4, cg, rb0, rb1, isum);
        else
            column(w, table, 2, cg, rb0, rb1, isum);
    }
    for (uint32_t rb = rb0; rb < rb1; rb++) sort_rows(isum + (size_t)(rb - rb0) * ACC_TILE_ROWS);
}
