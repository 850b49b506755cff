/*
 * Where keys and values lie in the accelerator's memory. Blocks of 16 aligned positions; a block of keys and a block of
 * values are some lines of codes and one line of scales and zeros (f16 scale of position p at byte 2p, zero at 32 + p).
 * At 4 bits a byte holds the two codes that meet the same operand, so that one multiplier serves both:
 *   keys: positions 2i (low) and 2i + 1 of one dimension; line d / 8, byte 8 * (p / 2) + d % 8;
 *   values: dimensions d (low) and d + dims / 2 of one position; line (p / 4) * (dims / 32) + d / 16, byte
 *   4 * (d % 16) + p % 4.
 * At 8 bits keys: line d / 4, byte 4 * p + d % 4; values: line (p / 4) * (dims / 16) + d / 16, byte 4 * (d % 16) + p
 * % 4.
 *
 * A KV head has as many channels as there are to each; its block b is on the (b mod spread)-th of them.
 */
#ifndef ACC_ACCEL_CACHE_MAP_H
#define ACC_ACCEL_CACHE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/policy.h"

/* The attention's shape and what is kept of the past. */
typedef struct acc_geometry {
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t sinks, window, page, kv_bits;
    uint32_t near;                       /* with 4 bits: last positions that are seen at 8 bits */
    uint32_t ring_pages, near_positions; /* places of the ring in pages, of the near ring in positions (0: none) */
} acc_geometry;

/* What of it the hardware cannot do; NULL: nothing. */
const char *acc_geometry_bad(const acc_geometry *g);

/* By part (cache/policy.h); the near ring exists at 4 bits only. */
typedef struct acc_cache_map {
    uint32_t channels, dims, spread;
    uint32_t bits[ACC_KV_PARTS], positions[ACC_KV_PARTS]; /* positions: multiples of 16 */
    uint64_t keys[ACC_KV_PARTS], values[ACC_KV_PARTS];    /* lines from a head's start */
    uint64_t head_lines, layer_lines;
} acc_cache_map;

/* Of a geometry that is not bad. */
acc_cache_map acc_cache_plan(uint32_t channels, const acc_geometry *g);

static inline uint32_t acc_cache_block_lines(const acc_cache_map *m, acc_kv_part part)
{
    return m->dims / (m->bits[part] == 4 ? 8 : 4) + 1;
}

/* The block of `slot` (position's place in its part): channel and first line, from the layer's start. */
void acc_cache_place(const acc_cache_map *m, acc_kv_part part, uint32_t head, bool value, uint32_t slot,
                     uint32_t *channel, uint64_t *line);

/* One position's codes u [n] (4 bits: 0..15; 8 bits: int8), scale and zero into its block; dimensions from n on become
 * 0. p = position mod 16. */
void acc_cache_put(const acc_cache_map *m, acc_kv_part part, uint8_t *block, bool value, uint32_t p, uint32_t n,
                   const uint8_t *u, uint16_t scale, uint8_t zero);

/* Step 1: n[p] = sum of q * u over the dims of a block of keys, for its 16 positions. */
void acc_cache_dot(const acc_cache_map *m, acc_kv_part part, const uint8_t *block, const int8_t *q, int32_t n[16]);
/* Step 5: acc[d] += (sum over the 16 positions of p * u[d]) << shift, acc [dims] modulo 2^32. */
void acc_cache_weigh(const acc_cache_map *m, acc_kv_part part, const uint8_t *block, const uint32_t p[16],
                     uint32_t shift, uint32_t *acc);

static inline const uint8_t *acc_cache_scales(const acc_cache_map *m, acc_kv_part part, const uint8_t *block)
{
    return block + (size_t)(acc_cache_block_lines(m, part) - 1) * 64;
}

#endif
