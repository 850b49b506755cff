/*
 * One forward step of up to `chunk` tokens (docs/numerics.md): five phases a layer, each a job of the pool. The linear
 * layers are split by row blocks, attention by query heads (decode) or by KV heads and tokens (prefill). Sums are exact
 * integers, so neither split changes a bit.
 */
#include <math.h>

#include "core/hash.h"
#include "core/memory.h"
#include "model/session.h"

static uint32_t padded(const acc_weight *w, uint32_t pad)
{
    uint32_t p = w->col_groups * w->group;
    return p > pad ? p : pad;
}

static acc_source_rows norm_source(const acc_quant_session *s)
{
    const acc_packed_layer *l = &s->m->layers[s->layer];
    uint32_t pad = padded(&l->v, padded(&l->k, padded(&l->q, 0)));
    return (acc_source_rows){s->x, l->attn_norm, s->x_stride, s->m->hp.n_embd, pad, s->n, "the input of attention"};
}

static acc_source_rows out_source(const acc_quant_session *s)
{
    uint32_t pad = padded(&s->m->layers[s->layer].o, 0);
    return (acc_source_rows){s->att, NULL, s->q_stride, s->q_dim, pad, s->n, "attention"};
}

static acc_source_rows ffn_source(const acc_quant_session *s)
{
    const acc_packed_layer *l = &s->m->layers[s->layer];
    uint32_t pad = padded(&l->gate, padded(&l->up, 0));
    static const char what[] = "the input of the feed-forward part";
    return (acc_source_rows){s->x, l->ffn_norm, s->x_stride, s->m->hp.n_embd, pad, s->n, what};
}

static acc_source_rows down_source(const acc_quant_session *s)
{
    uint32_t pad = padded(&s->m->layers[s->layer].down, 0);
    return (acc_source_rows){s->ff, NULL, s->ff_stride, s->m->hp.n_ff, pad, s->n, "the feed-forward part"};
}

static acc_source_rows head_source(const acc_quant_session *s)
{
    const float *x = s->x + (size_t)(s->n - s->n_logits) * s->x_stride;
    uint32_t pad = padded(&s->m->output, 0);
    static const char what[] = "the last layer's output";
    return (acc_source_rows){x, s->m->output_norm, s->x_stride, s->m->hp.n_embd, pad, s->n_logits, what};
}

static void quantise(const acc_quant_session *s, acc_worker *wk, uint32_t token, int8_t *a, float *scale)
{
    const acc_source_rows *src = &s->src;
    const float *x = src->x + token * src->stride;
    bool ok = src->gain ? s->k->norm_a8(x, src->gain, src->n, src->pad, s->m->hp.norm_eps, a, scale)
                        : s->k->a8(x, src->n, src->pad, a, scale);
    if (!ok) wk->failed = src->what;
}

/* Job: the codes of the phase's tokens. */
static void quantise_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_quant_session *s = ctx;
    uint32_t t0, t1;
    acc_share(s->src.n_tokens, worker, n_workers, &t0, &t1);
    for (uint32_t t = t0; t < t1; t++) quantise(s, &s->workers[worker], t, s->a8 + t * s->a8_stride, &s->a8_scale[t]);
}

/* The input of a phase. One token is quantised by every worker for itself, which costs less than a barrier; more were
 * quantised by a job of their own. */
static acc_input input_of(acc_quant_session *s, acc_worker *wk)
{
    if (s->src.n_tokens != 1) return (acc_input){s->a8, s->a8_stride, s->a8_scale, s->src.n_tokens};
    quantise(s, wk, 0, wk->a8, &wk->a8_scale);
    return (acc_input){wk->a8, s->a8_stride, &wk->a8_scale, 1};
}

/* ---- sinks ---- */

static void q_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                   const int32_t *isum, float scale)
{
    (void)wk;
    const float *bias = s->m->layers[s->layer].q_bias;
    s->k->scale(isum, w->rscale + row, scale, bias ? bias + row : NULL, s->q + (size_t)token * s->q_stride + row, n);
}

static void k_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                   const int32_t *isum, float scale)
{
    const acc_packed_layer *l = &s->m->layers[s->layer];
    uint32_t hd = s->m->hp.head_dim;
    s->k->scale(isum, w->rscale + row, scale, l->k_bias ? l->k_bias + row : NULL, wk->rows, n);
    for (uint32_t i = 0; i < n; i += hd)
        if (!acc_kv_store_key(s->kv, s->layer, (row + i) / hd, s->pos + token, wk->rows + i,
                              l->k_mean ? l->k_mean + row + i : NULL, l->q_direction ? l->q_direction + row + i : NULL))
            wk->failed = "a key";
}

static void v_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                   const int32_t *isum, float scale)
{
    const float *bias = s->m->layers[s->layer].v_bias;
    uint32_t hd = s->m->hp.head_dim;
    s->k->scale(isum, w->rscale + row, scale, bias ? bias + row : NULL, wk->rows, n);
    for (uint32_t i = 0; i < n; i += hd)
        if (!acc_kv_store_value(s->kv, s->layer, (row + i) / hd, s->pos + token, wk->rows + i)) wk->failed = "a value";
}

static void residual_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row,
                          uint32_t n, const int32_t *isum, float scale)
{
    float *x = s->x + (size_t)token * s->x_stride + row;
    s->k->scale(isum, w->rscale + row, scale, NULL, wk->rows, n);
    for (uint32_t i = 0; i < n; i++) x[i] += wk->rows[i];
}

/* The gate waits in the worker for the same rows of `up`. */
static void gate_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row,
                      uint32_t n, const int32_t *isum, float scale)
{
    size_t stride = (size_t)acc_blocks_per_call(s->n, 1) * ACC_TILE_ROWS;
    s->k->scale(isum, w->rscale + row, scale, NULL, wk->gate + token * stride, n);
}

static void up_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                    const int32_t *isum, float scale)
{
    size_t stride = (size_t)acc_blocks_per_call(s->n, 1) * ACC_TILE_ROWS;
    s->k->scale(isum, w->rscale + row, scale, NULL, wk->rows, n);
    s->k->silu_mul(wk->gate + token * stride, wk->rows, s->ff + (size_t)token * s->ff_stride + row, n);
}

static void logits_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row,
                        uint32_t n, const int32_t *isum, float scale)
{
    float *y = s->logits + (size_t)token * s->m->hp.n_vocab + row;
    s->k->scale(isum, w->rscale + row, scale, NULL, y, n);
    unsigned bad = 0;
    for (uint32_t i = 0; i < n; i++) bad |= !(fabsf(y[i]) <= __FLT_MAX__);
    if (bad) wk->failed = "the logits";
}

/* ---- phases: jobs of the pool ---- */

static void project_qkv(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_quant_session *s = ctx;
    acc_worker *wk = &s->workers[worker];
    const acc_packed_layer *l = &s->m->layers[s->layer];
    acc_input in = input_of(s, wk);
    uint32_t total = l->q.row_blocks + l->k.row_blocks + l->v.row_blocks, rb0, rb1;
    acc_linear_share(total, 0, &l->q, 1, worker, n_workers, &rb0, &rb1);
    acc_linear_run(s, wk, &l->q, &in, rb0, rb1, 1, q_sink);
    acc_linear_share(total, l->q.row_blocks, &l->k, s->kv_unit, worker, n_workers, &rb0, &rb1);
    acc_linear_run(s, wk, &l->k, &in, rb0, rb1, s->kv_unit, k_sink);
    acc_linear_share(total, l->q.row_blocks + l->k.row_blocks, &l->v, s->kv_unit, worker, n_workers, &rb0, &rb1);
    acc_linear_run(s, wk, &l->v, &in, rb0, rb1, s->kv_unit, v_sink);
}

static void attend_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_quant_session *s = ctx;
    acc_worker *wk = &s->workers[worker];
    uint32_t i0, i1, g = s->group;
    if (s->n == 1) { /* by query heads; a KV head's group may be cut */
        acc_share(s->m->hp.n_heads, worker, n_workers, &i0, &i1);
        for (uint32_t h = i0, end; h < i1; h = end) {
            end = (h / g + 1) * g;
            if (end > i1) end = i1;
            acc_attend(s, wk, 0, h / g, h, end - h);
        }
        return;
    }
    acc_share(s->m->hp.n_kv_heads * s->n, worker, n_workers, &i0, &i1);
    for (uint32_t i = i0; i < i1; i++) acc_attend(s, wk, i % s->n, i / s->n, i / s->n * g, g);
}

/* This worker's share of a phase's only matrix. */
static void project(acc_quant_session *s, uint32_t worker, uint32_t n_workers, const acc_weight *w, acc_sink *sink)
{
    acc_worker *wk = &s->workers[worker];
    acc_input in = input_of(s, wk);
    uint32_t rb0, rb1;
    acc_linear_share(w->row_blocks, 0, w, 1, worker, n_workers, &rb0, &rb1);
    acc_linear_run(s, wk, w, &in, rb0, rb1, 1, sink);
}

static void project_out(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_quant_session *s = ctx;
    project(s, worker, n_workers, &s->m->layers[s->layer].o, residual_sink);
}

static void gate_up(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_quant_session *s = ctx;
    acc_worker *wk = &s->workers[worker];
    const acc_packed_layer *l = &s->m->layers[s->layer];
    acc_input in = input_of(s, wk);
    uint32_t rb0, rb1, step = acc_blocks_per_call(s->n, 1);
    acc_linear_share(l->gate.row_blocks, 0, &l->gate, 1, worker, n_workers, &rb0, &rb1);
    for (uint32_t rb = rb0, next; rb < rb1; rb = next) {
        next = rb1 - rb > step ? rb + step : rb1;
        acc_linear_run(s, wk, &l->gate, &in, rb, next, 1, gate_sink);
        acc_linear_run(s, wk, &l->up, &in, rb, next, 1, up_sink);
    }
}

static void project_down(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_quant_session *s = ctx;
    project(s, worker, n_workers, &s->m->layers[s->layer].down, residual_sink);
}

static void project_head(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_quant_session *s = ctx;
    project(s, worker, n_workers, &s->m->output, logits_sink);
}

/* ---- the step ---- */

/* A phase over the source's tokens, or over what the session holds otherwise (src NULL). */
static accllm_status phase(acc_quant_session *s, const acc_source_rows *src, acc_job *job, accllm_error *err)
{
    if (src) {
        s->src = *src;
        if (src->n_tokens != 1) acc_pool_run(s->rt->pool, quantise_share, s);
    }
    acc_pool_run(s->rt->pool, job, s);
    for (uint32_t w = 0; w < s->n_workers; w++) {
        if (!s->workers[w].failed) continue;
        if (s->layer == s->m->hp.n_layers)
            return acc_fail(err, ACCLLM_E_NUMERIC, "output: %s is not a number or infinite", s->workers[w].failed);
        return acc_fail(err, ACCLLM_E_NUMERIC, "layer %u: %s is not a number or infinite", s->layer,
                        s->workers[w].failed);
    }
    return ACCLLM_OK;
}

static accllm_status run_layer(acc_quant_session *s, accllm_error *err)
{
    ACC_TRY(acc_check_abort(s->rt, err));
    acc_source_rows norm = norm_source(s), out = out_source(s), ffn = ffn_source(s), down = down_source(s);
    ACC_TRY(phase(s, &norm, project_qkv, err));
    ACC_TRY(phase(s, NULL, attend_share, err));
    ACC_TRY(phase(s, &out, project_out, err));
    ACC_TRY(phase(s, &ffn, gate_up, err));
    ACC_TRY(phase(s, &down, project_down, err));
    for (uint32_t t = 0; s->trace && t < s->n; t++)
        s->layer_hash[s->layer] =
            acc_fnv1a(s->layer_hash[s->layer], s->x + (size_t)t * s->x_stride, s->m->hp.n_embd * sizeof *s->x);
    return ACCLLM_OK;
}

static accllm_status forward(acc_quant_session *s, accllm_error *err)
{
    for (s->layer = 0; s->layer < s->m->hp.n_layers; s->layer++) ACC_TRY(run_layer(s, err));
    if (s->n_logits == 0) return ACCLLM_OK;
    acc_source_rows head = head_source(s);
    ACC_TRY(phase(s, &head, project_head, err));
    if (s->trace)
        s->logits_hash =
            acc_fnv1a(s->logits_hash, s->logits, (size_t)s->n_logits * s->m->hp.n_vocab * sizeof *s->logits);
    return ACCLLM_OK;
}

accllm_status acc_step(acc_quant_session *s, const int32_t *ids, uint32_t n, uint32_t n_logits, float *logits,
                       accllm_error *err)
{
    uint32_t n_vocab = s->m->hp.n_vocab;
    if (s->broken) return acc_fail(err, ACCLLM_E_ARG, "the session failed before and was not reset");
    if (n == 0 || n > s->chunk || n_logits > n)
        return acc_fail(err, ACCLLM_E_ARG, "step of %u tokens and %u logits; the chunk is %u", n, n_logits, s->chunk);
    if (s->full && n > s->limit - s->pos)
        return acc_fail(err, ACCLLM_E_LIMIT, "the context of %u tokens is full", s->limit);
    if (s->pos > UINT64_MAX - n) return acc_fail(err, ACCLLM_E_LIMIT, "the position exceeds 64 bits");
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab)
            return acc_fail(err, ACCLLM_E_ARG, "token %d is not in the vocabulary of %u", ids[i], n_vocab);
    for (uint32_t i = 0; i < n; i++) acc_packed_embed(s->m, (uint32_t)ids[i], s->x + (size_t)i * s->x_stride);
    for (uint32_t w = 0; w < s->n_workers; w++) s->workers[w].failed = NULL;
    s->n = n;
    s->n_logits = n_logits;
    s->logits = logits;
    accllm_status status = forward(s, err);
    s->broken = status != ACCLLM_OK;
    if (status == ACCLLM_OK) s->pos += n;
    return status;
}
