/*
 * W4: dense codes -8..7 as nibbles code + 8. A quad of columns is two lines of 64 bytes; byte 4 * (r % 16) + k of line
 * r / 16 (r < 32) holds column k of row r (low nibble) and of row r + 32 (high nibble).
 */
#include "weights/format.h"

static void pack(uint8_t *dst, int8_t codes[ACC_TILE_ROWS][4])
{
    for (int r = 0; r < 32; r++)
        for (int k = 0; k < 4; k++)
            dst[4 * r + k] = (uint8_t)(((codes[r][k] + 8) & 15) | ((codes[r + 32][k] + 8) & 15) << 4);
}

static void unpack(const acc_weight *w, const uint8_t *src, int8_t quads[ACC_TILE_ROWS][4])
{
    (void)w;
    for (int r = 0; r < 32; r++) {
        for (int k = 0; k < 4; k++) {
            quads[r][k] = (int8_t)((src[4 * r + k] & 15) - 8);
            quads[r + 32][k] = (int8_t)((src[4 * r + k] >> 4) - 8);
        }
    }
}

static int bad(const uint8_t *src)
{
    (void)src; /* every nibble is a code */
    return -1;
}

static uint32_t magnitude(uint32_t level1, uint32_t level2)
{
    (void)level1;
    (void)level2;
    return 4 * 8;
}

const acc_weight_ops acc_w4_ops = {
    .name = "w4",
    .quad_bytes = ACC_W4_QUAD_BYTES,
    .codes = 4,
    .has_m = true,
    .pad = 0,
    .magnitude = magnitude,
    .pack = pack,
    .unpack = unpack,
    .bad = bad,
};
