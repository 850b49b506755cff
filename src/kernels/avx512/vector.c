/* A8, RMSNorm with A8, SiLU and the linear layer's scaling for AVX-512. */
#include <math.h>

#include "kernels/avx512/common.h"
#include "numerics/numerics.h"

/* x, or x * g: the lanes of m from i on, zeros elsewhere. */
ACC_INLINE __m512 input(const float *x, const float *g, uint32_t i, __mmask16 m)
{
    __m512 v = _mm512_maskz_loadu_ps(m, x + i);
    return g ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, g + i)) : v;
}

/* The bits of max |x|; with g of max |x * g|. */
ACC_INLINE uint32_t max_abs(const float *x, const float *g, uint32_t n)
{
    __m512i a = _mm512_setzero_si512(), b = a;
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm512_max_epi32(a, magnitude512(input(x, g, i, 0xffff)));
        b = _mm512_max_epi32(b, magnitude512(input(x, g, i + 16, 0xffff)));
    }
    for (; i < n; i += 16) a = _mm512_max_epi32(a, magnitude512(input(x, g, i, first_lanes(n - i))));
    return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
}

ACC_INLINE void codes(const float *x, const float *g, uint32_t n, uint32_t n_pad, float m, int8_t *a)
{
    uint32_t i = 0;
    if (m < 0x1p-100f) {
        memset(a, 0, n_pad);
        return;
    }
    const __m512 inv = _mm512_set1_ps(127.0f / m);
    for (; i + 16 <= n; i += 16) _mm_storeu_si128((__m128i *)(a + i), codes16(input(x, g, i, 0xffff), inv));
    if (i < n) {
        const __mmask16 left = first_lanes(n - i);
        _mm_mask_storeu_epi8(a + i, left, codes16(input(x, g, i, left), inv));
    }
    memset(a + n, 0, n_pad - n);
}

static bool a8(const float *x, uint32_t n, uint32_t n_pad, int8_t *a, float *scale)
{
    uint32_t bits = max_abs(x, NULL, n);
    float m;
    if (bits >= 0x7f800000) return false;
    memcpy(&m, &bits, sizeof m);
    codes(x, NULL, n, n_pad, m, a);
    *scale = m < 0x1p-100f ? 0 : m / 127.0f;
    return true;
}

static bool norm_a8(const float *x, const float *g, uint32_t n, uint32_t n_pad, float eps, int8_t *a, float *scale)
{
    uint32_t bits = max_abs(x, g, n);
    float m, square = sum_products512(x, x, n), r = 1.0f / __builtin_sqrtf(square / (float)n + eps);
    if (bits >= 0x7f800000 || !isfinite(square) || !isfinite(r)) return false;
    memcpy(&m, &bits, sizeof m);
    codes(x, g, n, n_pad, m, a);
    *scale = m < 0x1p-100f ? 0 : (m / 127.0f) * r;
    return isfinite(*scale);
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
