/*
 * What a cache holds as bytes. Whole blocks of 16 positions of every lane, in position order; positions in them that
 * no query can see any more, or not yet, are written as zeros, so the bytes follow from the tokens alone.
 */
#include <string.h>

#include "cache/kv_internal.h"
#include "kernels/kv_layout.h"

/* Positions first <= j < end of one part; the bytes are of the blocks that they lie in. */
typedef struct span {
    acc_kv_part part;
    uint64_t first, end;
} span;

static uint64_t at_most(uint64_t x, uint64_t most)
{
    return x < most ? x : most;
}

/* The first position whose page was not taken by a later one. */
static uint64_t ring_begin(const acc_kv *kv, uint64_t stored)
{
    uint64_t pages = stored / kv->p.page + (stored % kv->p.page != 0), held = kv->policy.n_pages;
    uint64_t begin = pages > held ? (pages - held) * kv->p.page : 0;
    return begin > kv->p.sinks ? begin : kv->p.sinks;
}

/* The first position whose block was not taken by a later one. */
static uint64_t near_ring_begin(const acc_kv *kv, uint64_t stored)
{
    uint64_t held = kv->near.positions, sinks = kv->p.sinks;
    uint64_t begin = stored > held ? (stored - held + ACC_KV_BLOCK - 1) / ACC_KV_BLOCK * ACC_KV_BLOCK : 0;
    return begin > sinks ? begin : sinks;
}

/* What the cache holds up to the position. */
static void spans(const acc_kv *kv, uint64_t stored, uint64_t position, span out[3])
{
    uint64_t near = kv->policy.near ? near_ring_begin(kv, stored) : position;
    out[0] = (span){ACC_KV_SINKS, 0, at_most(kv->p.sinks, position)};
    out[1] = (span){ACC_KV_WINDOW, at_most(ring_begin(kv, stored), position), position};
    out[2] = (span){ACC_KV_NEAR, at_most(near, position), position};
}

static size_t code_bytes(const acc_kv *kv, const acc_kv_store *s)
{
    return s->bits == 4 ? acc_kv4_block_bytes(kv->dp) : acc_kv8_block_bytes(kv->dp);
}

/* Keys, values and their scales, with 4 bits zeros too. */
static size_t block_bytes(const acc_kv *kv, const acc_kv_store *s)
{
    return 2 * (code_bytes(kv, s) + (s->bits == 4 ? 3 : 2) * ACC_KV_BLOCK);
}

static uint64_t first_block(const span *sp)
{
    return sp->first / ACC_KV_BLOCK;
}

static uint64_t end_block(const span *sp)
{
    return sp->first < sp->end ? (sp->end + ACC_KV_BLOCK - 1) / ACC_KV_BLOCK : first_block(sp);
}

size_t acc_kv_state_bytes(const acc_kv *kv, uint64_t stored, uint64_t position)
{
    span sp[3];
    size_t lane = 0;
    spans(kv, stored, position, sp);
    for (int i = 0; i < 3; i++)
        lane += (size_t)(end_block(&sp[i]) - first_block(&sp[i])) * block_bytes(kv, acc_kv_store_of(kv, sp[i].part));
    return lane * kv->p.n_layers * kv->p.n_kv_heads;
}

/* The six arrays of a block, of a lane or of a state. */
static acc_kv_lane block_of_lane(const acc_kv *kv, const acc_kv_store *s, const acc_kv_lane *lane, uint64_t slot)
{
    size_t codes = (size_t)(slot / ACC_KV_BLOCK) * code_bytes(kv, s);
    bool zeros = s->bits == 4;
    return (acc_kv_lane){.k = lane->k + codes,
                         .v = lane->v + codes,
                         .kscale = lane->kscale + slot,
                         .vscale = lane->vscale + slot,
                         .kzero = zeros ? lane->kzero + slot : NULL,
                         .vzero = zeros ? lane->vzero + slot : NULL};
}

typedef struct array {
    void *at;
    size_t bytes;
} array;

/* A block's arrays in the order of the state's bytes; their number. */
static int arrays_of(const acc_kv *kv, const acc_kv_store *s, const acc_kv_lane *b, array out[6])
{
    const size_t codes = code_bytes(kv, s), scales = ACC_KV_BLOCK * sizeof *b->kscale, zeros = ACC_KV_BLOCK;
    out[0] = (array){b->k, codes};
    out[1] = (array){b->v, codes};
    out[2] = (array){b->kscale, scales};
    out[3] = (array){b->vscale, scales};
    out[4] = (array){b->kzero, zeros};
    out[5] = (array){b->vzero, zeros};
    return s->bits == 4 ? 6 : 4;
}

/* Zeros for position i of a state's block. */
static void clear_position(const acc_kv *kv, const acc_kv_store *s, uint8_t *block, uint32_t i)
{
    static const uint8_t none[ACC_MAX_HEAD_DIM];
    size_t codes = code_bytes(kv, s);
    uint8_t *scales = block + 2 * codes, *zeros = scales + 4 * ACC_KV_BLOCK;
    if (s->bits == 4) {
        acc_kv4_write_key(block, i, kv->p.head_dim, none);
        acc_kv4_write_value(block + codes, i, kv->p.head_dim, none);
        zeros[i] = zeros[ACC_KV_BLOCK + i] = 0;
    } else {
        acc_kv8_write_key(block, i, kv->p.head_dim, (const int8_t *)none);
        acc_kv8_write_value(block + codes, i, kv->p.head_dim, (const int8_t *)none);
    }
    memset(scales + 2 * i, 0, 2);
    memset(scales + 2 * (ACC_KV_BLOCK + i), 0, 2);
}

typedef bool block_call(const acc_kv *kv, const acc_kv_store *s, const acc_kv_lane *b, const span *sp, uint64_t block,
                        uint8_t *bytes);

/* Calls for every block of the state, in the bytes' order; false at once when a call says so. */
static bool each_block(const acc_kv *kv, uint64_t stored, uint64_t position, uint8_t *bytes, block_call *call)
{
    span sp[3];
    spans(kv, stored, position, sp);
    for (uint32_t lane = 0; lane < kv->p.n_layers * kv->p.n_kv_heads; lane++)
        for (int i = 0; i < 3; i++) {
            const acc_kv_store *s = acc_kv_store_of(kv, sp[i].part);
            acc_kv_lane l = acc_kv_lane_at(kv, s, lane / kv->p.n_kv_heads, lane % kv->p.n_kv_heads);
            for (uint64_t b = first_block(&sp[i]); b < end_block(&sp[i]); b++, bytes += block_bytes(kv, s)) {
                acc_kv_lane at = block_of_lane(kv, s, &l, acc_kv_slot(kv, sp[i].part, b * ACC_KV_BLOCK));
                if (!call(kv, s, &at, &sp[i], b, bytes)) return false;
            }
        }
    return true;
}

static bool save_block(const acc_kv *kv, const acc_kv_store *s, const acc_kv_lane *b, const span *sp, uint64_t block,
                       uint8_t *bytes)
{
    array a[6];
    const int n = arrays_of(kv, s, b, a);
    uint8_t *to = bytes;
    for (int i = 0; i < n; i++) {
        memcpy(to, a[i].at, a[i].bytes);
        to += a[i].bytes;
    }
    for (uint32_t i = 0; i < ACC_KV_BLOCK; i++) {
        uint64_t pos = block * ACC_KV_BLOCK + i;
        if (pos < sp->first || pos >= sp->end) clear_position(kv, s, bytes, i);
    }
    return true;
}

/* What kernels rely on (kernels/kv_layout.h). */
static bool check_block(const acc_kv *kv, const acc_kv_store *s, const acc_kv_lane *b, const span *sp, uint64_t block,
                        uint8_t *bytes)
{
    (void)b, (void)sp, (void)block;
    size_t codes = 2 * code_bytes(kv, s);
    const uint8_t *scales = bytes + codes, *zeros = scales + 4 * ACC_KV_BLOCK;
    bool good = true;
    for (uint32_t i = 0; i < 2 * ACC_KV_BLOCK; i++) {
        uint16_t scale;
        memcpy(&scale, scales + 2 * i, 2);
        good &= scale < 0x7c00; /* finite, and not negative */
        if (s->bits == 4) good &= zeros[i] <= 15;
    }
    for (size_t i = 0; s->bits == 8 && i < codes; i++) good &= bytes[i] != 0x80;
    return good;
}

static bool load_block(const acc_kv *kv, const acc_kv_store *s, const acc_kv_lane *b, const span *sp, uint64_t block,
                       uint8_t *bytes)
{
    (void)sp, (void)block;
    array a[6];
    const int n = arrays_of(kv, s, b, a);
    for (int i = 0; i < n; i++) {
        memcpy(a[i].at, bytes, a[i].bytes);
        bytes += a[i].bytes;
    }
    return true;
}

void acc_kv_save(const acc_kv *kv, uint64_t stored, uint64_t position, uint8_t *to)
{
    (void)each_block(kv, stored, position, to, save_block);
}

bool acc_kv_load(acc_kv *kv, uint64_t stored, uint64_t position, const uint8_t *from)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)from; /* only read */
    return each_block(kv, stored, position, bytes, check_block) && each_block(kv, stored, position, bytes, load_block);
}
