/*
 * The phases of a layer and of the output over all rows of a step (docs/numerics.md), each a job of the pool. The
 * linear layers are split by row blocks, attention by KV heads, rows and query heads. Sums are exact integers, so
 * neither split changes a bit.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "model/batch.h"

static uint32_t padded(const acc_weight *w, uint32_t pad)
{
    uint32_t p = w->col_groups * w->group;
    return p > pad ? p : pad;
}

static acc_source_rows norm_source(const acc_batch *b)
{
    const acc_packed_layer *l = &b->m->layers[b->layer];
    uint32_t pad = padded(&l->v, padded(&l->k, padded(&l->q, 0)));
    return (acc_source_rows){b->x, l->attn_norm, b->d.x_stride, b->m->hp.n_embd,
                             pad,  b->n,         NULL,          "the input of attention"};
}

static acc_source_rows out_source(const acc_batch *b)
{
    uint32_t pad = padded(&b->m->layers[b->layer].o, 0);
    return (acc_source_rows){b->att, NULL, b->d.q_stride, b->d.q_dim, pad, b->n, NULL, "attention"};
}

static acc_source_rows ffn_source(const acc_batch *b)
{
    const acc_packed_layer *l = &b->m->layers[b->layer];
    uint32_t pad = padded(&l->gate, padded(&l->up, 0));
    static const char what[] = "the input of the feed-forward part";
    return (acc_source_rows){b->x, l->ffn_norm, b->d.x_stride, b->m->hp.n_embd, pad, b->n, NULL, what};
}

static acc_source_rows down_source(const acc_batch *b)
{
    uint32_t pad = padded(&b->m->layers[b->layer].down, 0);
    return (acc_source_rows){b->ff, NULL, b->d.ff_stride, b->m->hp.n_ff, pad, b->n, NULL, "the feed-forward part"};
}

static acc_source_rows head_source(const acc_batch *b)
{
    const acc_hparams *hp = &b->m->hp;
    uint32_t pad = padded(&b->m->output, 0);
    static const char what[] = "the last layer's output";
    return (acc_source_rows){b->x, b->m->output_norm, b->d.x_stride, hp->n_embd, pad, b->n_logits, b->logit_rows, what};
}

static void quantise(const acc_batch *b, acc_worker *wk, uint32_t token, int8_t *a, float *scale)
{
    const acc_source_rows *src = &b->src;
    uint32_t row = src->rows ? src->rows[token] : token;
    const float *x = src->x + row * src->stride;
    bool ok = src->gain ? b->k->norm_a8(x, src->gain, src->n, src->pad, b->m->hp.norm_eps, a, scale)
                        : b->k->a8(x, src->n, src->pad, a, scale);
    if (!ok) acc_row_failed(wk, row, src->what);
}

/* Job: the codes of the phase's tokens. */
static void quantise_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    uint32_t t0, t1;
    acc_share(b->src.n_tokens, worker, n_workers, &t0, &t1);
    for (uint32_t t = t0; t < t1; t++) quantise(b, &b->workers[worker], t, b->a8 + t * b->d.a8_stride, &b->a8_scale[t]);
}

/* The input of a phase. One token is quantised by every worker for itself, which costs less than a barrier; more were
 * quantised by a job of their own. */
static acc_input input_of(acc_batch *b, acc_worker *wk)
{
    wk->packed.t1 = 0;
    if (b->src.n_tokens != 1) return (acc_input){b->a8, b->d.a8_stride, b->a8_scale, b->src.n_tokens};
    quantise(b, wk, 0, wk->a8, &wk->a8_scale);
    return (acc_input){wk->a8, b->d.a8_stride, &wk->a8_scale, 1};
}

/* ---- sinks ---- */

static void q_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                   const int32_t *isum, float scale)
{
    (void)wk;
    const float *bias = b->m->layers[b->layer].q_bias;
    b->k->scale(isum, w->rscale + row, scale, bias ? bias + row : NULL, b->q + (size_t)token * b->d.q_stride + row, n);
}

static void k_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                   const int32_t *isum, float scale)
{
    const acc_packed_layer *l = &b->m->layers[b->layer];
    const acc_row *r = &b->rows[token];
    uint32_t hd = b->m->hp.head_dim;
    b->k->scale(isum, w->rscale + row, scale, l->k_bias ? l->k_bias + row : NULL, wk->rows, n);
    for (uint32_t i = 0; i < n; i += hd)
        if (!acc_kv_store_key(r->s->kv, b->layer, (row + i) / hd, r->pos, wk->rows + i,
                              l->k_mean ? l->k_mean + row + i : NULL, l->q_direction ? l->q_direction + row + i : NULL))
            acc_row_failed(wk, token, "a key");
}

static void v_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                   const int32_t *isum, float scale)
{
    const float *bias = b->m->layers[b->layer].v_bias;
    const acc_row *r = &b->rows[token];
    uint32_t hd = b->m->hp.head_dim;
    b->k->scale(isum, w->rscale + row, scale, bias ? bias + row : NULL, wk->rows, n);
    for (uint32_t i = 0; i < n; i += hd)
        if (!acc_kv_store_value(r->s->kv, b->layer, (row + i) / hd, r->pos, wk->rows + i))
            acc_row_failed(wk, token, "a value");
}

static void residual_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                          const int32_t *isum, float scale)
{
    float *x = b->x + (size_t)token * b->d.x_stride + row;
    b->k->scale(isum, w->rscale + row, scale, NULL, wk->rows, n);
    for (uint32_t i = 0; i < n; i++) x[i] += wk->rows[i];
}

/* The gate waits in the worker for the same rows of `up`. */
static void gate_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                      const int32_t *isum, float scale)
{
    size_t stride = (size_t)acc_blocks_per_call(b->n, 1) * ACC_TILE_ROWS;
    b->k->scale(isum, w->rscale + row, scale, NULL, wk->gate + token * stride, n);
}

static void up_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                    const int32_t *isum, float scale)
{
    size_t stride = (size_t)acc_blocks_per_call(b->n, 1) * ACC_TILE_ROWS;
    b->k->scale(isum, w->rscale + row, scale, NULL, wk->rows, n);
    b->k->silu_mul(wk->gate + token * stride, wk->rows, b->ff + (size_t)token * b->d.ff_stride + row, n);
}

static void logits_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                        const int32_t *isum, float scale)
{
    float *y = b->logits[token] + row;
    b->k->scale(isum, w->rscale + row, scale, NULL, y, n);
    unsigned bad = 0;
    for (uint32_t i = 0; i < n; i++) bad |= !(fabsf(y[i]) <= __FLT_MAX__);
    if (bad) acc_row_failed(wk, b->logit_rows[token], "the logits");
}

/* ---- phases: jobs of the pool ---- */

/* The least that decode takes at a time, in bytes of weights: a call has a price of its own. */
#define LEAST_BYTES 131072u

/* The worker's next items of a matrix. */
static bool take(acc_batch *b, uint32_t worker, const acc_weight *w, uint32_t *begin, uint32_t *end)
{
    const uint32_t n = b->src.n_tokens, each = (uint32_t)(acc_weight_tiles_bytes(w) / w->row_blocks);
    uint32_t least = 1;
    if (n == 1) {
        least = b->k->w[w->format].run;
        if ((uint64_t)least * each < LEAST_BYTES) least = LEAST_BYTES / each;
    }
    return acc_items_take(b->left, b->n_workers, worker, least, acc_blocks_per_call(n, 1) * b->cuts, begin, end);
}

static uint32_t units(const acc_weight *w, uint32_t unit)
{
    return (w->row_blocks + unit - 1) / unit;
}

/* What storing a row block of keys or values costs, in bytes of weights that decode reads in that time: by clock
 * readings around the job with SmolLM2's shape, AVX2, where without it one of two threads took 1.7 times as long as the
 * other. */
#define STORE_BYTES 15000u

/* The items of q, k and v stand in a line, those of k and v being whole KV heads. Shares cost the same. */
static void deal_qkv(const acc_batch *b, uint32_t n_q, uint32_t n_kv)
{
    const acc_packed_layer *l = &b->m->layers[b->layer];
    const uint64_t q = acc_weight_tiles_bytes(&l->q) / l->q.row_blocks;
    const uint64_t kv = (acc_weight_tiles_bytes(&l->k) / l->k.row_blocks + STORE_BYTES) * b->d.kv_unit;
    const uint64_t all_q = n_q * q, all = all_q + n_kv * kv;
    for (uint32_t w = 0, begin = 0; w < b->n_workers; w++) {
        const uint64_t at = all * (w + 1) / b->n_workers;
        const uint32_t end = (uint32_t)(at <= all_q ? (at + q / 2) / q : n_q + (at - all_q + kv / 2) / kv);
        acc_items_give(&b->left[w], begin, end);
        begin = end;
    }
}

static void project_qkv(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    acc_worker *wk = &b->workers[worker];
    const acc_packed_layer *l = &b->m->layers[b->layer];
    acc_input in = input_of(b, wk);
    const acc_weight *w[] = {&l->q, &l->k, &l->v};
    const uint32_t unit[] = {1, b->d.kv_unit, b->d.kv_unit};
    acc_sink *const sink[] = {q_sink, k_sink, v_sink};
    uint32_t i, end;
    (void)n_workers;
    while (take(b, worker, &l->q, &i, &end)) {
        uint32_t before = 0;
        for (uint32_t j = 0; j < 3; j++) {
            const uint32_t n = units(w[j], unit[j]) * b->cuts;
            uint32_t from = i > before ? i - before : 0;
            const uint32_t to = end > before ? (end - before < n ? end - before : n) : 0;
            while (from < to) {
                acc_tile tile = acc_next_tile(b->cuts, in.n, &from, to);
                tile.rb0 *= unit[j];
                tile.rb1 = tile.rb1 * unit[j] < w[j]->row_blocks ? tile.rb1 * unit[j] : w[j]->row_blocks;
                acc_linear_run(b, wk, w[j], &in, &tile, unit[j], sink[j]);
            }
            before += n;
        }
    }
}

/* This worker's part of a phase's only matrix. */
static void project(acc_batch *b, uint32_t worker, const acc_weight *w, acc_sink *sink)
{
    acc_worker *wk = &b->workers[worker];
    acc_input in = input_of(b, wk);
    uint32_t i, end;
    while (take(b, worker, w, &i, &end))
        while (i < end) {
            const acc_tile tile = acc_next_tile(b->cuts, in.n, &i, end);
            acc_linear_run(b, wk, w, &in, &tile, 1, sink);
        }
}

static void project_out(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    (void)n_workers;
    project(b, worker, &b->m->layers[b->layer].o, residual_sink);
}

static void gate_up(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    acc_worker *wk = &b->workers[worker];
    const acc_packed_layer *l = &b->m->layers[b->layer];
    acc_input in = input_of(b, wk);
    uint32_t i, end;
    (void)n_workers;
    while (take(b, worker, &l->gate, &i, &end))
        while (i < end) {
            const acc_tile tile = acc_next_tile(b->cuts, in.n, &i, end);
            acc_linear_run(b, wk, &l->gate, &in, &tile, 1, gate_sink);
            acc_linear_run(b, wk, &l->up, &in, &tile, 1, up_sink);
        }
}

static void project_down(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    (void)n_workers;
    project(b, worker, &b->m->layers[b->layer].down, residual_sink);
}

static void project_head(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    (void)n_workers;
    project(b, worker, &b->m->output, logits_sink);
}

/* The channel scaling between output norm and lm_head is undone: the file's own affair. */
static bool write_hidden(const acc_batch *b, uint32_t row, float *to)
{
    const acc_packed *m = b->m;
    const uint32_t n = m->hp.n_embd;
    if (!acc_norm(b->x + (size_t)row * b->d.x_stride, m->output_norm, n, m->hp.norm_eps, to)) return false;
    bool finite = true;
    for (uint32_t i = 0; m->embd_scale && i < n; i++) finite &= isfinite(to[i] /= m->embd_scale[i]) != 0;
    return finite;
}

static void hidden_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_batch *b = ctx;
    uint32_t r0, r1;
    acc_share(b->n, worker, n_workers, &r0, &r1);
    for (uint32_t r = r0; r < r1; r++) {
        const acc_row *row = &b->rows[r];
        float *to = row->item->hidden;
        if (to && !write_hidden(b, r, to + (size_t)(row->pos - row->s->pos) * b->m->hp.n_embd))
            acc_row_failed(&b->workers[worker], r, "the last layer's output");
    }
}

/* ---- one after the other ---- */

/* What is not finite in a row is its session's affair alone. The session's rows go on as zeros, which harm nobody. */
static void drop_item(acc_batch *b, acc_step_item *item, const char *what)
{
    if (item->status != ACCLLM_OK) return;
    char where[24] = "output";
    if (b->layer < b->m->hp.n_layers) (void)snprintf(where, sizeof where, "layer %u", b->layer);
    acc_item_failed(b, item,
                    acc_fail(acc_item_error(b), ACCLLM_E_NUMERIC, "%s: %s is not a number or infinite", where, what));
    b->alive--;
    for (uint32_t r = 0; r < b->n; r++) {
        if (b->rows[r].item != item) continue;
        memset(b->x + (size_t)r * b->d.x_stride, 0, b->d.x_stride * sizeof *b->x);
        memset(b->q + (size_t)r * b->d.q_stride, 0, b->d.q_stride * sizeof *b->q);
        memset(b->att + (size_t)r * b->d.q_stride, 0, b->d.q_stride * sizeof *b->att);
        memset(b->ff + (size_t)r * b->d.ff_stride, 0, b->d.ff_stride * sizeof *b->ff);
    }
}

static void collect_failures(acc_batch *b, acc_worker *wk)
{
    for (uint32_t r = 0; r < b->n; r++) {
        if (wk->failed[r]) drop_item(b, b->rows[r].item, wk->failed[r]);
        wk->failed[r] = NULL;
    }
    wk->any_failed = false;
}

/* Runs a job over the items that were dealt. False: no session goes on. */
static bool phase(acc_batch *b, acc_job *job)
{
    acc_pool_run(b->rt->pool, job, b);
    for (uint32_t w = 0; w < b->n_workers; w++)
        if (b->workers[w].any_failed) collect_failures(b, &b->workers[w]);
    return b->alive > 0;
}

/* Fewer tokens than this are not worth reading weights for once more. */
#define CUT_TOKENS 8

/* The input of linear layers of n_blocks row blocks (or units of them) in all: the source's tokens, quantised, and how
 * many items each block makes. Few blocks are cut by tokens, too, so that all workers have some. */
static void prepare(acc_batch *b, const acc_source_rows *src, uint32_t n_blocks)
{
    b->src = *src;
    b->cuts = 1;
    while (n_blocks * b->cuts < 8 * b->n_workers && src->n_tokens / (2 * b->cuts) >= CUT_TOKENS) b->cuts *= 2;
    if (src->n_tokens != 1) acc_pool_run(b->rt->pool, quantise_share, b);
}

static bool linear_phase(acc_batch *b, const acc_source_rows *src, acc_job *job, uint32_t n_blocks)
{
    prepare(b, src, n_blocks);
    acc_items_deal(b->left, b->n_workers, n_blocks * b->cuts);
    return phase(b, job);
}

static bool qkv_phase(acc_batch *b)
{
    const acc_packed_layer *l = &b->m->layers[b->layer];
    const acc_source_rows norm = norm_source(b);
    const uint32_t n_kv = units(&l->k, b->d.kv_unit) + units(&l->v, b->d.kv_unit);
    prepare(b, &norm, l->q.row_blocks + n_kv);
    deal_qkv(b, l->q.row_blocks * b->cuts, n_kv * b->cuts);
    return phase(b, project_qkv);
}

static bool attention_phase(acc_batch *b)
{
    acc_items_deal(b->left, b->n_workers, acc_attend_items(b));
    return phase(b, acc_attend_some);
}

bool acc_layer_run(acc_batch *b)
{
    const acc_packed_layer *l = &b->m->layers[b->layer];
    acc_source_rows out = out_source(b), ffn = ffn_source(b), down = down_source(b);
    return qkv_phase(b) && attention_phase(b) && linear_phase(b, &out, project_out, l->o.row_blocks) &&
           linear_phase(b, &ffn, gate_up, l->gate.row_blocks) &&
           linear_phase(b, &down, project_down, l->down.row_blocks);
}

void acc_head_run(acc_batch *b)
{
    acc_source_rows head = head_source(b);
    (void)linear_phase(b, &head, project_head, b->m->output.row_blocks);
}

void acc_hidden_run(acc_batch *b)
{
    (void)phase(b, hidden_share);
}
