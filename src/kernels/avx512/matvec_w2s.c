/*
 * W2S decode by table look-up: for each quad of activations the 128 products v = quad(code) . a are tabulated as two
 * bytes, v = 32 high + low with low in 0..31; each code of 64 rows is then one look-up in 128 entries per byte. Both
 * are added up as bytes, for as many quads as fit, so that the shuffle unit, which bounds the loop, has nothing to do
 * but look-ups and the extraction of codes. A column group's tables (8 KB) stay in the first-level cache while the walk
 * goes down its row blocks. Their loads starve the hardware prefetcher, so that the weights are prefetched to the
 * second level, far ahead.
 */
#include "kernels/avx512/linear.h"
#include "kernels/picks.h"

#define AHEAD_BYTES 24576
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

static inline void add_quad(__m512i codes, const uint8_t *table, sums *s)
{
    s->low = _mm512_add_epi8(s->low, _mm512_permutex2var_epi8(acc_load512(table), codes, acc_load512(table + 64)));
    s->high =
        _mm512_add_epi8(s->high, _mm512_permutex2var_epi8(acc_load512(table + 128), codes, acc_load512(table + 192)));
}

/* The bytes' sums to words. */
static inline void widen(sums *s)
{
    const __m512i odd = _mm512_set1_epi16((int16_t)0xff00);
    s->even = _mm512_add_epi16(s->even, _mm512_andnot_si512(odd, s->low));
    s->even = _mm512_add_epi16(s->even, _mm512_srai_epi16(_mm512_slli_epi16(s->high, 8), 8 - LOW_BITS));
    s->odd = _mm512_add_epi16(s->odd, _mm512_srli_epi16(s->low, 8));
    s->odd = _mm512_add_epi16(s->odd, _mm512_srai_epi16(_mm512_and_si512(s->high, odd), 8 - LOW_BITS));
    s->low = s->high = _mm512_setzero_si512();
}

/* y [16] += s * m, the words where mask has ones. */
static inline void add_scaled(__m512i s, __m512i m, int32_t mask, int32_t *y)
{
    const __m512i product = _mm512_madd_epi16(s, _mm512_and_si512(m, _mm512_set1_epi32(mask)));
    acc_store512(y, _mm512_add_epi32(acc_load512(y), product));
}

/* `batch`: quads whose sums fit bytes. y [4][16]: rows 4 i, 4 i + 1, ... */
static inline void tile(const uint8_t *p, const char *ahead, const uint8_t *table, uint32_t quads, uint32_t batch,
                        int32_t *y)
{
    const __m512i spread = acc_w2s_spread(), shifts = acc_w2s_shifts(), zero = _mm512_setzero_si512();
    sums s = {zero, zero, zero, zero};
    for (uint32_t q = 0; q < quads; q += batch) {
        for (uint32_t i = 0; i < batch; i += 2, p += 112, ahead += 112, table += 2 * QUAD_TABLE) {
            _mm_prefetch(ahead, _MM_HINT_T1);
            _mm_prefetch(ahead + 64, _MM_HINT_T1);
            add_quad(acc_w2s_codes512(p, spread, shifts), table, &s);
            add_quad(acc_w2s_codes512(p + 56, spread, shifts), table + QUAD_TABLE, &s);
        }
        widen(&s);
    }
    const __m512i m = acc_load512(p), next = _mm512_srli_epi16(m, 8);
    add_scaled(s.even, m, 0xff, y);
    add_scaled(s.odd, next, 0xff, y + 16);
    add_scaled(s.even, m, 0xff0000, y + 32);
    add_scaled(s.odd, next, 0xff0000, y + 48);
}

/* One column group down its row blocks. */
static inline void column(const acc_weight *w, const uint8_t *table, uint32_t batch, uint32_t cg, uint32_t rb0,
                          uint32_t rb1, int32_t *y)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t ahead = (uint32_t)(AHEAD_BYTES / bytes);
    for (uint32_t rb = rb0; rb < rb1; rb++, y += ACC_TILE_ROWS)
        tile(acc_weight_tile(w, bytes, cg, rb), (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, ahead), table,
             w->group / 4, batch, y);
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
