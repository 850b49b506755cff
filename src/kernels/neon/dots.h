/*
 * Sums of products of bytes: lane i of a total is the sum over what was added of a[4 i + k] * b[4 i + k], k = 0..3. Two
 * products of vectors are added at a time. Without SDOT they are summed in 16 bits by column where the caller says that
 * they fit (!wide), else two by two (wide: signed bytes, b not -128) and in 32 bits.
 */
#ifndef ACC_KERNELS_NEON_DOTS_H
#define ACC_KERNELS_NEON_DOTS_H

#include <arm_neon.h>

#include "core/inline.h"

/* Four bytes, at an address that is a multiple of 4, to every lane. */
ACC_INLINE int8x16_t broadcast4(const int8_t *p)
{
    return vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)p));
}

#if defined(ACC_NEON_DOTPROD)

typedef int32x4_t acc_dots;
typedef uint32x4_t acc_udots;

ACC_INLINE acc_dots dots_zero(void)
{
    return vdupq_n_s32(0);
}

ACC_INLINE acc_udots udots_zero(void)
{
    return vdupq_n_u32(0);
}

ACC_INLINE acc_dots dots_add(acc_dots s, int8x16_t a0, int8x16_t b0, int8x16_t a1, int8x16_t b1, const int wide)
{
    (void)wide;
    return vdotq_s32(vdotq_s32(s, a0, b0), a1, b1);
}

/* b0 and b1: bytes 4 * lane on, and the four after them, of b; lane a constant. Macros, since lanes are immediates. */
#define DOTS_ADD_LANES(s, a0, a1, b, lane, wide) vdotq_laneq_s32(vdotq_laneq_s32(s, a0, b, lane), a1, b, (lane) + 1)
#define UDOTS_ADD_LANES(s, a0, a1, b, lane, wide) vdotq_laneq_u32(vdotq_laneq_u32(s, a0, b, lane), a1, b, (lane) + 1)

ACC_INLINE int32x4_t dots_total(acc_dots s, const int wide)
{
    (void)wide;
    return s;
}

ACC_INLINE uint32x4_t udots_total(acc_udots s, const int wide)
{
    (void)wide;
    return s;
}

#else

/* 16-bit sums of two rows each, by column; wide: their neighbours in 32 bits. */
typedef struct acc_dots {
    int32x4_t lo, hi;
} acc_dots;

typedef struct acc_udots {
    uint32x4_t lo, hi;
} acc_udots;

ACC_INLINE acc_dots dots_zero(void)
{
    return (acc_dots){vdupq_n_s32(0), vdupq_n_s32(0)};
}

ACC_INLINE acc_udots udots_zero(void)
{
    return (acc_udots){vdupq_n_u32(0), vdupq_n_u32(0)};
}

ACC_INLINE acc_dots dots_add(acc_dots s, int8x16_t a0, int8x16_t b0, int8x16_t a1, int8x16_t b1, const int wide)
{
    int16x8_t lo, hi;
    if (wide) {
        lo = vmull_s8(vget_low_s8(a0), vget_low_s8(b0));
        hi = vmull_high_s8(a0, b0);
    } else {
        lo = vmlal_s8(vreinterpretq_s16_s32(s.lo), vget_low_s8(a0), vget_low_s8(b0));
        hi = vmlal_high_s8(vreinterpretq_s16_s32(s.hi), a0, b0);
    }
    lo = vmlal_s8(lo, vget_low_s8(a1), vget_low_s8(b1));
    hi = vmlal_high_s8(hi, a1, b1);
    if (wide) return (acc_dots){vpadalq_s16(s.lo, lo), vpadalq_s16(s.hi, hi)};
    return (acc_dots){vreinterpretq_s32_s16(lo), vreinterpretq_s32_s16(hi)};
}

ACC_INLINE acc_udots udots_add1(acc_udots s, uint8x16_t a, uint8x16_t b, const int wide)
{
    if (wide)
        return (acc_udots){vpadalq_u16(s.lo, vmull_u8(vget_low_u8(a), vget_low_u8(b))),
                           vpadalq_u16(s.hi, vmull_high_u8(a, b))};
    return (acc_udots){vreinterpretq_u32_u16(vmlal_u8(vreinterpretq_u16_u32(s.lo), vget_low_u8(a), vget_low_u8(b))),
                       vreinterpretq_u32_u16(vmlal_high_u8(vreinterpretq_u16_u32(s.hi), a, b))};
}

#define DOTS_LANE_S8(b, lane) vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(b), lane))
#define DOTS_LANE_U8(b, lane) vreinterpretq_u8_u32(vdupq_laneq_u32(vreinterpretq_u32_u8(b), lane))
#define DOTS_ADD_LANES(s, a0, a1, b, lane, wide) \
    dots_add(s, a0, DOTS_LANE_S8(b, lane), a1, DOTS_LANE_S8(b, (lane) + 1), wide)
#define UDOTS_ADD_LANES(s, a0, a1, b, lane, wide) \
    udots_add1(udots_add1(s, a0, DOTS_LANE_U8(b, lane), wide), a1, DOTS_LANE_U8(b, (lane) + 1), wide)

ACC_INLINE int32x4_t dots_total(acc_dots s, const int wide)
{
    if (wide) return vpaddq_s32(s.lo, s.hi);
    return vpaddq_s32(vpaddlq_s16(vreinterpretq_s16_s32(s.lo)), vpaddlq_s16(vreinterpretq_s16_s32(s.hi)));
}

ACC_INLINE uint32x4_t udots_total(acc_udots s, const int wide)
{
    if (wide) return vpaddq_u32(s.lo, s.hi);
    return vpaddq_u32(vpaddlq_u16(vreinterpretq_u16_u32(s.lo)), vpaddlq_u16(vreinterpretq_u16_u32(s.hi)));
}

#endif

#endif
