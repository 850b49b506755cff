/* Dense decode: one line of 64 bytes is 16 rows x 4 columns, which is one operand of the byte dot product. */
#include "core/inline.h"
#include "kernels/avx512/linear.h"

/* Prefetch distances. The reads stand in the order of the addresses, which Zen 4 follows by itself, unless it is asked
 * for too much; Intel's cores gain by more (docs/design.md, section 3). */
#define NEAR 512
#define FAR 4096

/* lines: 1, 2, 4 or 8. Written out, because gcc 12 drops a loop that does nothing else. */
ACC_INLINE void prefetch(const uint8_t *p, const int lines)
{
    const char *c = (const char *)p;
    if (lines > 4) {
        _mm_prefetch(c + 256, _MM_HINT_T1);
        _mm_prefetch(c + 320, _MM_HINT_T1);
        _mm_prefetch(c + 384, _MM_HINT_T1);
        _mm_prefetch(c + 448, _MM_HINT_T1);
    }
    if (lines > 2) {
        _mm_prefetch(c + 128, _MM_HINT_T1);
        _mm_prefetch(c + 192, _MM_HINT_T1);
    }
    if (lines > 1) _mm_prefetch(c + 64, _MM_HINT_T1);
    _mm_prefetch(c, _MM_HINT_T1);
}

/* Adds one tile's sums to y[64]; sum: of a. ahead: what is asked for meanwhile, as many bytes. */
typedef void tile_sums(const uint8_t *p, const uint8_t *ahead, const int8_t *a, int32_t sum, uint32_t group,
                       int32_t *y);

/* Column group by column group, down all row blocks. */
ACC_INLINE void walk(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, bool far,
                     tile_sums *tile)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t steps = (uint32_t)((FAR + bytes - 1) / bytes);
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        const int8_t *x = a + (size_t)cg * w->group;
        const int32_t sum = acc_sum_codes(x, w->group);
        int32_t *y = isum;
        for (uint32_t rb = rb0; rb < rb1; rb++, y += ACC_TILE_ROWS) {
            const uint8_t *p = acc_weight_tile(w, bytes, cg, rb);
            tile(p, far ? acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, steps) : p + NEAR, x, sum, w->group, y);
        }
    }
}

/* ---- W2: the fields of a byte are masked where they stand, so that sums come out times 1, 4, 16 and 64 ---- */

ACC_INLINE void w2_tile(const uint8_t *p, const uint8_t *ahead, const int8_t *a, int32_t sum, uint32_t group,
                        int32_t *y)
{
    const __m512i zero = _mm512_setzero_si512(), offset = _mm512_set1_epi32(-3 * sum);
    const __m512i m0 = _mm512_set1_epi8(0x03), m1 = _mm512_set1_epi8(0x0c), m2 = _mm512_set1_epi8(0x30);
    __m512i s[8] = {zero, zero, zero, zero, zero, zero, zero, zero}; /* even quads, odd quads; 3 and 7: all fields */
    for (uint32_t k = 0; k < group; k += 8, p += 2 * ACC_W2_QUAD_BYTES, ahead += 2 * ACC_W2_QUAD_BYTES) {
        prefetch(ahead, 2);
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const __m512i v = broadcast4(a + k + 4 * i), x = acc_load512(p + 64 * i);
            s[4 * i] = acc_dot(s[4 * i], _mm512_and_si512(x, m0), v);
            s[4 * i + 1] = acc_dot(s[4 * i + 1], _mm512_and_si512(x, m1), v);
            s[4 * i + 2] = acc_dot(s[4 * i + 2], _mm512_and_si512(x, m2), v);
            s[4 * i + 3] = acc_dot(s[4 * i + 3], x, v);
        }
    }
    prefetch(ahead, 1);
    for (int i = 0; i < 4; i++) s[i] = _mm512_add_epi32(s[i], s[4 + i]);
    s[3] = _mm512_sub_epi32(s[3], _mm512_add_epi32(s[0], _mm512_add_epi32(s[1], s[2])));
    s[0] = _mm512_slli_epi32(s[0], 1); /* 2 field - 3 is the level */
    s[1] = _mm512_srai_epi32(s[1], 1);
    s[2] = _mm512_srai_epi32(s[2], 3);
    s[3] = _mm512_srai_epi32(s[3], 5);
    for (int i = 0; i < 4; i++) {
        const __m512i scaled = _mm512_mullo_epi32(_mm512_add_epi32(s[i], offset), acc_widen_u8(p + 16 * i));
        acc_store512(y + 16 * i, _mm512_add_epi32(acc_load512(y + 16 * i), scaled));
    }
}

/* ---- W4: code + 8 is the unsigned operand, 8 * sum(a) is taken off per group ---- */

ACC_INLINE void w4_tile(const uint8_t *p, const uint8_t *ahead, const int8_t *a, int32_t sum, uint32_t group,
                        int32_t *y)
{
    const __m512i mask = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    const __m512i start = _mm512_set1_epi32(-8 * sum);
    __m512i s[8] = {start, start, start, start, zero, zero, zero, zero}; /* even quads, odd quads */
    for (uint32_t k = 0; k < group; k += 8, p += 2 * ACC_W4_QUAD_BYTES, ahead += 2 * ACC_W4_QUAD_BYTES) {
        prefetch(ahead, 4);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) { /* quad i / 2, line i % 2 */
            const __m512i v = broadcast4(a + k + i / 2 * 4), x = acc_load512(p + 64 * i);
            const int to = i / 2 * 4 + i % 2;
            s[to] = acc_dot(s[to], _mm512_and_si512(x, mask), v);
            s[to + 2] = acc_dot(s[to + 2], _mm512_and_si512(_mm512_srli_epi16(x, 4), mask), v);
        }
    }
    prefetch(ahead, 1);
    for (int i = 0; i < 4; i++) {
        const __m512i scaled = _mm512_mullo_epi32(_mm512_add_epi32(s[i], s[4 + i]), acc_widen_u8(p + 16 * i));
        acc_store512(y + 16 * i, _mm512_add_epi32(acc_load512(y + 16 * i), scaled));
    }
}

/* ---- W8: w + 128 is the unsigned operand, 128 * sum(a) is taken off ---- */

ACC_INLINE void w8_tile(const uint8_t *p, const uint8_t *ahead, const int8_t *a, int32_t sum, uint32_t group,
                        int32_t *y)
{
    const __m512i flip = _mm512_set1_epi8(-128), zero = _mm512_setzero_si512();
    const __m512i start = _mm512_set1_epi32(-128 * sum);
    __m512i s[8] = {start, start, start, start, zero, zero, zero, zero};
    for (uint32_t k = 0; k < group; k += 8, p += 2 * ACC_W8_QUAD_BYTES, ahead += 2 * ACC_W8_QUAD_BYTES) {
        prefetch(ahead, 8);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            s[i] = acc_dot(s[i], _mm512_xor_si512(acc_load512(p + 64 * i), flip), broadcast4(a + k + i / 4 * 4));
    }
    for (int i = 0; i < 4; i++)
        acc_store512(y + 16 * i, _mm512_add_epi32(acc_load512(y + 16 * i), _mm512_add_epi32(s[i], s[4 + i])));
}

/* ---- each format with both distances ---- */

#define MATVEC(name, tile, far)                                                                               \
    void name(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch) \
    {                                                                                                         \
        (void)scratch;                                                                                        \
        walk(w, a, isum, rb0, rb1, far, tile);                                                                \
    }
MATVEC(acc_avx512_w2_matvec, w2_tile, false)
MATVEC(acc_avx512_w4_matvec, w4_tile, false)
MATVEC(acc_avx512_w8_matvec, w8_tile, false)
MATVEC(acc_avx512_w2_matvec_far, w2_tile, true)
MATVEC(acc_avx512_w4_matvec_far, w4_tile, true)
MATVEC(acc_avx512_w8_matvec_far, w8_tile, true)
