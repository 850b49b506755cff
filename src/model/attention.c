/* Attention of one query position over the cache: docs/numerics.md "Attention of one query and head". */
#include <math.h>

#include "model/session.h"

/* The queries of every piece of a segment: one per page and head. */
static bool make_queries(acc_quant_session *s, acc_worker *wk, const acc_kv_cut *cut, uint32_t n_pieces,
                         uint32_t kv_head, const float *q, uint32_t n_heads)
{
    uint32_t hd = s->m->hp.head_dim;
    const float *mean = s->m->layers[s->layer].k_mean, *mu = NULL, *cos, *sin;
    if (mean && cut->part != ACC_KV_SINKS) mu = mean + (size_t)kv_head * hd;
    uint32_t block = cut->part == ACC_KV_SINKS ? 1 : s->block;
    bool ok = true;
    for (uint32_t p = 0; p < n_pieces; p++) {
        acc_kv_angles(s->kv, wk->distance[p], &cos, &sin);
        for (uint32_t h = 0; h < n_heads; h++) {
            size_t i = (size_t)p * n_heads + h;
            int8_t *q8 = wk->q8 + i * s->q8_stride;
            ok &=
                s->k->attn_query(q + (size_t)h * hd, cos, sin, mu, hd, block, s->m->hp.attn_scale, q8, &wk->queries[i]);
        }
    }
    return ok;
}

void acc_attend(acc_quant_session *s, acc_worker *wk, uint32_t token, uint32_t kv_head, uint32_t h0, uint32_t n_heads)
{
    uint32_t hd = s->m->hp.head_dim, n_cuts;
    uint64_t t = s->pos + token;
    const float *q = s->q + (size_t)token * s->q_stride + (size_t)h0 * hd;
    bool ok = true;
    n_cuts = acc_kv_cuts(s->kv, t, wk->cuts);
    for (uint32_t c = 0; c < n_cuts; c++) {
        acc_attn_segment g = {.pieces = wk->pieces,
                              .head_dim = hd,
                              .n_heads = n_heads,
                              .queries = wk->queries,
                              .max = wk->part_max + (size_t)c * n_heads,
                              .l = wk->part_l + (size_t)c * n_heads,
                              .o = wk->part_o + c * s->part_stride};
        g.n_pieces =
            acc_kv_pieces(s->kv, &wk->cuts[c], t, s->layer, kv_head, wk->pieces, wk->distance, &g.first, &g.end);
        ok &= make_queries(s, wk, &wk->cuts[c], g.n_pieces, kv_head, q, n_heads);
        (acc_kv_cut_bits(s->kv, &wk->cuts[c]) == 4 ? s->k->attn4 : s->k->attn8)(&g, wk->scratch);
        for (uint32_t h = 0; h < n_heads; h++) ok &= isfinite(g.max[h]) != 0;
    }
    if (!ok) {
        wk->failed = "a query";
        return;
    }
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t c = 0; c < n_cuts; c++)
            wk->parts[c] = (acc_attn_part){wk->part_max[(size_t)c * n_heads + h], wk->part_l[(size_t)c * n_heads + h],
                                           wk->part_o + c * s->part_stride + (size_t)h * hd};
        acc_attn_merge(wk->parts, n_cuts, hd, s->att + (size_t)token * s->q_stride + (size_t)(h0 + h) * hd);
    }
}
