/* A8, RMSNorm with A8, SiLU and the linear layer's scaling for AVX2. */
#include "kernels/a8.h"
#include "kernels/avx2/common.h"
#include "numerics/numerics.h"

ACC_INLINE void codes(const float *x, const float *g, uint32_t n, uint32_t n_pad, float inv, int8_t *a)
{
    const __m256 v = _mm256_set1_ps(inv);
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32)
        store256(a + i, codes32(scaled256(x, g, i), scaled256(x, g, i + 8), scaled256(x, g, i + 16),
                                scaled256(x, g, i + 24), v));
    for (; i < n; i++) a[i] = (int8_t)acc_rne((g ? x[i] * g[i] : x[i]) * inv);
    memset(a + i, 0, n_pad - i);
}

static bool a8(const float *x, uint32_t n, uint32_t n_pad, int8_t *a, float *scale)
{
    return acc_a8_by(max_abs256, codes, x, n, n_pad, a, scale);
}

static bool norm_a8(const float *x, const float *g, uint32_t n, uint32_t n_pad, float eps, int8_t *a, float *scale)
{
    return acc_norm_a8_by(max_abs256, codes, sum_products256(x, x, n), x, g, n, n_pad, eps, a, scale);
}

/* sigmoid by the table: G[i] and G[i + 1] come as one 64-bit load per lane. */
ACC_INLINE __m256 sigmoid(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), sixteen = _mm256_set1_ps(16.0f);
    __m256 g = _mm256_mul_ps(_mm256_add_ps(x, sixteen), _mm256_set1_ps(32.0f));
    __m256i i = _mm256_cvttps_epi32(g);
    i = _mm256_min_epi32(_mm256_max_epi32(i, _mm256_setzero_si256()), _mm256_set1_epi32(1023));
    const double *table = (const double *)(const void *)acc_sigmoid_table;
    __m256 lo = _mm256_castpd_ps(_mm256_i32gather_pd(table, _mm256_castsi256_si128(i), 4));
    __m256 hi = _mm256_castpd_ps(_mm256_i32gather_pd(table, _mm256_extracti128_si256(i, 1), 4));
    /* lo: pairs of lanes 0-3, hi: of lanes 4-7; the shuffle leaves the order 0 1 4 5 2 3 6 7. */
    __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(lo, hi, 0x88)),
            odd = _mm256_castps_pd(_mm256_shuffle_ps(lo, hi, 0xdd));
    __m256 low = _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xd8)),
           next = _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xd8));
    __m256 f = _mm256_sub_ps(g, _mm256_cvtepi32_ps(i));
    __m256 y = _mm256_add_ps(low, _mm256_mul_ps(_mm256_sub_ps(next, low), f));
    y = _mm256_blendv_ps(y, one, _mm256_cmp_ps(x, sixteen, _CMP_NLT_UQ));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-16.0f), _CMP_LT_OQ), y);
}

static void silu_mul(const float *gate, const float *up, float *y, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 x = _mm256_loadu_ps(gate + i);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(x, sigmoid(x)), _mm256_loadu_ps(up + i)));
    }
    acc_silu_mul(gate + i, up + i, y + i, n - i);
}

static void scale(const int32_t *isum, const float *rscale, float s, const float *bias, float *y, uint32_t n)
{
    const __m256 v = _mm256_set1_ps(s);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 r = _mm256_mul_ps(_mm256_cvtepi32_ps(load256(isum + i)), _mm256_mul_ps(_mm256_loadu_ps(rscale + i), v));
        _mm256_storeu_ps(y + i, bias ? _mm256_add_ps(r, _mm256_loadu_ps(bias + i)) : r);
    }
    for (; i < n; i++) {
        float r = (float)isum[i] * (rscale[i] * s);
        y[i] = bias ? r + bias[i] : r;
    }
}

void acc_kernels_init_avx2_vector(acc_kernels *k)
{
    k->a8 = a8;
    k->norm_a8 = norm_a8;
    k->silu_mul = silu_mul;
    k->scale = scale;
}
