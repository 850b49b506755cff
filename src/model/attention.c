/* Attention of the rows of a step, each over its session's cache: docs/numerics.md "Attention of one query and head".
 */
#include <math.h>

#include "model/batch.h"

/* The queries of every piece of a segment: one per page and head. */
static bool make_queries(const acc_batch *b, const acc_quant_session *s, acc_attn_work *wk, const acc_kv_cut *cut,
                         uint32_t n_pieces, uint32_t kv_head, const float *q, uint32_t n_heads)
{
    uint32_t hd = b->m->hp.head_dim;
    const float *mean = b->m->layers[b->layer].k_mean, *mu = NULL, *cos, *sin;
    if (mean && cut->part != ACC_KV_SINKS) mu = mean + (size_t)kv_head * hd;
    uint32_t block = cut->part == ACC_KV_SINKS ? 1 : b->d.block;
    bool ok = true;
    for (uint32_t p = 0; p < n_pieces; p++) {
        acc_kv_angles(s->kv, wk->distance[p], &cos, &sin);
        for (uint32_t h = 0; h < n_heads; h++) {
            size_t i = (size_t)p * n_heads + h;
            int8_t *q8 = wk->q8 + i * b->d.q8_stride;
            ok &=
                b->k->attn_query(q + (size_t)h * hd, cos, sin, mu, hd, block, b->m->hp.attn_scale, q8, &wk->queries[i]);
        }
    }
    return ok;
}

/* What the kernels do not ask for themselves, while the queries are made. (SmolLM2's shape, AVX2: attention takes a
 * fifth less time.) */
static void ask_for_first(const acc_attn_piece *p)
{
    for (uint32_t i = 0; i < ACC_ATTN_AHEAD; i += 64) {
        __builtin_prefetch(p->k + i);
        __builtin_prefetch(p->v + i);
    }
}

/* One row, query heads [h0, h0 + n_heads) of one KV head. */
static void attend(acc_batch *b, acc_worker *worker, uint32_t row, uint32_t kv_head, uint32_t h0, uint32_t n_heads)
{
    const acc_quant_session *s = b->rows[row].s;
    acc_attn_work *wk = &s->attn[worker->index];
    uint32_t hd = b->m->hp.head_dim, n_cuts;
    uint64_t t = b->rows[row].pos;
    const float *q = b->q + (size_t)row * b->d.q_stride + (size_t)h0 * hd;
    bool ok = true;
    n_cuts = acc_kv_cuts(s->kv, t, wk->cuts);
    for (uint32_t c = 0; ok && c < n_cuts; c++) {
        acc_attn_segment g = {.pieces = wk->pieces,
                              .head_dim = hd,
                              .n_heads = n_heads,
                              .queries = wk->queries,
                              .max = wk->part_max + (size_t)c * n_heads,
                              .l = wk->part_l + (size_t)c * n_heads,
                              .o = wk->part_o + c * b->d.part_stride};
        g.n_pieces =
            acc_kv_pieces(s->kv, &wk->cuts[c], t, b->layer, kv_head, wk->pieces, wk->distance, &g.first, &g.end);
        if (b->rows[row].item->n == 1) ask_for_first(wk->pieces); /* a prompt's rows find them in the cache */
        ok = make_queries(b, s, wk, &wk->cuts[c], g.n_pieces, kv_head, q, n_heads);
        if (!ok) break; /* without codes there is nothing to multiply */
        (acc_kv_cut_bits(s->kv, &wk->cuts[c]) == 4 ? b->k->attn4 : b->k->attn8)(&g, worker->scratch);
        for (uint32_t h = 0; h < n_heads; h++) ok &= isfinite(g.max[h]) != 0;
    }
    if (!ok) {
        acc_row_failed(worker, row, "a query");
        return;
    }
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t c = 0; c < n_cuts; c++)
            wk->parts[c] = (acc_attn_part){wk->part_max[(size_t)c * n_heads + h], wk->part_l[(size_t)c * n_heads + h],
                                           wk->part_o + c * b->d.part_stride + (size_t)h * hd};
        acc_attn_merge(wk->parts, n_cuts, hd, b->att + (size_t)row * b->d.q_stride + (size_t)(h0 + h) * hd);
    }
}

/* How many of g heads, which cost `each` and begin at `base`, begin before `at`; whole: all or none. */
static uint32_t heads_before(uint64_t at, uint64_t base, uint64_t each, uint32_t g, bool whole)
{
    if (at <= base) return 0;
    if (whole) return at - base > each * g / 2 ? g : 0;
    uint64_t n = (at - base + each - 1) / each;
    return n < g ? (uint32_t)n : g;
}

/* The parts that the work of several rows is cut into for each worker. */
#define PARTS 4

uint32_t acc_attend_items(const acc_batch *b)
{
    return b->n == 1 ? b->n_workers : b->n_workers * PARTS;
}

/* The work stands in a line: KV head, row, query head, each as long as the positions that its row sees. Items are equal
 * lengths of it; where one ends inside a KV head's group, both read its keys and values, which many rows avoid. */
static void attend_items(acc_batch *b, uint32_t worker, uint32_t begin, uint32_t end)
{
    uint32_t g = b->d.group, n_kv = b->m->hp.n_kv_heads, n_items = acc_attend_items(b);
    uint64_t lap = b->seen[b->n] * g; /* of one KV head */
    uint64_t from = lap * n_kv * begin / n_items, to = lap * n_kv * end / n_items;
    bool whole = (uint64_t)b->n * n_kv >= 4 * (uint64_t)n_items;
    for (uint32_t kv = (uint32_t)(from / lap); kv < n_kv && lap * kv < to; kv++)
        for (uint32_t r = 0; r < b->n; r++) {
            uint64_t base = lap * kv + b->seen[r] * g, each = b->seen[r + 1] - b->seen[r];
            uint32_t h0 = heads_before(from, base, each, g, whole), h1 = heads_before(to, base, each, g, whole);
            if (h0 < h1) attend(b, &b->workers[worker], r, kv, kv * g + h0, h1 - h0);
        }
}

void acc_attend_some(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    uint32_t begin, end;
    while (acc_items_take(b->left, n_workers, worker, 1, UINT32_MAX, &begin, &end)) attend_items(b, worker, begin, end);
}
