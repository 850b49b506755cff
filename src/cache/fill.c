/*
 * Pseudo-random contents, so that benchmarks and tests of deep positions need no long text. A block of 16 positions is
 * one stream of random bytes in the cache's own order.
 */
#include <string.h>

#include "cache/kv_internal.h"
#include "core/hash.h"
#include "kernels/kv_layout.h"

static uint64_t block_key(uint32_t layer, uint32_t head, bool value, uint64_t pos)
{
    return acc_random(((uint64_t)layer << 32 | head) * 2 + value, pos / ACC_KV_BLOCK);
}

/* Numbers 0..15 of a block's stream are its positions' scales and zeros, its codes follow. -128 is no code. */
static uint64_t eight_codes(uint64_t key, uint32_t bits, size_t i)
{
    uint64_t r = acc_random(key, i + ACC_KV_BLOCK);
    for (uint32_t b = 0; bits == 8 && b < 64; b += 8)
        if ((r >> b & 255) == 0x80) r ^= (uint64_t)0x80 << b;
    return r;
}

static void scale_and_zero(uint64_t key, uint32_t bits, uint64_t pos, uint16_t *scale, uint8_t *zero)
{
    uint64_t r = acc_random(key, pos % ACC_KV_BLOCK);
    /* 8 bits reach 127 and 4 bits 15 - zero: a scale 16 times as large gives vectors of like size. */
    *scale = (uint16_t)((bits == 4 ? 0x3000 : 0x2000) + (r & 1023)); /* 1/8 .. 1/4, 1/128 .. 1/64 */
    *zero = bits == 4 ? (uint8_t)(4 + (r >> 10) % 8) : 0;
}

void acc_kv_pseudo(uint32_t layer, uint32_t head, bool value, uint64_t pos, uint32_t n, uint32_t bits, uint8_t *u,
                   uint16_t *scale, uint8_t *zero)
{
    uint64_t key = block_key(layer, head, value, pos);
    uint32_t at = pos % ACC_KV_BLOCK, dims = acc_kv_dims(n);
    for (uint32_t d = 0; d < n; d++) {
        size_t i;
        unsigned shift = 0;
        if (bits == 4) {
            i = value ? acc_kv4_value_at(at, d, dims) : acc_kv4_key_at(at, d, dims);
            shift = value ? acc_kv4_value_shift(d) : acc_kv4_key_shift(d);
        } else {
            i = value ? acc_kv8_value_at(at, d, dims) : acc_kv8_key_at(at, d, dims);
        }
        uint8_t byte = (uint8_t)(eight_codes(key, bits, i / 8) >> (i % 8 * 8));
        u[d] = bits == 4 ? byte >> shift & 15 : byte;
    }
    scale_and_zero(key, bits, pos, scale, zero);
}

/* The block that holds pos, at slot `at` of its lane: keys or values. */
static void fill_block(uint64_t key, uint32_t bits, uint64_t at, size_t block, uint8_t *codes, uint16_t *scale,
                       uint8_t *zero)
{
    uint8_t none;
    codes += at / ACC_KV_BLOCK * block;
    for (size_t i = 0; i < block / 8; i++) {
        uint64_t r = eight_codes(key, bits, i);
        memcpy(codes + 8 * i, &r, 8);
    }
    for (uint32_t i = 0; i < ACC_KV_BLOCK; i++)
        scale_and_zero(key, bits, i, &scale[at + i], zero ? &zero[at + i] : &none);
}

static void fill_blocks(const acc_kv *kv, acc_kv_part part, uint32_t layer, uint32_t head, uint64_t begin, uint64_t end)
{
    if (begin >= end) return;
    const acc_kv_store *s = acc_kv_store_of(kv, part);
    acc_kv_lane lane = acc_kv_lane_at(kv, s, layer, head);
    size_t block = s->bits == 4 ? acc_kv4_block_bytes(kv->dp) : acc_kv8_block_bytes(kv->dp);
    for (uint64_t b = begin / ACC_KV_BLOCK; b <= (end - 1) / ACC_KV_BLOCK; b++) { /* end may be near 2^64 */
        uint64_t pos = b * ACC_KV_BLOCK;
        uint64_t at = acc_kv_slot(kv, part, pos);
        fill_block(block_key(layer, head, false, pos), s->bits, at, block, lane.k, lane.kscale, lane.kzero);
        fill_block(block_key(layer, head, true, pos), s->bits, at, block, lane.v, lane.vscale, lane.vzero);
    }
}

void acc_kv_fill(acc_kv *kv, uint64_t depth)
{
    if (depth == 0) return;
    uint64_t sinks = acc_policy_sinks_end(&kv->policy, depth - 1);
    uint64_t begin = acc_policy_window_begin(&kv->policy, depth - 1);
    uint64_t near = acc_policy_near_begin(&kv->policy, depth - 1);
    for (uint32_t layer = 0; layer < kv->p.n_layers; layer++)
        for (uint32_t head = 0; head < kv->p.n_kv_heads; head++) {
            fill_blocks(kv, ACC_KV_SINKS, layer, head, 0, sinks);
            fill_blocks(kv, ACC_KV_WINDOW, layer, head, begin, depth);
            if (kv->policy.near) fill_blocks(kv, ACC_KV_NEAR, layer, head, near, depth);
        }
}
