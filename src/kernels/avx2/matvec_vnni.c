/*
 * Decode of the dense formats with AVX-VNNI: half a line of 64 bytes is 8 rows x 4 columns, one operand of the byte dot
 * product, whose 32-bit sums hold fields of weights where they stand.
 */
#include "kernels/avx2/linear.h"

/* Adds one tile's sums to y[64]; start: acc_start() of a. */
typedef void tile_sums(const uint8_t *p, const char *ahead, const int8_t *a, int32_t start, uint32_t group, int32_t *y);

static inline void add8(int32_t *y, __m256i sum)
{
    store256(y, _mm256_add_epi32(load256(y), sum));
}

/* Column group by column group, down all row blocks; `ahead` tiles further are prefetched. */
ACC_INLINE void walk(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, int32_t offset,
                     uint32_t ahead, tile_sums *tile)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++, a += w->group) {
        const int32_t start = acc_start(a, w->group, offset);
        int32_t *y = isum;
        for (uint32_t rb = rb0; rb < rb1; rb++, y += ACC_TILE_ROWS)
            tile(acc_weight_tile(w, bytes, cg, rb), (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, ahead), a,
                 start, w->group, y);
    }
}

/* ---- W2: fields masked where they stand, so that sums come out times 1, 4, 16 and 64 ---- */

ACC_INLINE void w2_tile(const uint8_t *p, const char *ahead, const int8_t *a, int32_t start, uint32_t group, int32_t *y)
{
    const __m256i m0 = _mm256_set1_epi8(0x03), m1 = _mm256_set1_epi8(0x0c), m2 = _mm256_set1_epi8(0x30);
    __m256i s[8]; /* of field f, rows 8 i on: s[2 f + i]; 6 and 7: of all fields */
    for (int i = 0; i < 8; i++) s[i] = _mm256_setzero_si256();
    for (uint32_t k = 0; k < group; k += 4, p += ACC_W2_QUAD_BYTES, ahead += ACC_W2_QUAD_BYTES) {
        const __m256i v = broadcast4(a + k);
        _mm_prefetch(ahead, _MM_HINT_T0);
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const __m256i x = load256(p + 32 * i);
            s[i] = acc_add_bytes(s[i], _mm256_and_si256(x, m0), v);
            s[2 + i] = acc_add_bytes(s[2 + i], _mm256_and_si256(x, m1), v);
            s[4 + i] = acc_add_bytes(s[4 + i], _mm256_and_si256(x, m2), v);
            s[6 + i] = acc_add_bytes(s[6 + i], x, v);
        }
    }
    _mm_prefetch(ahead, _MM_HINT_T0);
    for (int i = 0; i < 2; i++) {
        s[6 + i] = _mm256_sub_epi32(s[6 + i], _mm256_add_epi32(s[i], _mm256_add_epi32(s[2 + i], s[4 + i])));
        s[i] = _mm256_slli_epi32(s[i], 1); /* 2 field - 3 is the level */
        s[2 + i] = _mm256_srai_epi32(s[2 + i], 1);
        s[4 + i] = _mm256_srai_epi32(s[4 + i], 3);
        s[6 + i] = _mm256_srai_epi32(s[6 + i], 5);
    }
    for (int i = 0; i < 8; i++)
        add8(y + 8 * i, acc_scaled(_mm256_add_epi32(s[i], _mm256_set1_epi32(start)), acc_scale(p + 8 * i)));
}

void acc_avxvnni_w2_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1,
                           void *scratch)
{
    (void)scratch;
    walk(w, a, isum, rb0, rb1, 3, (uint32_t)(4096 / acc_weight_tile_bytes(w)), w2_tile);
}

/* ---- W4: the upper nibbles are what a byte has beyond the lower one; their sums come out times 16 ---- */

ACC_INLINE void w4_tile(const uint8_t *p, const char *ahead, const int8_t *a, int32_t start, uint32_t group, int32_t *y)
{
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i s[8]; /* rows 8 i on; from 4 on: and 16 times those 32 rows up */
    for (int i = 0; i < 8; i++) s[i] = _mm256_setzero_si256();
    for (uint32_t k = 0; k < group; k += 4, p += ACC_W4_QUAD_BYTES, ahead += ACC_W4_QUAD_BYTES) {
        const __m256i v = broadcast4(a + k);
        _mm_prefetch(ahead, _MM_HINT_T0);
        _mm_prefetch(ahead + 64, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m256i x = load256(p + 32 * i);
            s[i] = acc_add_bytes(s[i], _mm256_and_si256(x, mask), v);
            s[4 + i] = acc_add_bytes(s[4 + i], x, v);
        }
    }
    _mm_prefetch(ahead, _MM_HINT_T0);
    for (int i = 0; i < 4; i++) s[4 + i] = _mm256_srai_epi32(_mm256_sub_epi32(s[4 + i], s[i]), 4);
    for (int i = 0; i < 8; i++)
        add8(y + 8 * i, acc_scaled(_mm256_add_epi32(s[i], _mm256_set1_epi32(start)), acc_scale(p + 8 * i)));
}

void acc_avxvnni_w4_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1,
                           void *scratch)
{
    (void)scratch;
    walk(w, a, isum, rb0, rb1, 8, 2, w4_tile);
}

/* ---- W8: w + 128 ---- */

ACC_INLINE void w8_tile(const uint8_t *p, const char *ahead, const int8_t *a, int32_t start, uint32_t group, int32_t *y)
{
    const __m256i flip = _mm256_set1_epi8(-128);
    __m256i s[8];
    for (int i = 0; i < 8; i++) s[i] = _mm256_set1_epi32(start);
    for (uint32_t k = 0; k < group; k += 4, p += ACC_W8_QUAD_BYTES, ahead += ACC_W8_QUAD_BYTES) {
        const __m256i v = broadcast4(a + k);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            if (i % 2 == 0) _mm_prefetch(ahead + 32 * i, _MM_HINT_T0);
            s[i] = acc_add_bytes(s[i], _mm256_xor_si256(load256(p + 32 * i), flip), v);
        }
    }
    for (int i = 0; i < 8; i++) add8(y + 8 * i, s[i]);
}

void acc_avxvnni_w8_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1,
                           void *scratch)
{
    (void)scratch;
    walk(w, a, isum, rb0, rb1, 128, 1, w8_tile);
}
