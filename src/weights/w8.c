/*
 * W8: dense codes -127..127. A quad of columns is four lines of 64 bytes; byte 4 * (r % 16) + k of line r / 16 holds
 * column k of row r in two's complement. One float scale per row, no m.
 */
#include <string.h>

#include "weights/format.h"

static void pack(uint8_t *dst, int8_t codes[ACC_TILE_ROWS][4])
{
    memcpy(dst, codes, ACC_W8_QUAD_BYTES);
}

static void unpack(const acc_weight *w, const uint8_t *src, int8_t quads[ACC_TILE_ROWS][4])
{
    (void)w;
    memcpy(quads, src, ACC_W8_QUAD_BYTES);
}

static int bad(const uint8_t *src)
{
    for (int i = 0; i < ACC_W8_QUAD_BYTES; i++)
        if (src[i] == 0x80) return i / 4;
    return -1;
}

static uint32_t magnitude(uint32_t level1, uint32_t level2)
{
    (void)level1;
    (void)level2;
    return 4 * 127;
}

const acc_weight_ops acc_w8_ops = {
    .name = "w8",
    .quad_bytes = ACC_W8_QUAD_BYTES,
    .codes = 4,
    .has_m = false,
    .pad = 0,
    .magnitude = magnitude,
    .pack = pack,
    .unpack = unpack,
    .bad = bad,
};
