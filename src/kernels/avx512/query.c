/* The query's codes for one page, and what a key's codes are made of, for AVX-512. */
#include "kernels/a8.h"
#include "kernels/avx512/attn.h"
#include "kernels/kv_layout.h"

static void rotate(float *x, const float *q, const float *cos, const float *sin, uint32_t head_dim)
{
    uint32_t half = head_dim / 2;
    for (uint32_t j = 0; j < half; j += 16) {
        const __mmask16 m = first_lanes(half - j);
        __m512 x0 = _mm512_maskz_loadu_ps(m, q + j), x1 = _mm512_maskz_loadu_ps(m, q + j + half);
        __m512 c = _mm512_maskz_loadu_ps(m, cos + j), s = _mm512_maskz_loadu_ps(m, sin + j);
        _mm512_mask_storeu_ps(x + j, m, _mm512_sub_ps(_mm512_mul_ps(x0, c), _mm512_mul_ps(x1, s)));
        _mm512_mask_storeu_ps(x + j + half, m, _mm512_add_ps(_mm512_mul_ps(x1, c), _mm512_mul_ps(x0, s)));
    }
}

/* partner + x, or partner - x in the lanes of m: one butterfly inside a register. */
ACC_INLINE __m512 butterfly(__m512 x, __m512 partner, __mmask16 m)
{
    return _mm512_mask_sub_ps(_mm512_add_ps(partner, x), m, partner, x);
}

/* Zeros beyond head_dim make blocks of their own, which stay zero. */
static void hadamard(float *x, uint32_t n, uint32_t block)
{
    if (block == 1) return;
    for (uint32_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        v = butterfly(v, _mm512_permute_ps(v, 0xb1), 0xaaaa);
        if (block > 2) v = butterfly(v, _mm512_permute_ps(v, 0x4e), 0xcccc);
        if (block > 4) v = butterfly(v, _mm512_shuffle_f32x4(v, v, 0xb1), 0xf0f0);
        if (block > 8) v = butterfly(v, _mm512_shuffle_f32x4(v, v, 0x4e), 0xff00);
        _mm512_storeu_ps(x + i, v);
    }
    for (uint32_t stride = 16; stride < block; stride *= 2)
        for (uint32_t base = 0; base < n; base += 2 * stride)
            for (uint32_t i = base; i < base + stride; i += 16) {
                __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + stride);
                _mm512_storeu_ps(x + i, _mm512_add_ps(a, b));
                _mm512_storeu_ps(x + i + stride, _mm512_sub_ps(a, b));
            }
}

ACC_INLINE int32_t codes_sum(const float *x, uint32_t n, float inv, int8_t *a)
{
    const __m512 v = _mm512_set1_ps(inv);
    __m512i total = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i += 16) {
        __m512i c = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), v));
        total = _mm512_add_epi32(total, c);
        _mm_storeu_si128((__m128i *)(a + i), _mm512_cvtepi32_epi8(c));
    }
    return _mm512_reduce_add_epi32(total);
}

bool acc_attn_query_avx512(const float *q, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                           uint32_t block, float att, int8_t *q8, acc_attn_query *out)
{
    _Alignas(64) float x[ACC_MAX_HEAD_DIM];
    uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = dims - 32; d < dims; d++) x[d] = 0;
    rotate(x, q, cos, sin, head_dim);
    out->beta = mu ? sum_products512(x, mu, head_dim) * att : 0;
    hadamard(x, dims, block);
    return acc_query_by(max_abs512, codes_sum, x, dims, block, att, q8, out);
}

void acc_kv_turn_avx512(const float *key, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                        uint32_t block, float *x)
{
    const uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = dims - 32; d < dims; d++) x[d] = 0;
    rotate(x, key, cos, sin, head_dim);
    for (uint32_t d = 0; mu && d < head_dim; d += 16) {
        const __mmask16 m = first_lanes(head_dim - d);
        _mm512_mask_storeu_ps(x + d, m, _mm512_sub_ps(_mm512_loadu_ps(x + d), _mm512_maskz_loadu_ps(m, mu + d)));
    }
    hadamard(x, dims, block);
}
