/*
 * W2: dense levels -3, -1, 1, 3 as two bits (level + 3) / 2; there is no zero. A quad of columns is one line of 64
 * bytes; byte 4 * (r % 16) + k holds column k of rows r, r + 16, r + 32 and r + 48 (r < 16), from the low bits up.
 * Padding is level -3 (bits 00): rows beyond the matrix have m 0, columns beyond it meet activations of 0.
 */
#include "weights/format.h"

static void pack(uint8_t *dst, int8_t codes[ACC_TILE_ROWS][4])
{
    for (int r = 0; r < 16; r++)
        for (int k = 0; k < 4; k++) {
            unsigned byte = 0;
            for (int f = 0; f < 4; f++) byte |= ((unsigned)(codes[r + 16 * f][k] + 3) / 2 & 3) << (2 * f);
            dst[4 * r + k] = (uint8_t)byte;
        }
}

static void unpack(const acc_weight *w, const uint8_t *src, int8_t quads[ACC_TILE_ROWS][4])
{
    (void)w;
    for (int r = 0; r < 16; r++)
        for (int k = 0; k < 4; k++)
            for (int f = 0; f < 4; f++) quads[r + 16 * f][k] = (int8_t)(2 * (src[4 * r + k] >> (2 * f) & 3) - 3);
}

static int bad(const uint8_t *src)
{
    (void)src; /* every pair of bits is a level */
    return -1;
}

static uint32_t magnitude(uint32_t level1, uint32_t level2)
{
    (void)level1;
    (void)level2;
    return 4 * 3;
}

const acc_weight_ops acc_w2_ops = {
    .name = "w2",
    .quad_bytes = ACC_W2_QUAD_BYTES,
    .codes = 4,
    .has_m = true,
    .pad = ACC_W2_PAD,
    .magnitude = magnitude,
    .pack = pack,
    .unpack = unpack,
    .bad = bad,
};
