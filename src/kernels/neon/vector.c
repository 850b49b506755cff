/* A8, RMSNorm with A8, SiLU and the linear layer's scaling for NEON. */
#include "kernels/a8.h"
#include "kernels/neon/common.h"
#include "kernels/neon/neon.h"
#include "numerics/numerics.h"

ACC_INLINE void codes(const float *x, const float *g, uint32_t n, uint32_t n_pad, float inv, int8_t *a)
{
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) vst1q_s8(a + i, codes16(x, g, i, inv));
    for (; i < n; i++) a[i] = (int8_t)acc_rne((g ? x[i] * g[i] : x[i]) * inv);
    memset(a + i, 0, n_pad - i);
}

bool acc_neon_a8(const float *x, uint32_t n, uint32_t n_pad, int8_t *a, float *scale)
{
    return acc_a8_by(max_abs_neon, codes, x, n, n_pad, a, scale);
}

bool acc_neon_norm_a8(const float *x, const float *g, uint32_t n, uint32_t n_pad, float eps, int8_t *a, float *scale)
{
    return acc_norm_a8_by(max_abs_neon, codes, sum_products_neon(x, x, n), x, g, n, n_pad, eps, a, scale);
}

/* sigmoid by the table: G[i] and G[i + 1] come as one 64-bit load per lane. */
ACC_INLINE float32x4_t sigmoid(float32x4_t x)
{
    const float32x4_t sixteen = vdupq_n_f32(16.0f);
    float32x4_t g = vmulq_n_f32(vaddq_f32(x, sixteen), 32.0f);
    int32x4_t i = vminq_s32(vmaxq_s32(vcvtq_s32_f32(g), vdupq_n_s32(0)), vdupq_n_s32(1023));
    float32x4_t a = vcombine_f32(vld1_f32(acc_sigmoid_table + vgetq_lane_s32(i, 0)),
                                 vld1_f32(acc_sigmoid_table + vgetq_lane_s32(i, 1)));
    float32x4_t b = vcombine_f32(vld1_f32(acc_sigmoid_table + vgetq_lane_s32(i, 2)),
                                 vld1_f32(acc_sigmoid_table + vgetq_lane_s32(i, 3)));
    float32x4_t low = vuzp1q_f32(a, b), next = vuzp2q_f32(a, b);
    float32x4_t y = vaddq_f32(low, vmulq_f32(vsubq_f32(next, low), vsubq_f32(g, vcvtq_f32_s32(i))));
    y = vbslq_f32(vcltq_f32(x, sixteen), y, vdupq_n_f32(1.0f)); /* a NaN gives 1, and x * 1 keeps it */
    return vbslq_f32(vcltq_f32(x, vdupq_n_f32(-16.0f)), vdupq_n_f32(0), y);
}

void acc_neon_silu_mul(const float *gate, const float *up, float *y, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t x = vld1q_f32(gate + i);
        vst1q_f32(y + i, vmulq_f32(vmulq_f32(x, sigmoid(x)), vld1q_f32(up + i)));
    }
    acc_silu_mul(gate + i, up + i, y + i, n - i);
}

void acc_neon_scale(const int32_t *isum, const float *rscale, float s, const float *bias, float *y, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t r = vmulq_f32(vcvtq_f32_s32(vld1q_s32(isum + i)), vmulq_n_f32(vld1q_f32(rscale + i), s));
        vst1q_f32(y + i, bias ? vaddq_f32(r, vld1q_f32(bias + i)) : r);
    }
    for (; i < n; i++) {
        float r = (float)isum[i] * (rscale[i] * s);
        y[i] = bias ? r + bias[i] : r;
    }
}
