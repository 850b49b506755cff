/* Steps 2 to 4 of docs/numerics.md "Attention of one query and head" over rows of scores, for NEON. */
#ifndef ACC_KERNELS_NEON_SOFTMAX_H
#define ACC_KERNELS_NEON_SOFTMAX_H

#include "kernels/attn_scratch.h"
#include "kernels/neon/common.h"
#include "numerics/numerics.h"

ACC_INLINE float32x4_t f16_to_f32(const uint16_t *h)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

/* m of eight v: T[i] + (((T[i + 1] - T[i]) * f + 512) >> 10), which is what SQRDMULH makes of the step and 32 f. */
ACC_INLINE uint16x8_t mantissa(uint8x16_t low, uint8x16_t step, uint16x8_t v)
{
    const int16x8_t f = vreinterpretq_s16_u16(vandq_u16(vshlq_n_u16(v, 5), vdupq_n_u16(0x7fe0)));
    const int16x8_t add = vqrdmulhq_s16(vreinterpretq_s16_u8(step), f);
    return vaddq_u16(vreinterpretq_u16_u8(low), vreinterpretq_u16_s16(add));
}

/* m of sixteen v, whose low 16 bits are given. */
ACC_INLINE void mantissas(const uint16x8_t v[2], uint16x8_t m[2])
{
    uint8x16x4_t table;
    uint8x16_t part[4];
    const uint8x16_t high = vuzp2q_u8(vreinterpretq_u8_u16(v[0]), vreinterpretq_u8_u16(v[1]));
    const uint8x16_t index = vshrq_n_u8(high, 2);
    ACC_UNROLL for (int k = 0; k < 4; k++)
    {
        ACC_UNROLL for (int i = 0; i < 4; i++) table.val[i] = vld1q_u8(acc_exp2_bytes[k] + 16 * i);
        part[k] = vqtbl4q_u8(table, index);
    }
    m[0] = mantissa(vzip1q_u8(part[0], part[1]), vzip1q_u8(part[2], part[3]), v[0]);
    m[1] = mantissa(vzip2q_u8(part[0], part[1]), vzip2q_u8(part[2], part[3]), v[1]);
}

/* e of four v: the least of 65535 and (2 m + half(-n)) >> -n, a rounding shift; zero where !ok. */
ACC_INLINE uint32x4_t exponential(uint16x4_t m, int32x4_t v, uint32x4_t ok)
{
    const uint32x4_t e = vrshlq_u32(vshll_n_u16(m, 1), vshrq_n_s32(v, 16));
    return vandq_u32(vminq_u32(e, vdupq_n_u32(65535)), ok);
}

/* Steps 2 and 3, w and B of step 4: s [n] becomes w. n: a multiple of 16; s is -inf where a position takes no part. */
static inline void attn_weights(float *s, const uint16_t *vscale, uint32_t n, float max, uint32_t *l, float *top)
{
    const float32x4_t mv = vdupq_n_f32(max), unit = vdupq_n_f32(ACC_LOG2E_65536), limit = vdupq_n_f32(-16.0f * 65536);
    uint32x4_t sum = vdupq_n_u32(0);
    float32x4_t best = vdupq_n_f32(0);
    for (uint32_t i = 0; i < n; i += 16) {
        int32x4_t v[4];
        uint32x4_t ok[4];
        ACC_UNROLL for (int j = 0; j < 4; j++)
        {
            const float32x4_t d = vmulq_f32(vsubq_f32(vld1q_f32(s + i + 4 * j), mv), unit);
            ok[j] = vcgeq_f32(d, limit); /* not a NaN */
            v[j] = vcvtnq_s32_f32(d);
        }
        uint16x8_t v16[2], m[2];
        ACC_UNROLL for (int j = 0; j < 2; j++) v16[j] =
            vuzp1q_u16(vreinterpretq_u16_s32(v[2 * j]), vreinterpretq_u16_s32(v[2 * j + 1]));
        mantissas(v16, m);
        ACC_UNROLL for (int j = 0; j < 4; j++)
        {
            const uint16x4_t four = j % 2 ? vget_high_u16(m[j / 2]) : vget_low_u16(m[j / 2]);
            const uint32x4_t e = exponential(four, v[j], ok[j]);
            sum = vaddq_u32(sum, e);
            float32x4_t w = vmulq_f32(vcvtq_f32_u32(e), f16_to_f32(vscale + i + 4 * j));
            w = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(w), ok[j]));
            best = vmaxq_f32(best, w);
            vst1q_f32(s + i + 4 * j, w);
        }
    }
    *l = vaddvq_u32(sum);
    *top = vmaxvq_f32(best);
}

/* Step 4 for one strip: the sixteen (r + half(x)) >> x, at most 255; r <= 32640 fits 16 bits. */
ACC_INLINE uint8x16_t attn_strip(const float *w, float inv, uint32_t *x)
{
    int32x4_t r32[4];
    uint16x8_t r[2];
    ACC_UNROLL for (int j = 0; j < 4; j++) r32[j] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(w + 4 * j), inv));
    ACC_UNROLL for (int j = 0; j < 2; j++) r[j] =
        vuzp1q_u16(vreinterpretq_u16_s32(r32[2 * j]), vreinterpretq_u16_s32(r32[2 * j + 1]));
    const uint32_t max = vmaxvq_u16(vmaxq_u16(r[0], r[1]));
    uint32_t shift = 24 - (uint32_t)__builtin_clz(max | 255); /* the first with max >> shift <= 255 */
    if ((max + ((1u << shift) >> 1)) >> shift > 255) shift++;
    *x = shift;
    const int16x8_t right = vdupq_n_s16((int16_t) - (int32_t)shift); /* a rounding shift adds half(x) */
    return vuzp1q_u8(vreinterpretq_u8_u16(vrshlq_u16(r[0], right)), vreinterpretq_u8_u16(vrshlq_u16(r[1], right)));
}

#endif
