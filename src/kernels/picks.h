/*
 * A W2S code as the sum of two picks (design section 2): a pick is a nibble, position << 2 | index of its value in
 * (-L2, -L1, +L1, +L2). Zero is -L1 + L1 at one place, and so are the reserved codes.
 */
#ifndef ACC_KERNELS_PICKS_H
#define ACC_KERNELS_PICKS_H

#include "weights/weights.h"

/* First pick in the low nibble, second in the high one. */
static inline uint8_t acc_w2s_picks(unsigned code)
{
    static const uint8_t pattern[6] = {0x10, 0x20, 0x30, 0x21, 0x31, 0x32}; /* second position, first position */
    /* -(L1 + L2), -2 L1, -(L2 - L1), L2 - L1, 2 L1, L1 + L2 as value indices, first in the low bits */
    static const uint8_t single[6] = {1 | 0 << 2, 1 | 1 << 2, 2 | 0 << 2, 1 | 3 << 2, 2 | 2 << 2, 2 | 3 << 2};
    unsigned p0 = 0, p1 = 0, v0 = 1, v1 = 2;
    if (code < ACC_W2S_ZERO) {
        p0 = pattern[code >> 4] & 15;
        p1 = pattern[code >> 4] >> 4;
        v0 = code >> 2 & 3;
        v1 = code & 3;
    } else if (code > ACC_W2S_ZERO && code < ACC_W2S_CODES) {
        const unsigned c = code - ACC_W2S_ZERO - 1;
        p0 = p1 = c / 6;
        v0 = single[c % 6] & 3;
        v1 = single[c % 6] >> 2;
    }
    return (uint8_t)(p0 << 2 | v0 | (p1 << 2 | v1) << 4);
}

#endif
