/*
 * What the linear kernels of the NEON sets share.
 *
 * W2S is repacked into nibble pairs, because NEON looks up 16 bytes at a time: a quad is the sum of two picks
 * (kernels/picks.h), one byte. Tiles as in the file, but in order of row block, then column group: for each quad of
 * columns 64 bytes, row r's at byte r, then 64 bytes m. Dense formats are read in the file's layout.
 */
#ifndef ACC_KERNELS_NEON_LINEAR_H
#define ACC_KERNELS_NEON_LINEAR_H

#include <arm_neon.h>
#include <string.h>

#include "core/inline.h"
#include "kernels/neon/neon.h"

#define ACC_PICKS_QUAD_BYTES ACC_TILE_ROWS

static inline size_t acc_picks_tile_bytes(const acc_weight *w)
{
    return (size_t)w->group / 4 * ACC_PICKS_QUAD_BYTES + ACC_TILE_ROWS;
}

static inline const uint8_t *acc_picks_tile(const acc_weight *w, uint32_t cg, uint32_t rb)
{
    return w->repacked + ((size_t)rb * w->col_groups + cg) * acc_picks_tile_bytes(w);
}

/* The values that a pick's low two bits name, at each of the four positions. */
static inline int8x16_t acc_pick_values(const acc_weight *w)
{
    const int8_t l1 = (int8_t)w->level1, l2 = (int8_t)w->level2;
    int8_t v[16];
    for (int i = 0; i < 16; i += 4) {
        v[i] = (int8_t)-l2;
        v[i + 1] = (int8_t)-l1;
        v[i + 2] = l1;
        v[i + 3] = l2;
    }
    return vld1q_s8(v);
}

/* y [16] += m * s, s the sums of sixteen rows. */
ACC_INLINE void acc_add_scaled(int32_t *y, const uint8_t *m, const int32x4_t s[4])
{
    const uint8x16_t m8 = vld1q_u8(m);
    const uint16x8_t lo = vmovl_u8(vget_low_u8(m8)), hi = vmovl_high_u8(m8);
    const uint32x4_t m32[4] = {vmovl_u16(vget_low_u16(lo)), vmovl_high_u16(lo), vmovl_u16(vget_low_u16(hi)),
                               vmovl_high_u16(hi)};
    ACC_UNROLL for (int i = 0; i < 4; i++)
        vst1q_s32(y + 4 * i, vmlaq_s32(vld1q_s32(y + 4 * i), s[i], vreinterpretq_s32_u32(m32[i])));
}

#endif
