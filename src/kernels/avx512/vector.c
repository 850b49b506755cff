/* A8, RMSNorm with A8, SiLU and the linear layer's scaling for AVX-512. */
#include "kernels/a8.h"
#include "kernels/avx512/common.h"
#include "numerics/numerics.h"

ACC_INLINE void codes(const float *x, const float *g, uint32_t n, uint32_t n_pad, float inv, int8_t *a)
{
    const __m512 v = _mm512_set1_ps(inv);
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) _mm_storeu_si128((__m128i *)(a + i), codes16(scaled512(x, g, i, 0xffff), v));
    if (i < n) {
        const __mmask16 left = first_lanes(n - i);
        _mm_mask_storeu_epi8(a + i, left, codes16(scaled512(x, g, i, left), v));
    }
    memset(a + n, 0, n_pad - n);
}

static bool a8(const float *x, uint32_t n, uint32_t n_pad, int8_t *a, float *scale)
{
    return acc_a8_by(max_abs512, codes, x, n, n_pad, a, scale);
}

static bool norm_a8(const float *x, const float *g, uint32_t n, uint32_t n_pad, float eps, int8_t *a, float *scale)
{
    return acc_norm_a8_by(max_abs512, codes, sum_products512(x, x, n), x, g, n, n_pad, eps, a, scale);
}

ACC_INLINE __m512 sigmoid(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f), sixteen = _mm512_set1_ps(16.0f);
    __m512 g = _mm512_mul_ps(_mm512_add_ps(x, sixteen), _mm512_set1_ps(32.0f));
    __m512i i = _mm512_cvttps_epi32(g);
    i = _mm512_min_epi32(_mm512_max_epi32(i, _mm512_setzero_si512()), _mm512_set1_epi32(1023));
    __m512 low = _mm512_i32gather_ps(i, acc_sigmoid_table, 4), next = _mm512_i32gather_ps(i, acc_sigmoid_table + 1, 4);
    __m512 f = _mm512_sub_ps(g, _mm512_cvtepi32_ps(i));
    __m512 y = _mm512_add_ps(low, _mm512_mul_ps(_mm512_sub_ps(next, low), f));
    y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, sixteen, _CMP_NLT_UQ), one);
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, _mm512_set1_ps(-16.0f), _CMP_LT_OQ), _mm512_setzero_ps());
}

static void silu_mul(const float *gate, const float *up, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes(n - i);
        __m512 x = _mm512_maskz_loadu_ps(m, gate + i);
        __m512 r = _mm512_mul_ps(_mm512_mul_ps(x, sigmoid(x)), _mm512_maskz_loadu_ps(m, up + i));
        _mm512_mask_storeu_ps(y + i, m, r);
    }
}

static void scale(const int32_t *isum, const float *rscale, float s, const float *bias, float *y, uint32_t n)
{
    const __m512 v = _mm512_set1_ps(s);
    for (uint32_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes(n - i);
        __m512 sum = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(m, isum + i));
        __m512 r = _mm512_mul_ps(sum, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, rscale + i), v));
        if (bias) r = _mm512_add_ps(r, _mm512_maskz_loadu_ps(m, bias + i));
        _mm512_mask_storeu_ps(y + i, m, r);
    }
}

void acc_kernels_init_avx512_vector(acc_kernels *k)
{
    k->a8 = a8;
    k->norm_a8 = norm_a8;
    k->silu_mul = silu_mul;
    k->scale = scale;
}
