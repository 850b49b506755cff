/* The inside of acc_kv: where the lanes lie. */
#ifndef ACC_CACHE_KV_INTERNAL_H
#define ACC_CACHE_KV_INTERNAL_H

#include "cache/kv.h"

/* One store (sinks, ring or near ring) holds a lane per layer and KV head; a lane holds the six arrays of `positions`
 * positions, each at a multiple of 64 bytes. */
typedef struct acc_kv_store {
    uint32_t bits;
    uint64_t positions;                     /* a multiple of 16 */
    size_t v, kscale, vscale, kzero, vzero; /* offsets in a lane; keys at 0 */
    size_t lane_bytes;
    uint8_t *base;
} acc_kv_store;

typedef struct acc_kv_lane {
    uint8_t *k, *v, *kzero, *vzero; /* zeros are NULL with 8 bits */
    uint16_t *kscale, *vscale;
} acc_kv_lane;

struct acc_kv {
    acc_kv_params p;
    acc_kernels kernels;
    acc_kv_policy policy;
    uint32_t dp;                   /* head_dim padded to 32 */
    uint32_t block;                /* of the Hadamard transform */
    acc_kv_store sink, ring, near; /* near: slot = position modulo its positions */
    float *angles;                 /* [n_angles][cos | sin][angle_stride] */
    uint64_t n_angles;
    uint32_t angle_stride;
    uint8_t *memory;
    size_t memory_bytes, angle_bytes;
};

static inline const acc_kv_store *acc_kv_store_of(const acc_kv *kv, acc_kv_part part)
{
    return part == ACC_KV_SINKS ? &kv->sink : part == ACC_KV_NEAR ? &kv->near : &kv->ring;
}

/* Where a position of a part lies in its lanes. */
static inline uint64_t acc_kv_slot(const acc_kv *kv, acc_kv_part part, uint64_t pos)
{
    if (part == ACC_KV_SINKS) return pos;
    return part == ACC_KV_NEAR ? pos % kv->near.positions : acc_policy_slot(&kv->policy, pos);
}

static inline acc_kv_lane acc_kv_lane_at(const acc_kv *kv, const acc_kv_store *s, uint32_t layer, uint32_t head)
{
    uint8_t *b = s->base + ((size_t)layer * kv->p.n_kv_heads + head) * s->lane_bytes;
    return (acc_kv_lane){
        .k = b,
        .v = b + s->v,
        .kzero = s->bits == 4 ? b + s->kzero : NULL,
        .vzero = s->bits == 4 ? b + s->vzero : NULL,
        .kscale = (uint16_t *)(void *)(b + s->kscale),
        .vscale = (uint16_t *)(void *)(b + s->vscale),
    };
}

#endif
