/* The query's codes for one page, and what a key's codes are made of, for NEON. */
#include "kernels/a8.h"
#include "kernels/kv_layout.h"
#include "kernels/neon/common.h"
#include "kernels/neon/neon.h"
#include "numerics/numerics.h"

static void rotate(float *x, const float *q, const float *cos, const float *sin, uint32_t head_dim)
{
    uint32_t half = head_dim / 2, j = 0;
    for (; j + 4 <= half; j += 4) {
        float32x4_t x0 = vld1q_f32(q + j), x1 = vld1q_f32(q + j + half);
        float32x4_t c = vld1q_f32(cos + j), s = vld1q_f32(sin + j);
        vst1q_f32(x + j, vsubq_f32(vmulq_f32(x0, c), vmulq_f32(x1, s)));
        vst1q_f32(x + j + half, vaddq_f32(vmulq_f32(x1, c), vmulq_f32(x0, s)));
    }
    for (; j < half; j++) {
        float x0 = q[j], x1 = q[j + half];
        x[j] = x0 * cos[j] - x1 * sin[j];
        x[j + half] = x1 * cos[j] + x0 * sin[j];
    }
}

/* Strides 1 and 2: the butterflies of two registers, after their sides were sorted out of both. */
ACC_INLINE void hadamard4(float32x4_t *x, float32x4_t *y)
{
    float32x4_t a = vtrn1q_f32(*x, *y), b = vtrn2q_f32(*x, *y);
    float32x4_t sum = vaddq_f32(a, b), difference = vsubq_f32(a, b);
    a = vtrn1q_f32(sum, difference); /* x's lanes after stride 1, then y's */
    b = vtrn2q_f32(sum, difference);
    float64x2_t p = vreinterpretq_f64_f32(a), q = vreinterpretq_f64_f32(b);
    float32x4_t low = vreinterpretq_f32_f64(vtrn1q_f64(p, q)), high = vreinterpretq_f32_f64(vtrn2q_f64(p, q));
    sum = vaddq_f32(low, high);
    difference = vsubq_f32(low, high);
    p = vreinterpretq_f64_f32(sum);
    q = vreinterpretq_f64_f32(difference);
    *x = vreinterpretq_f32_f64(vtrn1q_f64(p, q));
    *y = vreinterpretq_f32_f64(vtrn2q_f64(p, q));
}

/* n: a multiple of 32. Zeros beyond head_dim make blocks of their own, which stay zero. */
static void hadamard(float *x, uint32_t n, uint32_t block)
{
    if (block < 4) {
        acc_hadamard(x, n, block);
        return;
    }
    for (uint32_t i = 0; i < n; i += 8) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + 4);
        hadamard4(&a, &b);
        vst1q_f32(x + i, a);
        vst1q_f32(x + i + 4, b);
    }
    for (uint32_t stride = 4; stride < block; stride *= 2)
        for (uint32_t base = 0; base < n; base += 2 * stride)
            for (uint32_t i = base; i < base + stride; i += 4) {
                float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + stride);
                vst1q_f32(x + i, vaddq_f32(a, b));
                vst1q_f32(x + i + stride, vsubq_f32(a, b));
            }
}

ACC_INLINE int32_t codes_sum(const float *x, uint32_t n, float inv, int8_t *a)
{
    int32x4_t total = vdupq_n_s32(0);
    for (uint32_t i = 0; i < n; i += 16) {
        int8x16_t c = codes16(x, NULL, i, inv);
        total = vpadalq_s16(total, vpaddlq_s8(c));
        vst1q_s8(a + i, c);
    }
    return vaddvq_s32(total);
}

bool acc_neon_attn_query(const float *q, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                         uint32_t block, float att, int8_t *q8, acc_attn_query *out)
{
    float x[ACC_MAX_HEAD_DIM];
    const uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = dims - 32; d < dims; d++) x[d] = 0;
    rotate(x, q, cos, sin, head_dim);
    out->beta = mu ? sum_products_neon(x, mu, head_dim) * att : 0;
    hadamard(x, dims, block);
    return acc_query_by(max_abs_neon, codes_sum, x, dims, block, att, q8, out);
}

void acc_neon_kv_turn(const float *key, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                      uint32_t block, float *x)
{
    const uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = dims - 32; d < dims; d++) x[d] = 0;
    rotate(x, key, cos, sin, head_dim);
    for (uint32_t d = 0; mu && d < head_dim; d++) x[d] -= mu[d];
    hadamard(x, dims, block);
}
