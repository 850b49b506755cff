/* What the float kernels of the NEON sets share. Never a fused multiply-add (docs/numerics.md). */
#ifndef ACC_KERNELS_NEON_COMMON_H
#define ACC_KERNELS_NEON_COMMON_H

#include <arm_neon.h>
#include <string.h>

#include "core/inline.h"
#include "kernels/a8.h"

/* sum(x * y) of docs/numerics.md in its order: 64 partials, then halves. x and y may be the same. */
ACC_INLINE float sum_products_neon(const float *x, const float *y, uint32_t n)
{
    float32x4_t p[16];
    uint32_t i = 0;
    ACC_UNROLL for (int j = 0; j < 16; j++) p[j] = vdupq_n_f32(0);
    for (; i + 64 <= n; i += 64)
        ACC_UNROLL for (int j = 0; j < 16; j++) p[j] =
            vaddq_f32(p[j], vmulq_f32(vld1q_f32(x + i + 4 * j), vld1q_f32(y + i + 4 * j)));
    if (i < n) {
        float part[64];
        ACC_UNROLL for (int j = 0; j < 16; j++) vst1q_f32(part + 4 * j, p[j]);
        for (uint32_t j = 0; i + j < n; j++) part[j] += x[i + j] * y[i + j];
        ACC_UNROLL for (int j = 0; j < 16; j++) p[j] = vld1q_f32(part + 4 * j);
    }
    ACC_UNROLL for (int half = 8; half > 0; half /= 2) ACC_UNROLL for (int j = 0; j < half; j++) p[j] =
        vaddq_f32(p[j], p[j + half]);
    float32x2_t two = vadd_f32(vget_low_f32(p[0]), vget_high_f32(p[0]));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* The bits of |x|. */
ACC_INLINE uint32x4_t magnitude(float32x4_t x)
{
    return vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(0x7fffffff));
}

/* x, or x * g: four from i on. */
ACC_INLINE float32x4_t scaled(const float *x, const float *g, uint32_t i)
{
    float32x4_t v = vld1q_f32(x + i);
    return g ? vmulq_f32(v, vld1q_f32(g + i)) : v;
}

/* The bits of max |x|; with g of max |x * g|. */
ACC_INLINE uint32_t max_abs_neon(const float *x, const float *g, uint32_t n)
{
    uint32x4_t a = vdupq_n_u32(0), b = a;
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        a = vmaxq_u32(a, magnitude(scaled(x, g, i)));
        b = vmaxq_u32(b, magnitude(scaled(x, g, i + 4)));
    }
    return acc_max_abs_rest(x, g, i, n, vmaxvq_u32(vmaxq_u32(a, b)));
}

/* The low bytes of sixteen 32-bit numbers. */
ACC_INLINE int8x16_t low_bytes(const int32x4_t c[4])
{
    int16x8_t a = vuzp1q_s16(vreinterpretq_s16_s32(c[0]), vreinterpretq_s16_s32(c[1]));
    int16x8_t b = vuzp1q_s16(vreinterpretq_s16_s32(c[2]), vreinterpretq_s16_s32(c[3]));
    return vuzp1q_s8(vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b));
}

/* Sixteen rne(x * inv) from i on, with g rne(x * g * inv), as int8; the products lie in -127.5..127.5 (A8's inv). */
ACC_INLINE int8x16_t codes16(const float *x, const float *g, uint32_t i, float inv)
{
    int32x4_t c[4];
    ACC_UNROLL for (uint32_t j = 0; j < 4; j++) c[j] = vcvtnq_s32_f32(vmulq_n_f32(scaled(x, g, i + 4 * j), inv));
    return low_bytes(c);
}

#endif
