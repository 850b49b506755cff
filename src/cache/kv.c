#include "cache/kv.h"

#include <string.h>

#include "cache/kv_internal.h"
#include "core/memory.h"
#include "format/checkpoint.h"
#include "kernels/kv_layout.h"
#include "numerics/numerics.h"

/* Far beyond any use; keeps every product of positions and bytes inside 64 bits. */
#define MAX_POSITIONS (1u << 30)
#define MAX_SINKS (1u << 20)

static accllm_status check_params(const acc_kv_params *p, accllm_error *err)
{
    if (p->head_dim < 2 || p->head_dim > ACC_MAX_HEAD_DIM || p->head_dim % 2)
        return acc_fail(err, ACCLLM_E_ARG, "KV cache: head_dim %u is not even and 2 to %u", p->head_dim,
                        ACC_MAX_HEAD_DIM);
    if (p->page < 16 || p->page > 4096 || (p->page & (p->page - 1)))
        return acc_fail(err, ACCLLM_E_ARG, "KV cache: page of %u positions is not a power of two, 16 to 4096", p->page);
    if (p->bits != 4 && p->bits != 8) return acc_fail(err, ACCLLM_E_ARG, "KV cache: %u bits; 4 and 8 exist", p->bits);
    if (p->near > ACC_MAX_NEAR)
        return acc_fail(err, ACCLLM_E_ARG, "KV cache: %u near positions, at most %d are supported", p->near,
                        ACC_MAX_NEAR);
    if (p->sinks > MAX_SINKS)
        return acc_fail(err, ACCLLM_E_ARG, "KV cache: %u sinks, at most %u are supported", p->sinks, MAX_SINKS);
    if (p->window == 0 || p->window > MAX_POSITIONS || p->chunk == 0 || p->chunk > MAX_POSITIONS)
        return acc_fail(err, ACCLLM_E_ARG, "KV cache: window %u or chunk %u is not in 1 to %u", p->window, p->chunk,
                        MAX_POSITIONS);
    if (p->n_layers == 0 || p->n_kv_heads == 0)
        return acc_fail(err, ACCLLM_E_ARG, "KV cache: %u layers, %u KV heads", p->n_layers, p->n_kv_heads);
    return ACCLLM_OK;
}

static void plan_lane(acc_kv_store *s, uint32_t dp, uint32_t bits, uint64_t positions)
{
    size_t block = bits == 4 ? acc_kv4_block_bytes(dp) : acc_kv8_block_bytes(dp);
    size_t codes = positions / ACC_KV_BLOCK * block, at = codes; /* multiples of 64 already */
    s->bits = bits;
    s->positions = positions;
    s->v = at, at += codes;
    s->kscale = at, at += acc_round_up(2 * positions, 64);
    s->vscale = at, at += acc_round_up(2 * positions, 64);
    s->kzero = at, at += bits == 4 ? acc_round_up(positions, 64) : 0;
    s->vzero = at, at += bits == 4 ? acc_round_up(positions, 64) : 0;
    s->lane_bytes = at;
}

static void fill_angles(acc_kv *kv)
{
    for (uint64_t d = 0; d < kv->n_angles; d++) {
        float *row = kv->angles + d * 2 * kv->angle_stride;
        acc_rope_angles(d, kv->p.rope_steps, kv->p.head_dim, row, row + kv->angle_stride);
    }
    kv->p.rope_steps = NULL; /* the caller's; not needed again */
}

static accllm_status take_memory(acc_kv *kv, accllm_error *err)
{
    size_t lanes, ring, sinks, near;
    if (!acc_mul(kv->p.n_layers, kv->p.n_kv_heads, &lanes) || !acc_mul(lanes, kv->ring.lane_bytes, &ring) ||
        !acc_mul(lanes, kv->sink.lane_bytes, &sinks) || !acc_mul(lanes, kv->near.lane_bytes, &near) ||
        !acc_add(ring, sinks, &kv->memory_bytes) || !acc_add(kv->memory_bytes, near, &kv->memory_bytes))
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: KV cache");
    kv->memory = acc_pages_alloc(kv->memory_bytes);
    if (!kv->memory)
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: KV cache (%.1f MB)", (double)kv->memory_bytes / 1e6);
    kv->ring.base = kv->memory;
    kv->sink.base = kv->memory + ring;
    kv->near.base = kv->memory + ring + sinks;

    kv->angle_stride = (uint32_t)acc_round_up(kv->p.head_dim / 2, 16);
    uint32_t spread = kv->p.sinks > kv->p.page ? kv->p.sinks : kv->p.page;
    kv->n_angles = (uint64_t)spread + kv->p.window;
    kv->angle_bytes = kv->n_angles * 2 * kv->angle_stride * sizeof(float);
    return acc_alloc((void **)&kv->angles, kv->n_angles, 2 * kv->angle_stride * sizeof(float), "rotation table", err);
}

accllm_status acc_kv_create(acc_kv **out, const acc_kv_params *p, accllm_error *err)
{
    *out = NULL;
    ACC_TRY(check_params(p, err));
    acc_kv *kv = acc_calloc(1, sizeof *kv);
    if (!kv) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: KV cache");
    kv->p = *p;
    if (p->kernels)
        kv->kernels = *p->kernels;
    else
        acc_kernels_init_scalar(&kv->kernels);
    kv->dp = acc_kv_dims(p->head_dim);
    kv->block = acc_hadamard_block(p->head_dim);
    uint64_t pages = acc_policy_pages(p->window, p->chunk, p->page, p->full);
    uint32_t near = p->bits == 4 ? p->near : 0;
    kv->policy = (acc_kv_policy){p->sinks, p->window, p->page, near, (uint32_t)pages};
    plan_lane(&kv->ring, kv->dp, p->bits, pages * p->page);
    plan_lane(&kv->sink, kv->dp, 8, acc_round_up(p->sinks, 16));
    /* A chunk is stored before its first query reads, and what is near may begin inside a block. */
    plan_lane(&kv->near, kv->dp, 8, near ? acc_round_up((uint64_t)near + p->chunk + 15, 16) : 0);
    accllm_status s = take_memory(kv, err);
    if (s != ACCLLM_OK) {
        acc_kv_free(&kv);
        return s;
    }
    fill_angles(kv);
    *out = kv;
    return ACCLLM_OK;
}

void acc_kv_free(acc_kv **kv)
{
    if (!*kv) return;
    acc_pages_free((*kv)->memory, (*kv)->memory_bytes);
    acc_free((*kv)->angles);
    acc_free(*kv);
    *kv = NULL;
}

uint64_t acc_kv_bytes(const acc_kv *kv)
{
    return sizeof *kv + kv->memory_bytes + kv->angle_bytes;
}

void acc_kv_angles(const acc_kv *kv, uint64_t distance, const float **cos, const float **sin)
{
    const float *row = kv->angles + distance * 2 * kv->angle_stride;
    *cos = row;
    *sin = row + kv->angle_stride;
}

/* Codes and scale of x into a lane's keys or values; direction: of 4-bit keys, or NULL. */
static bool put(const acc_kv *kv, acc_kv_part part, uint32_t layer, uint32_t head, uint64_t pos, const float *x,
                bool key, const float *direction)
{
    uint32_t n = kv->p.head_dim;
    uint8_t u[ACC_MAX_HEAD_DIM];
    const acc_kv_store *s = acc_kv_store_of(kv, part);
    acc_kv_lane lane = acc_kv_lane_at(kv, s, layer, head);
    uint64_t at = acc_kv_slot(kv, part, pos);
    uint16_t *scale = (key ? lane.kscale : lane.vscale) + at;
    if (s->bits == 8) {
        if (!kv->kernels.kv8(x, n, (int8_t *)u, scale)) return false;
        (key ? acc_kv8_write_key : acc_kv8_write_value)(key ? lane.k : lane.v, (uint32_t)at, n, (int8_t *)u);
        return true;
    }
    if (!(key ? kv->kernels.kv4_key(x, n, direction, u, scale, &lane.kzero[at])
              : kv->kernels.kv4(x, n, u, scale, &lane.vzero[at])))
        return false;
    (key ? acc_kv4_write_key : acc_kv4_write_value)(key ? lane.k : lane.v, (uint32_t)at, n, u);
    return true;
}

bool acc_kv_store_key(acc_kv *kv, uint32_t layer, uint32_t head, uint64_t pos, const float *key, const float *mean,
                      const float *direction)
{
    _Alignas(64) float x[ACC_MAX_HEAD_DIM];
    const float *cos, *sin;
    const bool sink = pos < kv->p.sinks;
    acc_kv_angles(kv, sink ? pos : pos % kv->p.page, &cos, &sin);
    kv->kernels.kv_turn(key, cos, sin, sink ? NULL : mean, kv->p.head_dim, sink ? 1 : kv->block, x);
    if (sink) return put(kv, ACC_KV_SINKS, layer, head, pos, x, true, NULL);
    return put(kv, ACC_KV_WINDOW, layer, head, pos, x, true, direction) &&
           (!kv->policy.near || put(kv, ACC_KV_NEAR, layer, head, pos, x, true, NULL));
}

bool acc_kv_store_value(acc_kv *kv, uint32_t layer, uint32_t head, uint64_t pos, const float *value)
{
    if (pos < kv->p.sinks) return put(kv, ACC_KV_SINKS, layer, head, pos, value, false, NULL);
    return put(kv, ACC_KV_WINDOW, layer, head, pos, value, false, NULL) &&
           (!kv->policy.near || put(kv, ACC_KV_NEAR, layer, head, pos, value, false, NULL));
}
