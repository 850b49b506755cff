/* What one packed format gives to weight.c: sizes, and one quad of columns for 64 rows packed, unpacked and checked. */
#ifndef ACC_WEIGHTS_FORMAT_H
#define ACC_WEIGHTS_FORMAT_H

#include <stdbool.h>

#include "weights/weights.h"

typedef struct acc_weight_ops {
    const char *name;
    uint32_t quad_bytes; /* one quad of columns, 64 rows */
    uint32_t codes;      /* bytes per row and quad on the unpacked side: 1 (W2S) or 4 */
    bool has_m;          /* 64 bytes m close the tile */
    int8_t pad;          /* the code of padding: zero, where the format has one */
    /* The largest sum of magnitudes of a quad; 0: levels that the format lacks. */
    uint32_t (*magnitude)(uint32_t level1, uint32_t level2);
    void (*pack)(uint8_t *dst, int8_t codes[ACC_TILE_ROWS][4]);
    void (*unpack)(const acc_weight *w, const uint8_t *src, int8_t quads[ACC_TILE_ROWS][4]);
    int (*bad)(const uint8_t *src); /* the first row with a code that is not allowed, or -1 */
} acc_weight_ops;

extern const acc_weight_ops acc_w2s_ops, acc_w2_ops, acc_w4_ops, acc_w8_ops;

#endif
