/* One transformer block of the float reference and its scratch; whole sequences for calibration. */
#include <string.h>

#include "reference/internal.h"

static accllm_status take(acc_ref_work *w, float **out, size_t n, size_t width, accllm_error *err)
{
    size_t floats;
    if (!acc_mul(n, width, &floats)) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: activations");
    w->bytes += (uint64_t)floats * sizeof **out;
    return acc_alloc((void **)out, floats, sizeof **out, "activations of the float reference", err);
}

static accllm_status take_all(acc_ref_work *w, bool whole, accllm_error *err)
{
    const acc_hparams *hp = &w->hp;
    size_t n = w->max_tokens, q = (size_t)hp->n_heads * hp->head_dim, kv = (size_t)hp->n_kv_heads * hp->head_dim;
    ACC_TRY(take(w, &w->norm, n, hp->n_embd, err));
    ACC_TRY(take(w, &w->q, n, q, err));
    ACC_TRY(take(w, &w->att, n, q, err));
    ACC_TRY(take(w, &w->k, n, kv, err));
    ACC_TRY(take(w, &w->v, n, kv, err));
    ACC_TRY(take(w, &w->gate, n, hp->n_ff, err));
    ACC_TRY(take(w, &w->up, n, hp->n_ff, err));
    float **angles[] = {&w->cos,      &w->sin,      &w->sink_cos, &w->sink_sin,
                        &w->page_cos, &w->page_sin, &w->base_cos, &w->base_sin};
    for (int i = 0; i < 8; i++) ACC_TRY(take(w, angles[i], n, hp->head_dim / 2, err));
    if (!whole) return ACCLLM_OK;
    ACC_TRY(take(w, &w->seq_k, n, kv, err));
    return take(w, &w->seq_v, n, kv, err);
}

accllm_status acc_ref_work_init(acc_ref_work **out, const acc_hparams *hp, uint32_t max_tokens, uint64_t max_keys,
                                bool whole, accllm_error *err)
{
    *out = NULL;
    if (max_tokens == 0) return acc_fail(err, ACCLLM_E_ARG, "a chunk must have at least one token");
    acc_ref_work *w = acc_calloc(1, sizeof *w);
    if (!w) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: float reference");
    w->hp = *hp;
    w->max_tokens = max_tokens;
    w->block = acc_ref_attention_block(hp, max_tokens, max_keys);
    accllm_status s = acc_ref_attention_scratch(hp, w->block, max_keys, &w->scratch_floats)
                          ? take_all(w, whole, err)
                          : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: attention over so many positions");
    if (s != ACCLLM_OK)
        acc_ref_work_free(&w);
    else
        *out = w;
    return s;
}

accllm_status acc_ref_work_create(acc_ref_work **out, const acc_hparams *hp, uint32_t max_tokens, accllm_error *err)
{
    return acc_ref_work_init(out, hp, max_tokens, max_tokens, true, err);
}

accllm_status acc_ref_work_reserve(acc_ref_work *w, uint32_t n_workers, accllm_error *err)
{
    if (n_workers <= w->n_scratch) return ACCLLM_OK;
    float **more;
    ACC_TRY(acc_alloc((void **)&more, n_workers, sizeof *more, "scratch table", err));
    if (w->n_scratch) memcpy(more, w->scratch, w->n_scratch * sizeof *more);
    acc_free(w->scratch);
    w->scratch = more;
    for (; w->n_scratch < n_workers; w->n_scratch++)
        ACC_TRY(take(w, &w->scratch[w->n_scratch], w->scratch_floats, 1, err));
    return ACCLLM_OK;
}

void acc_ref_work_free(acc_ref_work **work)
{
    acc_ref_work *w = *work;
    if (!w) return;
    float *all[] = {w->norm,     w->q,        w->k,        w->v,        w->att,      w->gate,
                    w->up,       w->cos,      w->sin,      w->sink_cos, w->sink_sin, w->page_cos,
                    w->page_sin, w->base_cos, w->base_sin, w->seq_k,    w->seq_v};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) acc_free(all[i]);
    for (uint32_t i = 0; i < w->n_scratch; i++) acc_free(w->scratch[i]);
    acc_free(w->scratch);
    acc_free(w);
    *work = NULL;
}

acc_ref_span acc_ref_work_span(acc_ref_work *w, const acc_ref_kv *kv, uint64_t first, uint32_t n)
{
    uint32_t half = w->hp.head_dim / 2;
    uint64_t clamp = kv->sinks ? kv->sinks + kv->window - 1 : UINT64_MAX;
    acc_ref_span span = {first,       n,           w->cos,      w->sin,      w->sink_cos,
                         w->sink_sin, w->page_cos, w->page_sin, w->base_cos, w->base_sin};
    uint32_t page = kv->bits ? kv->page : 0;
    if (w->n_angles >= n && w->first == first && w->clamp == clamp && (page == 0 || w->page == page)) return span;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t t = first + i;
        size_t at = (size_t)i * half;
        acc_ref_angles(&w->hp, t, w->cos + at, w->sin + at);
        if (kv->sinks) acc_ref_angles(&w->hp, t < clamp ? t : clamp, w->sink_cos + at, w->sink_sin + at);
        if (!kv->bits) continue;
        acc_ref_angles(&w->hp, t % kv->page, w->page_cos + at, w->page_sin + at);
        acc_ref_angles(&w->hp, t - t % kv->page, w->base_cos + at, w->base_sin + at);
    }
    w->first = first;
    w->clamp = clamp;
    w->page = page;
    w->n_angles = n;
    return span;
}

static bool attention_half(accllm_runtime *rt, const acc_hparams *hp, const acc_ref_layer *l, const acc_ref_kv *kv,
                           const acc_ref_span *span, float *x, acc_ref_work *w, acc_ref_tap *tap, void *user)
{
    uint32_t n = span->n, q = hp->n_heads * hp->head_dim, k = hp->n_kv_heads * hp->head_dim;
    bool ok = true;
    if (tap) tap(user, ACC_T_ATTN_NORM, x, n, hp->n_embd);
    for (uint32_t i = 0; i < n; i++) {
        size_t at = (size_t)i * hp->n_embd;
        ok &= acc_ref_norm(x + at, l->attn_norm, hp->n_embd, hp->norm_eps, w->norm + at);
    }
    if (!ok) return false;
    if (tap) tap(user, ACC_T_ATTN_Q, w->norm, n, hp->n_embd);
    const acc_ref_matrix qkv[] = {{l->q, l->q_bias, w->q, q}, {l->k, l->k_bias, w->k, k}, {l->v, l->v_bias, w->v, k}};
    acc_ref_linear(rt, qkv, 3, w->norm, n, hp->n_embd, false);
    if (tap) tap(user, ACC_T_ATTN_K, w->k, n, k);
    if (!acc_ref_kv_put(kv, hp, span, w->k, w->v)) return false;
    acc_ref_attend(rt, kv, hp, span, w->q, w->att, w->scratch, w->block);
    if (tap) tap(user, ACC_T_ATTN_OUT, w->att, n, q);
    acc_ref_linear(rt, &(acc_ref_matrix){l->o, NULL, x, hp->n_embd}, 1, w->att, n, q, true);
    return true;
}

bool acc_ref_block(accllm_runtime *rt, const acc_hparams *hp, const acc_ref_layer *l, const acc_ref_kv *kv,
                   const acc_ref_span *span, float *x, acc_ref_work *w, acc_ref_tap *tap, void *user)
{
    uint32_t n = span->n;
    bool ok = attention_half(rt, hp, l, kv, span, x, w, tap, user);
    if (ok && tap) tap(user, ACC_T_FFN_NORM, x, n, hp->n_embd);
    for (uint32_t i = 0; ok && i < n; i++) {
        size_t at = (size_t)i * hp->n_embd;
        ok = acc_ref_norm(x + at, l->ffn_norm, hp->n_embd, hp->norm_eps, w->norm + at);
    }
    if (!ok) return false;
    if (tap) tap(user, ACC_T_FFN_GATE, w->norm, n, hp->n_embd);
    const acc_ref_matrix wide[] = {{l->gate, NULL, w->gate, hp->n_ff}, {l->up, NULL, w->up, hp->n_ff}};
    acc_ref_linear(rt, wide, 2, w->norm, n, hp->n_embd, false);
    acc_ref_silu_mul(rt, w->gate, w->up, (size_t)n * hp->n_ff, w->gate);
    if (tap) tap(user, ACC_T_FFN_DOWN, w->gate, n, hp->n_ff);
    acc_ref_linear(rt, &(acc_ref_matrix){l->down, NULL, x, hp->n_embd}, 1, w->gate, n, hp->n_ff, true);
    return true;
}

accllm_status acc_ref_layer_forward(accllm_runtime *rt, const acc_hparams *hp, const acc_ref_layer *l, float *x,
                                    uint32_t n_tokens, const acc_ref_attention *att, acc_ref_work *work,
                                    acc_ref_tap *tap, void *user, accllm_error *err)
{
    if (n_tokens == 0 || n_tokens > work->max_tokens || att->window == 0)
        return acc_fail(err, ACCLLM_E_ARG, "%u tokens (at most %u) with a window of %u", n_tokens, work->max_tokens,
                        att->window);
    ACC_TRY(acc_check_abort(rt, err));
    ACC_TRY(acc_ref_work_reserve(work, acc_pool_size(rt->pool), err));
    acc_ref_kv kv = {.sink_k = work->seq_k,
                     .sink_v = work->seq_v,
                     .ring_k = work->seq_k,
                     .ring_v = work->seq_v,
                     .sink_rows = work->max_tokens,
                     .ring_rows = work->max_tokens,
                     .sinks = att->sinks,
                     .window = att->window};
    if (kv.sinks > n_tokens) kv.sinks = n_tokens;
    acc_ref_span span = acc_ref_work_span(work, &kv, 0, n_tokens);
    if (!acc_ref_block(rt, hp, l, &kv, &span, x, work, tap, user))
        return acc_fail(err, ACCLLM_E_NUMERIC, "a value in the block's input is not a number or infinite");
    return ACCLLM_OK;
}
