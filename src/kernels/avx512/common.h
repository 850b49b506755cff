/* What the AVX-512 kernels share. F, BW, VL, DQ, VBMI, VNNI; never a fused multiply-add of floats (docs/numerics.md).
 */
#ifndef ACC_KERNELS_AVX512_COMMON_H
#define ACC_KERNELS_AVX512_COMMON_H

#include <string.h>

#include "core/inline.h"
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/simd.h"

/* The first n lanes; all for n >= 16. */
ACC_INLINE __mmask16 first_lanes(uint32_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

/* sum(x * y) of docs/numerics.md in its order: 64 partials, then halves. x and y may be the same. */
ACC_INLINE float sum_products512(const float *x, const float *y, uint32_t n)
{
    __m512 p[4];
    uint32_t i = 0;
    ACC_UNROLL for (int j = 0; j < 4; j++) p[j] = _mm512_setzero_ps();
    for (; i + 64 <= n; i += 64)
        ACC_UNROLL for (int j = 0; j < 4; j++) p[j] =
            _mm512_add_ps(p[j], _mm512_mul_ps(_mm512_loadu_ps(x + i + 16 * j), _mm512_loadu_ps(y + i + 16 * j)));
    ACC_UNROLL for (uint32_t j = 0; j < 4; j++)
    {
        if (i + 16 * j >= n) break; /* +0 where nothing is left: a partial is never -0, so it keeps its bits */
        const __mmask16 m = first_lanes(n - i - 16 * j);
        p[j] = _mm512_add_ps(
            p[j], _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i + 16 * j), _mm512_maskz_loadu_ps(m, y + i + 16 * j)));
    }
    __m512 a = _mm512_add_ps(_mm512_add_ps(p[0], p[2]), _mm512_add_ps(p[1], p[3]));
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

/* The bits of |x|. */
ACC_INLINE __m512i magnitude512(__m512 x)
{
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

/* x, or x * g: the lanes of m from i on, zeros elsewhere. */
ACC_INLINE __m512 scaled512(const float *x, const float *g, uint32_t i, __mmask16 m)
{
    __m512 v = _mm512_maskz_loadu_ps(m, x + i);
    return g ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, g + i)) : v;
}

/* The bits of max |x|; with g of max |x * g|. */
ACC_INLINE uint32_t max_abs512(const float *x, const float *g, uint32_t n)
{
    __m512i a = _mm512_setzero_si512(), b = a;
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm512_max_epi32(a, magnitude512(scaled512(x, g, i, 0xffff)));
        b = _mm512_max_epi32(b, magnitude512(scaled512(x, g, i + 16, 0xffff)));
    }
    for (; i < n; i += 16) a = _mm512_max_epi32(a, magnitude512(scaled512(x, g, i, first_lanes(n - i))));
    return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
}

/* Sixteen rne(x * inv) as int8; they lie in -127..127 (A8's inv). */
ACC_INLINE __m128i codes16(__m512 x, __m512 inv)
{
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, inv)));
}

#endif
