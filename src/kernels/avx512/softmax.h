/* Steps 2 to 4 of docs/numerics.md "Attention of one query and head" over rows of scores, for AVX-512. */
#ifndef ACC_KERNELS_AVX512_SOFTMAX_H
#define ACC_KERNELS_AVX512_SOFTMAX_H

#include "kernels/attn_scratch.h"
#include "kernels/avx512/common.h"
#include "numerics/numerics.h"

ACC_INLINE __m512 f16_to_f32(const uint16_t *h)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h));
}

/* The exponential's table: T[i] in the low, T[i + 1] - T[i] in the high half of a lane. */
ACC_INLINE void exp2_table(__m512i t[4])
{
    ACC_UNROLL for (int k = 0; k < 4; k++)
    {
        __m512i low = _mm512_loadu_si512(acc_exp2_table + 16 * k),
                next = _mm512_loadu_si512(acc_exp2_table + 16 * k + 1);
        t[k] = _mm512_or_si512(low, _mm512_slli_epi32(_mm512_sub_epi32(next, low), 16));
    }
}

/* e of sixteen v, before its limit of 65535: (2 m + half(-n)) >> -n = ((4 m >> -n) + 1) >> 1. */
ACC_INLINE __m512i exponential(const __m512i t[4], __m512i v)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i i = _mm512_srli_epi32(v, 10), f = _mm512_and_si512(v, _mm512_set1_epi32(1023));
    __mmask16 upper = _mm512_test_epi32_mask(v, _mm512_set1_epi32(1 << 15)); /* i >= 32 */
    __m512i x = _mm512_mask_mov_epi32(_mm512_permutex2var_epi32(t[0], i, t[1]), upper,
                                      _mm512_permutex2var_epi32(t[2], i, t[3]));
    __m512i low = _mm512_and_si512(x, _mm512_set1_epi32(65535)), step = _mm512_srli_epi32(x, 16);
    __m512i add = _mm512_add_epi32(_mm512_madd_epi16(step, f), _mm512_set1_epi32(512));
    __m512i m = _mm512_add_epi32(low, _mm512_srli_epi32(add, 10));
    __m512i shift = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_srai_epi32(v, 16));
    __m512i e = _mm512_srlv_epi32(_mm512_slli_epi32(m, 2), shift);
    return _mm512_srli_epi32(_mm512_add_epi32(e, one), 1);
}

/* Steps 2 and 3, w and B of step 4: s [n] becomes w. n: a multiple of 16; s is -inf where a position takes no part. */
static inline void attn_weights(float *s, const uint16_t *vscale, uint32_t n, float max, uint32_t *l, float *top)
{
    const __m512 mv = _mm512_set1_ps(max), unit = _mm512_set1_ps(ACC_LOG2E_65536);
    const __m512 limit = _mm512_set1_ps(-16.0f * 65536);
    __m512i t[4], sum = _mm512_setzero_si512();
    __m512 best = _mm512_setzero_ps();
    exp2_table(t);
    for (uint32_t i = 0; i < n; i += 16) {
        __m512 d = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(s + i), mv), unit);
        const __mmask16 ok = _mm512_cmp_ps_mask(d, limit, _CMP_GE_OQ);
        __m512i e = exponential(t, _mm512_cvtps_epi32(d));
        e = _mm512_maskz_min_epu32(ok, e, _mm512_set1_epi32(65535));
        sum = _mm512_add_epi32(sum, e);
        __m512 w = _mm512_maskz_mul_ps(ok, _mm512_cvtepi32_ps(e), f16_to_f32(vscale + i));
        best = _mm512_max_ps(w, best);
        _mm512_storeu_ps(s + i, w);
    }
    *l = (uint32_t)_mm512_reduce_add_epi32(sum);
    *top = _mm512_reduce_max_ps(best);
}

/* Step 4 for one strip: the sixteen p, and x. */
ACC_INLINE __m128i attn_strip(const float *w, __m512 inv, uint32_t *x)
{
    /* r <= 32640 fits 16 bits. */
    __m256i r = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(w), inv)));
    __m128i top = _mm_max_epu16(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
    top = _mm_minpos_epu16(_mm_xor_si128(top, _mm_set1_epi32(-1)));
    uint32_t max = (uint32_t)_mm_extract_epi16(top, 0) ^ 0xffff;
    uint32_t shift = 24 - (uint32_t)__builtin_clz(max | 255); /* the first with max >> shift <= 255 */
    uint32_t half = (1u << shift) >> 1;
    if ((max + half) >> shift > 255) half = (1u << ++shift) >> 1;
    *x = shift;
    r = _mm256_srl_epi16(_mm256_add_epi16(r, _mm256_set1_epi16((short)half)), _mm_cvtsi32_si128((int)shift));
    return _mm256_cvtepi16_epi8(r);
}

#endif
