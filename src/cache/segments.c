/* What a query attends to: segments and their pieces (docs/numerics.md "Attention of one query and head"). */
#include "cache/kv_internal.h"
#include "core/memory.h"

uint32_t acc_kv_cuts(const acc_kv *kv, uint64_t t, acc_kv_cut *cuts)
{
    return acc_policy_cuts(&kv->policy, kv->p.bits, t, cuts);
}

uint32_t acc_kv_max_cuts(const acc_kv *kv)
{
    return kv->p.sinks / ACC_SEGMENT_KV8 + 1 + kv->p.window / acc_policy_segment(kv->p.bits) + 3;
}

uint32_t acc_kv_max_pieces(const acc_kv *kv)
{
    uint32_t length = acc_policy_segment(kv->p.bits);
    uint32_t window = kv->p.page < length ? length / kv->p.page : 1;
    uint32_t near =
        kv->policy.near / kv->p.page + 3; /* begins in one page, ends in another; the ring's end cuts once */
    return window > near ? window : near;
}

uint32_t acc_kv_cut_bits(const acc_kv *kv, const acc_kv_cut *cut)
{
    return acc_kv_store_of(kv, cut->part)->bits;
}

/* n positions from `at` (a multiple of 16) of a lane on. */
static acc_attn_piece piece_at(const acc_kv *kv, const acc_kv_store *s, const acc_kv_lane *lane, uint64_t at,
                               uint32_t n, uint32_t variant)
{
    size_t codes = (size_t)at * kv->dp / (s->bits == 4 ? 2u : 1u);
    return (acc_attn_piece){
        .k = lane->k + codes,
        .v = lane->v + codes,
        .kscale = lane->kscale + at,
        .vscale = lane->vscale + at,
        .kzero = lane->kzero ? lane->kzero + at : NULL,
        .vzero = lane->vzero ? lane->vzero + at : NULL,
        .n = n,
        .variant = variant,
    };
}

uint32_t acc_kv_pieces(const acc_kv *kv, const acc_kv_cut *cut, uint64_t t, uint32_t layer, uint32_t head,
                       acc_attn_piece *pieces, uint64_t *distance, uint32_t *first, uint32_t *end)
{
    const acc_kv_store *s = acc_kv_store_of(kv, cut->part);
    acc_kv_lane lane = acc_kv_lane_at(kv, s, layer, head);
    uint64_t start = cut->lo & ~(uint64_t)15; /* strips of 16 are aligned to the absolute position */
    *first = (uint32_t)(cut->lo - start);
    *end = (uint32_t)(cut->hi - start);
    if (cut->part == ACC_KV_SINKS) {
        distance[0] = acc_policy_sink_distance(&kv->policy, t);
        pieces[0] = piece_at(kv, s, &lane, start, (uint32_t)acc_round_up(*end, 16), 0);
        return 1;
    }
    uint32_t n = 0;
    uint64_t at = start;
    for (uint64_t left = acc_round_up(cut->hi - start, 16), len; left > 0; left -= len, at += len, n++) {
        uint64_t offset = at % kv->p.page, slot = acc_kv_slot(kv, cut->part, at);
        len = left < kv->p.page - offset ? left : kv->p.page - offset;
        if (len > s->positions - slot) len = s->positions - slot;
        distance[n] = t - (at - offset);
        pieces[n] = piece_at(kv, s, &lane, slot, (uint32_t)len, n);
    }
    return n;
}

bool acc_kv_keeps(const acc_kv *kv, uint64_t stored, uint64_t position)
{
    return acc_policy_keeps(&kv->policy, kv->near.positions, stored, position);
}

uint64_t acc_kv_seen(const acc_kv *kv, uint64_t t)
{
    uint64_t sinks = acc_policy_sinks_end(&kv->policy, t), begin = acc_policy_window_begin(&kv->policy, t);
    return sinks + (t >= begin ? t + 1 - begin : 0);
}

uint64_t acc_kv_bytes_read(const acc_kv *kv, uint64_t t)
{
    uint64_t sinks = acc_policy_sinks_end(&kv->policy, t), window = acc_kv_seen(kv, t) - sinks;
    uint64_t near = window < kv->policy.near ? window : kv->policy.near;
    uint64_t wide = 2 * (uint64_t)kv->dp + 4, narrow = kv->p.bits == 4 ? kv->dp + 6 : wide;
    return ((sinks + near) * wide + (window - near) * narrow) * kv->p.n_layers * kv->p.n_kv_heads;
}
