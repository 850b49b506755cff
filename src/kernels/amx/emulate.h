/*
 * Included by tiles.h. Tile registers for a build that checks the kernels' logic on a machine without AMX: as Intel's
 * manual defines LDTILECFG, TILELOADD, TILESTORED and TDPBSSD. Not for speed.
 */
#ifndef ACC_KERNELS_AMX_EMULATE_H
#define ACC_KERNELS_AMX_EMULATE_H

#include <stdint.h>
#include <string.h>

typedef struct acc_tiles {
    acc_tile_config config;
    uint8_t tile[8][16][64];
} acc_tiles;

static _Thread_local acc_tiles acc_emu_tiles; /* registers are a thread's own */

static inline void acc_emu_tile_zero(int t)
{
    memset(acc_emu_tiles.tile[t], 0, sizeof acc_emu_tiles.tile[t]);
}

static inline void acc_emu_tile_load(int t, const void *from, size_t stride)
{
    acc_emu_tile_zero(t);
    for (size_t r = 0; r < acc_emu_tiles.config.rows[t]; r++)
        memcpy(acc_emu_tiles.tile[t][r], (const uint8_t *)from + r * stride, acc_emu_tiles.config.row_bytes[t]);
}

static inline void acc_emu_tile_store(int t, void *to, size_t stride)
{
    for (size_t r = 0; r < acc_emu_tiles.config.rows[t]; r++)
        memcpy((uint8_t *)to + r * stride, acc_emu_tiles.tile[t][r], acc_emu_tiles.config.row_bytes[t]);
}

/* sums [row][n] += tokens [row][4 k + i] * weights [k][4 n + i], signed bytes. */
static inline void acc_emu_tile_multiply(int sums, int tokens, int weights)
{
    const acc_tile_config *c = &acc_emu_tiles.config;
    for (uint32_t r = 0; r < c->rows[sums]; r++)
        for (uint32_t n = 0; n < c->row_bytes[sums] / 4u; n++) {
            int32_t s;
            memcpy(&s, &acc_emu_tiles.tile[sums][r][4 * n], sizeof s);
            for (uint32_t k = 0; k < c->row_bytes[tokens]; k++)
                s += (int8_t)acc_emu_tiles.tile[tokens][r][k] *
                     (int8_t)acc_emu_tiles.tile[weights][k / 4][4 * n + k % 4];
            memcpy(&acc_emu_tiles.tile[sums][r][4 * n], &s, sizeof s);
        }
}

#define TILE_ZERO(sums) acc_emu_tile_zero(sums)
#define TILE_LOAD(tile, from, stride) acc_emu_tile_load(tile, from, stride)
#define TILE_STORE(sums, to, stride) acc_emu_tile_store(sums, to, stride)
#define TILE_MULTIPLY(sums, tokens, weights) acc_emu_tile_multiply(sums, tokens, weights)
#define TILE_CONFIGURE(config) memcpy(&acc_emu_tiles.config, &(config), sizeof acc_emu_tiles.config)
#define TILE_RELEASE() memset(&acc_emu_tiles, 0, sizeof acc_emu_tiles)

#endif
