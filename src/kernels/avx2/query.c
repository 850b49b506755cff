/* Queries and keys turned to their page, and the attention entries of the AVX2 set. */
#include "kernels/a8.h"
#include "kernels/avx2/attn.h"
#include "kernels/kv_layout.h"
#include "numerics/numerics.h"

static void rotate(float *x, const float *q, const float *cos, const float *sin, uint32_t head_dim)
{
    uint32_t half = head_dim / 2, j = 0;
    for (; j + 8 <= half; j += 8) {
        __m256 x0 = _mm256_loadu_ps(q + j), x1 = _mm256_loadu_ps(q + j + half);
        __m256 c = _mm256_loadu_ps(cos + j), s = _mm256_loadu_ps(sin + j);
        _mm256_storeu_ps(x + j, _mm256_sub_ps(_mm256_mul_ps(x0, c), _mm256_mul_ps(x1, s)));
        _mm256_storeu_ps(x + j + half, _mm256_add_ps(_mm256_mul_ps(x1, c), _mm256_mul_ps(x0, s)));
    }
    for (; j < half; j++) {
        float x0 = q[j], x1 = q[j + half];
        x[j] = x0 * cos[j] - x1 * sin[j];
        x[j + half] = x1 * cos[j] + x0 * sin[j];
    }
}

/* Strides 1, 2, 4 inside a register: the partner's value plus or minus one's own. */
ACC_INLINE __m256 hadamard8(__m256 x)
{
    const __m256 n = _mm256_set1_ps(-0.0f), z = _mm256_setzero_ps();
    x = _mm256_add_ps(_mm256_permute_ps(x, 0xb1), _mm256_xor_ps(x, _mm256_blend_ps(z, n, 0xaa)));
    x = _mm256_add_ps(_mm256_permute_ps(x, 0x4e), _mm256_xor_ps(x, _mm256_blend_ps(z, n, 0xcc)));
    return _mm256_add_ps(_mm256_permute2f128_ps(x, x, 1), _mm256_xor_ps(x, _mm256_blend_ps(z, n, 0xf0)));
}

static void hadamard(float *x, uint32_t n, uint32_t block)
{
    if (block < 8) {
        acc_hadamard(x, n, block);
        return;
    }
    for (uint32_t i = 0; i < n; i += 8) _mm256_storeu_ps(x + i, hadamard8(_mm256_loadu_ps(x + i)));
    for (uint32_t stride = 8; stride < block; stride *= 2)
        for (uint32_t base = 0; base < n; base += 2 * stride)
            for (uint32_t i = base; i < base + stride; i += 8) {
                __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + stride);
                _mm256_storeu_ps(x + i, _mm256_add_ps(a, b));
                _mm256_storeu_ps(x + i + stride, _mm256_sub_ps(a, b));
            }
}

ACC_INLINE int32_t codes_sum(const float *x, uint32_t n, float inv, int8_t *a)
{
    const __m256 v = _mm256_set1_ps(inv);
    __m256i total = _mm256_setzero_si256();
    for (uint32_t i = 0; i < n; i += 32) {
        __m256i c = codes32(_mm256_loadu_ps(x + i), _mm256_loadu_ps(x + i + 8), _mm256_loadu_ps(x + i + 16),
                            _mm256_loadu_ps(x + i + 24), v);
        store256(a + i, c);
        __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), c);
        total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum_lanes256(total);
}

static bool attn_query(const float *q, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                       uint32_t block, float att, int8_t *q8, acc_attn_query *out)
{
    _Alignas(32) float x[ACC_MAX_HEAD_DIM];
    uint32_t dims = acc_kv_dims(head_dim);
    rotate(x, q, cos, sin, head_dim);
    for (uint32_t d = head_dim; d < dims; d++) x[d] = 0;
    out->beta = mu ? sum_products256(x, mu, head_dim) * att : 0;
    hadamard(x, head_dim, block);
    return acc_query_by(max_abs256, codes_sum, x, dims, block, att, q8, out);
}

static void kv_turn(const float *key, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                    uint32_t block, float *x)
{
    rotate(x, key, cos, sin, head_dim);
    for (uint32_t d = 0; mu && d < head_dim; d++) x[d] -= mu[d];
    hadamard(x, head_dim, block);
}

void acc_kernels_init_avx2_attn(acc_kernels *k)
{
    k->attn4 = acc_avx2_attn4;
    k->attn8 = acc_avx2_attn8;
    k->attn_query = attn_query;
    k->kv_turn = kv_turn;
}
