/* What the AVX2 kernels share. AVX2 and F16C; never FMA (docs/numerics.md). */
#ifndef ACC_KERNELS_AVX2_COMMON_H
#define ACC_KERNELS_AVX2_COMMON_H

#include <immintrin.h>
#include <string.h>

#include "core/inline.h"
#include "kernels/a8.h"
#include "kernels/avx2/avx2.h"

ACC_INLINE __m256i load256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

ACC_INLINE void store256(void *p, __m256i x)
{
    _mm256_storeu_si256((__m256i *)p, x);
}

/* Four bytes to every lane. */
ACC_INLINE __m256i broadcast4(const void *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}

/* Eight bytes to every half of 16. */
ACC_INLINE __m256i broadcast8(const void *p)
{
    int64_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi64x(x);
}

/* The fixed-order sum of 64 partials. */
ACC_INLINE float fold64(const __m256 p[8])
{
    __m256 a0 = _mm256_add_ps(p[0], p[4]), a1 = _mm256_add_ps(p[1], p[5]);
    __m256 a2 = _mm256_add_ps(p[2], p[6]), a3 = _mm256_add_ps(p[3], p[7]);
    __m256 b = _mm256_add_ps(_mm256_add_ps(a0, a2), _mm256_add_ps(a1, a3));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

/* sum(x * y) in the fixed order; x and y may be the same. */
ACC_INLINE float sum_products256(const float *x, const float *y, uint32_t n)
{
    __m256 p[8];
    uint32_t i = 0;
    ACC_UNROLL for (int j = 0; j < 8; j++) p[j] = _mm256_setzero_ps();
    for (; i + 64 <= n; i += 64)
        ACC_UNROLL for (int j = 0; j < 8; j++) p[j] =
            _mm256_add_ps(p[j], _mm256_mul_ps(_mm256_loadu_ps(x + i + 8 * j), _mm256_loadu_ps(y + i + 8 * j)));
    if (i < n) {
        _Alignas(32) float part[64];
        ACC_UNROLL for (int j = 0; j < 8; j++) _mm256_store_ps(part + 8 * j, p[j]);
        for (uint32_t j = 0; i + j < n; j++) part[j] += x[i + j] * y[i + j];
        ACC_UNROLL for (int j = 0; j < 8; j++) p[j] = _mm256_load_ps(part + 8 * j);
    }
    return fold64(p);
}

/* The bits of |x|. */
ACC_INLINE __m256i magnitude256(__m256 x)
{
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

/* x, or x * g: eight from i on. */
ACC_INLINE __m256 scaled256(const float *x, const float *g, uint32_t i)
{
    __m256 v = _mm256_loadu_ps(x + i);
    return g ? _mm256_mul_ps(v, _mm256_loadu_ps(g + i)) : v;
}

/* The largest of eight unsigned integers below 2^31. */
ACC_INLINE uint32_t max_lane256(__m256i x)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

/* The sum of eight integers, modulo 2^32. */
ACC_INLINE int32_t sum_lanes256(__m256i x)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* The bits of max |x|; with g of max |x * g|. */
ACC_INLINE uint32_t max_abs256(const float *x, const float *g, uint32_t n)
{
    __m256i a = _mm256_setzero_si256(), b = a;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        a = _mm256_max_epi32(a, magnitude256(scaled256(x, g, i)));
        b = _mm256_max_epi32(b, magnitude256(scaled256(x, g, i + 8)));
    }
    return acc_max_abs_rest(x, g, i, n, max_lane256(_mm256_max_epi32(a, b)));
}

/* Thirty-two times rne(x * inv) as int8; the products lie in -127.5..127.5 (A8's inv), so nothing saturates. */
ACC_INLINE __m256i codes32(__m256 a, __m256 b, __m256 c, __m256 d, __m256 inv)
{
    __m256i ab =
        _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(a, inv)), _mm256_cvtps_epi32(_mm256_mul_ps(b, inv)));
    __m256i cd =
        _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(c, inv)), _mm256_cvtps_epi32(_mm256_mul_ps(d, inv)));
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

#endif
