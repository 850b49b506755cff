/* Steps 2 to 4 of docs/numerics.md "Attention of one query and head" over rows of scores, for AVX2. */
#ifndef ACC_KERNELS_AVX2_SOFTMAX_H
#define ACC_KERNELS_AVX2_SOFTMAX_H

#include "kernels/attn_scratch.h"
#include "kernels/avx2/common.h"
#include "numerics/numerics.h"

ACC_INLINE float max_lane256_ps(__m256 x)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

ACC_INLINE __m256 f16_to_f32(const uint16_t *h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
}

/* Thirty-two entries of a 64-byte table; sel1 and sel2 hold bits 4 and 5 of the index in bit 7. */
ACC_INLINE __m256i lookup64(const uint8_t table[64], __m256i index, __m256i sel1, __m256i sel2)
{
    __m256i t[4];
    ACC_UNROLL for (int k = 0; k < 4; k++) t[k] =
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table + 16 * k))), index);
    return _mm256_blendv_epi8(_mm256_blendv_epi8(t[0], t[1], sel1), _mm256_blendv_epi8(t[2], t[3], sel1), sel2);
}

/* m of sixteen v: T[i] + (((T[i + 1] - T[i]) * f + 512) >> 10), which is what pmulhrsw makes of the step and 32 f. */
ACC_INLINE __m256i mantissa(__m256i low, __m256i step, __m256i v)
{
    __m256i f = _mm256_and_si256(_mm256_slli_epi16(v, 5), _mm256_set1_epi16(0x7fe0));
    return _mm256_add_epi16(low, _mm256_mulhrs_epi16(step, f));
}

/* e of eight v from m << 16: (2 m + half(-n)) >> -n = (4 m >> -n) + 1 >> 1; zero where !ok. */
ACC_INLINE __m256i exponential(__m256i m16, __m256i v, __m256i ok)
{
    __m256i shift = _mm256_sub_epi32(_mm256_set1_epi32(14), _mm256_srai_epi32(v, 16));
    __m256i e = _mm256_add_epi32(_mm256_srlv_epi32(m16, shift), _mm256_set1_epi32(1));
    return _mm256_and_si256(_mm256_min_epu32(_mm256_srli_epi32(e, 1), _mm256_set1_epi32(65535)), ok);
}

/* Steps 2 and 3, w and B of step 4: s [n] becomes w. n: a multiple of 32; s is -inf where a position takes no part. */
static inline void attn_weights(float *s, const uint16_t *vscale, uint32_t n, float max, uint32_t *l, float *top)
{
    const __m256 mv = _mm256_set1_ps(max), unit = _mm256_set1_ps(ACC_LOG2E_65536);
    const __m256 limit = _mm256_set1_ps(-16.0f * 65536);
    const __m256i zero = _mm256_setzero_si256();
    __m256i sum = zero;
    __m256 best = _mm256_setzero_ps();
    for (uint32_t i = 0; i < n; i += 32) {
        __m256i v[4], ok[4], m[4], v16[2];
        ACC_UNROLL for (int j = 0; j < 4; j++)
        {
            __m256 d = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(s + i + 8 * j), mv), unit);
            ok[j] = _mm256_castps_si256(_mm256_cmp_ps(d, limit, _CMP_GE_OQ));
            v[j] = _mm256_cvtps_epi32(d);
        }
        ACC_UNROLL for (int j = 0; j < 2; j++) v16[j] =
            _mm256_packus_epi32(_mm256_blend_epi16(v[2 * j], zero, 0xaa), _mm256_blend_epi16(v[2 * j + 1], zero, 0xaa));
        __m256i index = _mm256_packus_epi16(_mm256_srli_epi16(v16[0], 10), _mm256_srli_epi16(v16[1], 10));
        __m256i sel1 = _mm256_slli_epi16(index, 3), sel2 = _mm256_slli_epi16(index, 2);
        __m256i t0 = lookup64(acc_exp2_bytes[0], index, sel1, sel2),
                t1 = lookup64(acc_exp2_bytes[1], index, sel1, sel2);
        __m256i d0 = lookup64(acc_exp2_bytes[2], index, sel1, sel2),
                d1 = lookup64(acc_exp2_bytes[3], index, sel1, sel2);
        __m256i m0 = mantissa(_mm256_unpacklo_epi8(t0, t1), _mm256_unpacklo_epi8(d0, d1), v16[0]);
        __m256i m1 = mantissa(_mm256_unpackhi_epi8(t0, t1), _mm256_unpackhi_epi8(d0, d1), v16[1]);
        m[0] = _mm256_unpacklo_epi16(zero, m0);
        m[1] = _mm256_unpackhi_epi16(zero, m0);
        m[2] = _mm256_unpacklo_epi16(zero, m1);
        m[3] = _mm256_unpackhi_epi16(zero, m1);
        ACC_UNROLL for (int j = 0; j < 4; j++)
        {
            __m256i e = exponential(m[j], v[j], ok[j]);
            sum = _mm256_add_epi32(sum, e);
            __m256 w = _mm256_mul_ps(_mm256_cvtepi32_ps(e), f16_to_f32(vscale + i + 8 * j));
            w = _mm256_and_ps(w, _mm256_castsi256_ps(ok[j]));
            best = _mm256_max_ps(w, best);
            _mm256_storeu_ps(s + i + 8 * j, w);
        }
    }
    *l = (uint32_t)sum_lanes256(sum);
    *top = max_lane256_ps(best);
}

/* Step 4 for one strip: the sixteen (r + half(x)) >> x in order; r <= 32640 fits 16 bits. */
ACC_INLINE __m256i attn_strip(const float *w, __m256 inv, uint32_t *x)
{
    __m256i r = _mm256_packus_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w), inv)),
                                    _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + 8), inv)));
    r = _mm256_permute4x64_epi64(r, 0xd8);
    __m128i top = _mm_max_epu16(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
    top = _mm_minpos_epu16(_mm_xor_si128(top, _mm_set1_epi32(-1)));
    uint32_t max = (uint32_t)_mm_extract_epi16(top, 0) ^ 0xffff;
    uint32_t shift = 24 - (uint32_t)__builtin_clz(max | 255); /* the first with max >> shift <= 255 */
    uint32_t half = (1u << shift) >> 1;
    if ((max + half) >> shift > 255) half = (1u << ++shift) >> 1;
    *x = shift;
    return _mm256_srl_epi16(_mm256_add_epi16(r, _mm256_set1_epi16((short)half)), _mm_cvtsi32_si128((int)shift));
}

#endif
