#include "accel/stream.h"

#include <string.h>

_Static_assert((int)ACC_FORMAT_W2S == ACC_FMT_W2S && (int)ACC_FORMAT_W2 == ACC_FMT_W2 &&
                   (int)ACC_FORMAT_W4 == ACC_FMT_W4 && (int)ACC_FORMAT_W8 == ACC_FMT_W8,
               "instructions and files number the formats alike");

bool acc_stream_alike(const acc_stream_part *a, const acc_stream_part *b)
{
    return a->w->format == b->w->format && a->w->group == b->w->group && a->w->cols == b->w->cols &&
           a->w->level1 == b->w->level1 && a->w->level2 == b->w->level2 && !a->bias == !b->bias;
}

acc_isa_levels acc_stream_levels(const acc_weight *w)
{
    return w->level2 == 5 ? ACC_LEVELS_2_5 : w->level2 == 3 ? ACC_LEVELS_1_3 : ACC_LEVELS_1_2;
}

uint32_t acc_stream_group(const acc_weight *w)
{
    return w->group == 128 ? 2 : w->group == 64 ? 1 : 0;
}

/* Eight quad columns of 56 bytes in seven lines of 64. */
static void octet(const uint8_t *columns, uint8_t *lines)
{
    for (int i = 0; i < 7; i++) {
        memcpy(lines + 64 * i, columns + ACC_W2S_QUAD_BYTES * i, ACC_W2S_QUAD_BYTES);
        memcpy(lines + 64 * i + 56, columns + ACC_W2S_QUAD_BYTES * 7 + 8 * i, 8);
    }
}

void acc_stream_block(const acc_stream_part *part, uint32_t rb, uint8_t *lines)
{
    const acc_weight *w = part->w;
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t row = rb * ACC_TILE_ROWS, rows = w->rows - row < ACC_TILE_ROWS ? w->rows - row : ACC_TILE_ROWS;
    for (uint32_t cg = 0; cg < w->col_groups; cg++, lines += bytes) {
        const uint8_t *tile = acc_weight_tile(w, bytes, cg, rb);
        memcpy(lines, tile, bytes); /* dense tiles as they are; the m of W2S stands at its place too */
        for (uint32_t q = 0; w->format == ACC_FMT_W2S && q < w->group / 4; q += 8)
            octet(tile + (size_t)q * ACC_W2S_QUAD_BYTES, lines + (size_t)q * ACC_W2S_QUAD_BYTES);
    }
    memcpy(lines, w->rscale + row, rows * sizeof(float));
    if (part->bias) memcpy(lines + ACC_TILE_ROWS * sizeof(float), part->bias + row, rows * sizeof(float));
}
