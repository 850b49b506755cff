/* Blocks over batches of whole sequences, and their gradients: see tape.h. */
#include "reference/tape.h"

#include <stdatomic.h>
#include <string.h>

#include "reference/internal.h"

/* One layer's activations, but for its input. */
typedef struct kept {
    float *q, *att, *middle, *gate, *up; /* [n][...]; queries not rotated; middle: the residual between the halves */
    float *k, *v;                        /* [n_seqs][n_kv_heads][seq_len][head_dim] as the cache gives them */
} kept;

struct acc_tape {
    accllm_runtime *rt;
    acc_gemm_bf16 *bf16;
    acc_hparams hp;
    uint32_t n_seqs, seq_len, n, n_kept;
    float *inputs;      /* [n_layers][n][n_embd] */
    kept *kept;         /* [n_kept] */
    acc_ref_work *work; /* rotations and scratch of one sequence's attention */
    float *wide[4];     /* [n][widest] */
    float *again;       /* [n][n_embd]: a layer computed again */
    float *k, *v;       /* [n][kv_dim] */
    float *grad;        /* the largest matrix */
    float *inverse;     /* [n] */
    float **scratch;    /* per worker, of the attention's way back */
    uint32_t n_scratch;
};

typedef struct sizes {
    size_t q, kv, wide, grad;
} sizes;

static sizes sizes_of(const acc_hparams *hp)
{
    sizes s = {.q = (size_t)hp->n_heads * hp->head_dim, .kv = (size_t)hp->n_kv_heads * hp->head_dim};
    s.wide = s.q > hp->n_ff ? s.q : hp->n_ff;
    if (s.wide < hp->n_embd) s.wide = hp->n_embd;
    s.grad = (s.q > hp->n_ff ? s.q : hp->n_ff) * hp->n_embd;
    return s;
}

size_t acc_tape_operand(const acc_hparams *hp, uint32_t n)
{
    const sizes s = sizes_of(hp);
    return n * s.wide > s.grad ? n * s.wide : s.grad;
}

uint64_t acc_tape_bytes(const acc_hparams *hp, uint32_t n_seqs, uint32_t seq_len, bool keep_all, uint32_t n_threads)
{
    const sizes s = sizes_of(hp);
    const uint64_t n = (uint64_t)n_seqs * seq_len, layers = keep_all ? hp->n_layers : 1;
    const uint64_t one = 2 * (uint64_t)s.q + hp->n_embd + 2ull * hp->n_ff + 2 * s.kv;
    return 4 * (n * ((uint64_t)hp->n_layers * hp->n_embd + layers * one + 4 * s.wide + hp->n_embd + 2 * s.kv) + s.grad +
                (uint64_t)n_threads * acc_ref_attend_back_scratch(hp, seq_len));
}

static accllm_status take(float **out, size_t n, size_t width, accllm_error *err)
{
    size_t floats;
    if (!acc_mul(n, width, &floats)) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: training activations");
    return acc_alloc((void **)out, floats, sizeof **out, "training activations", err);
}

static accllm_status take_kept(acc_tape *t, kept *k, accllm_error *err)
{
    const sizes s = sizes_of(&t->hp);
    ACC_TRY(take(&k->q, t->n, s.q, err));
    ACC_TRY(take(&k->att, t->n, s.q, err));
    ACC_TRY(take(&k->middle, t->n, t->hp.n_embd, err));
    ACC_TRY(take(&k->gate, t->n, t->hp.n_ff, err));
    ACC_TRY(take(&k->up, t->n, t->hp.n_ff, err));
    ACC_TRY(take(&k->k, t->n, s.kv, err));
    return take(&k->v, t->n, s.kv, err);
}

static accllm_status take_all(acc_tape *t, accllm_error *err)
{
    const sizes s = sizes_of(&t->hp);
    ACC_TRY(take(&t->inputs, t->hp.n_layers, (size_t)t->n * t->hp.n_embd, err));
    ACC_TRY(acc_alloc((void **)&t->kept, t->n_kept, sizeof *t->kept, "training activations", err));
    for (uint32_t i = 0; i < t->n_kept; i++) ACC_TRY(take_kept(t, &t->kept[i], err));
    ACC_TRY(acc_ref_work_init(&t->work, &t->hp, t->seq_len, t->seq_len, false, err));
    ACC_TRY(acc_ref_work_reserve(t->work, t->n_scratch, err));
    for (int i = 0; i < 4; i++) ACC_TRY(take(&t->wide[i], t->n, s.wide, err));
    ACC_TRY(take(&t->again, t->n, t->hp.n_embd, err));
    ACC_TRY(take(&t->k, t->n, s.kv, err));
    ACC_TRY(take(&t->v, t->n, s.kv, err));
    ACC_TRY(take(&t->grad, s.grad, 1, err));
    ACC_TRY(take(&t->inverse, t->n, 1, err));
    ACC_TRY(acc_alloc((void **)&t->scratch, t->n_scratch, sizeof *t->scratch, "scratch table", err));
    for (uint32_t i = 0; i < t->n_scratch; i++)
        ACC_TRY(take(&t->scratch[i], acc_ref_attend_back_scratch(&t->hp, t->seq_len), 1, err));
    return ACCLLM_OK;
}

accllm_status acc_tape_create(acc_tape **out, accllm_runtime *rt, const acc_hparams *hp, uint32_t n_seqs,
                              uint32_t seq_len, bool keep_all, acc_gemm_bf16 *bf16, accllm_error *err)
{
    *out = NULL;
    if (n_seqs == 0 || seq_len < 2 || (uint64_t)n_seqs * seq_len > UINT32_MAX / 64)
        return acc_fail(err, ACCLLM_E_ARG, "a batch of %u sequences of %u tokens", n_seqs, seq_len);
    acc_tape *t = acc_calloc(1, sizeof *t);
    if (!t) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: training activations");
    t->rt = rt;
    t->bf16 = bf16;
    t->hp = *hp;
    t->n_seqs = n_seqs;
    t->seq_len = seq_len;
    t->n = n_seqs * seq_len;
    t->n_kept = keep_all ? hp->n_layers : 1;
    t->n_scratch = acc_pool_size(rt->pool);
    accllm_status s = take_all(t, err);
    if (s != ACCLLM_OK)
        acc_tape_free(&t);
    else
        *out = t;
    return s;
}

static void kept_free(kept *k)
{
    float *all[] = {k->q, k->att, k->middle, k->gate, k->up, k->k, k->v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
}

void acc_tape_free(acc_tape **tape)
{
    acc_tape *t = *tape;
    if (!t) return;
    for (uint32_t i = 0; t->kept && i < t->n_kept; i++) kept_free(&t->kept[i]);
    for (uint32_t i = 0; t->scratch && i < t->n_scratch; i++) acc_free(t->scratch[i]);
    float *all[] = {t->inputs, t->wide[0], t->wide[1], t->wide[2], t->wide[3],
                    t->again,  t->k,       t->v,       t->grad,    t->inverse};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
    acc_ref_work_free(&t->work);
    acc_free(t->scratch);
    acc_free(t->kept);
    acc_free(t);
    *tape = NULL;
}

/* One sequence's cache in a layer's kept keys and values. */
static acc_ref_kv sequence_kv(const acc_tape *t, const kept *k, const acc_tape_rules *r, uint32_t layer, uint32_t seq)
{
    const size_t kv_dim = (size_t)t->hp.n_kv_heads * t->hp.head_dim, at = (size_t)seq * t->seq_len * kv_dim;
    return (acc_ref_kv){.sink_k = k->k + at,
                        .sink_v = k->v + at,
                        .ring_k = k->k + at,
                        .ring_v = k->v + at,
                        .sink_rows = t->seq_len,
                        .ring_rows = t->seq_len,
                        .sinks = r->sinks < t->seq_len ? r->sinks : t->seq_len,
                        .window = r->window,
                        .bits = r->kv_bits,
                        .page = r->page,
                        .k_mean = r->k_mean ? r->k_mean + layer * kv_dim : NULL,
                        .q_direction = r->q_direction ? r->q_direction + layer * kv_dim : NULL};
}

/* y [n][rows] (+)= x [n][cols] w^T + bias (NULL: none). */
static void linear(const acc_tape *t, const float *w, const float *bias, uint32_t rows, uint32_t cols, const float *x,
                   float *y, bool add)
{
    acc_gemm g = acc_gemm_dense(t->n, rows, cols, x, false, w, true, y, add);
    g.bf16 = t->bf16;
    acc_gemm_run(t->rt->pool, &g);
    for (uint32_t i = 0; bias && i < t->n; i++)
        for (uint32_t r = 0; r < rows; r++) y[(size_t)i * rows + r] += bias[r];
}

/* Keys and values of all sequences, one sequence at a time for each thread. */
typedef struct put_job {
    const acc_tape *t;
    const acc_tape_rules *rules;
    const kept *k;
    const acc_ref_span *span;
    uint32_t layer;
    atomic_uint next;
    atomic_bool bad;
} put_job;

static void put_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)worker;
    (void)n_workers;
    put_job *j = ctx;
    const acc_tape *t = j->t;
    const size_t rows = (size_t)t->seq_len * t->hp.n_kv_heads * t->hp.head_dim;
    for (;;) {
        const uint32_t s = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
        if (s >= t->n_seqs) return;
        const acc_ref_kv kv = sequence_kv(t, j->k, j->rules, j->layer, s);
        if (!acc_ref_kv_put(&kv, &t->hp, j->span, t->k + s * rows, t->v + s * rows)) atomic_store(&j->bad, true);
    }
}

static bool attention(acc_tape *t, const acc_tape_rules *r, uint32_t layer, kept *k)
{
    const size_t q_dim = (size_t)t->hp.n_heads * t->hp.head_dim;
    const acc_ref_kv first = sequence_kv(t, k, r, layer, 0);
    const acc_ref_span span = acc_ref_work_span(t->work, &first, 0, t->seq_len);
    put_job j = {.t = t, .rules = r, .k = k, .span = &span, .layer = layer};
    acc_pool_run(t->rt->pool, put_worker, &j);
    if (atomic_load(&j.bad)) return false;
    for (uint32_t s = 0; s < t->n_seqs; s++) {
        const acc_ref_kv kv = sequence_kv(t, k, r, layer, s);
        const size_t row = (size_t)s * t->seq_len;
        acc_ref_attend(t->rt, &kv, &t->hp, &span, k->q + row * q_dim, k->att + row * q_dim, t->work->scratch,
                       t->work->block);
    }
    if (r->a8) acc_tape_a8(t->rt, k->att, t->n, (uint32_t)q_dim);
    return true;
}

static void feed_forward_input(acc_tape *t, const acc_tape_rules *r, const kept *k, float *y)
{
    acc_ref_silu_mul(t->rt, k->gate, k->up, (size_t)t->n * t->hp.n_ff, y);
    if (r->a8) acc_tape_a8(t->rt, y, t->n, t->hp.n_ff);
}

static bool block_forward(acc_tape *t, const acc_ref_layer *l, const acc_tape_rules *r, uint32_t layer, kept *k,
                          float *x)
{
    const acc_hparams *hp = &t->hp;
    const uint32_t q = hp->n_heads * hp->head_dim, kv = hp->n_kv_heads * hp->head_dim, d = hp->n_embd;
    if (!acc_tape_norm(t->rt, x, l->attn_norm, t->n, d, hp->norm_eps, r->a8, t->wide[0])) return false;
    linear(t, l->q, l->q_bias, q, d, t->wide[0], k->q, false);
    linear(t, l->k, l->k_bias, kv, d, t->wide[0], t->k, false);
    linear(t, l->v, l->v_bias, kv, d, t->wide[0], t->v, false);
    if (!attention(t, r, layer, k)) return false;
    linear(t, l->o, NULL, d, q, k->att, x, true);
    memcpy(k->middle, x, (size_t)t->n * d * sizeof *x);
    if (!acc_tape_norm(t->rt, x, l->ffn_norm, t->n, d, hp->norm_eps, r->a8, t->wide[0])) return false;
    linear(t, l->gate, NULL, hp->n_ff, d, t->wide[0], k->gate, false);
    linear(t, l->up, NULL, hp->n_ff, d, t->wide[0], k->up, false);
    feed_forward_input(t, r, k, t->wide[0]);
    linear(t, l->down, NULL, d, hp->n_ff, t->wide[0], x, true);
    return true;
}

static float *input_of(const acc_tape *t, uint32_t layer)
{
    return t->inputs + (size_t)layer * t->n * t->hp.n_embd;
}

static accllm_status bad_value(uint32_t layer, accllm_error *err)
{
    return acc_fail(err, ACCLLM_E_NUMERIC, "layer %u: a value is not a number, infinite or has no code", layer);
}

accllm_status acc_tape_forward(acc_tape *t, const acc_ref_layer *layers, const acc_tape_rules *rules, float *x,
                               bool keep, accllm_error *err)
{
    for (uint32_t l = 0; l < t->hp.n_layers; l++) {
        if (keep) memcpy(input_of(t, l), x, (size_t)t->n * t->hp.n_embd * sizeof *x);
        kept *k = &t->kept[keep && t->n_kept > 1 ? l : 0];
        if (!block_forward(t, &layers[l], rules, l, k, x)) return bad_value(l, err);
    }
    return ACCLLM_OK;
}

/* ---- the way back ---- */

typedef struct way_back {
    acc_tape *t;
    uint32_t layer;
    const acc_tape_sink *sink;
} way_back;

/* dx [n][cols] (+)= dy [n][rows] w, w [rows][cols]. */
static void through_matrix(const way_back *b, const float *w, uint32_t rows, uint32_t cols, const float *dy, float *dx,
                           bool add)
{
    acc_gemm g = acc_gemm_dense(b->t->n, cols, rows, dy, false, w, false, dx, add);
    g.bf16 = b->t->bf16;
    acc_gemm_run(b->t->rt->pool, &g);
}

/* The gradient dy by what a matrix [rows][cols] gave, handed on; dy^T x by the matrix; and by its bias. */
static void by_matrix(const way_back *b, acc_tensor_id id, uint32_t rows, uint32_t cols, const float *dy,
                      const float *x, const float *bias, acc_tensor_id bias_id)
{
    acc_tape *t = b->t;
    if (b->sink->output) b->sink->output(b->sink->user, id, b->layer, dy, t->n, rows);
    if (!b->sink->gradient) return;
    acc_gemm g = acc_gemm_dense(rows, cols, t->n, dy, true, x, false, t->grad, false);
    g.bf16 = t->bf16;
    acc_gemm_run(t->rt->pool, &g);
    b->sink->gradient(b->sink->user, id, b->layer, t->grad);
    if (!bias) return;
    memset(t->grad, 0, rows * sizeof *t->grad);
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t r = 0; r < rows; r++) t->grad[r] += dy[(size_t)i * rows + r];
    b->sink->gradient(b->sink->user, bias_id, b->layer, t->grad);
}

static void by_norm(const way_back *b, acc_tensor_id id, const float *x, const float *g, const float *dy, float *dx)
{
    acc_tape *t = b->t;
    acc_tape_norm_back(t->rt, x, g, dy, t->n, t->hp.n_embd, t->hp.norm_eps, dx, t->grad, t->inverse);
    if (b->sink->gradient) b->sink->gradient(b->sink->user, id, b->layer, t->grad);
}

static bool feed_forward_back(const way_back *b, const acc_ref_layer *l, const acc_tape_rules *r, const kept *k,
                              float *dx)
{
    acc_tape *t = b->t;
    const uint32_t d = t->hp.n_embd, ff = t->hp.n_ff;
    float *act = t->wide[0], *dact = t->wide[1], *h = t->wide[2], *dh = t->wide[3];
    feed_forward_input(t, r, k, act);
    through_matrix(b, l->down, d, ff, dx, dact, false);
    by_matrix(b, ACC_T_FFN_DOWN, d, ff, dx, act, NULL, 0);
    float *dgate = act, *dup = dact;
    acc_tape_silu_back(t->rt, k->gate, k->up, dact, (size_t)t->n * ff, dgate, dup);
    if (!acc_tape_norm(t->rt, k->middle, l->ffn_norm, t->n, d, t->hp.norm_eps, r->a8, h)) return false;
    through_matrix(b, l->gate, ff, d, dgate, dh, false);
    through_matrix(b, l->up, ff, d, dup, dh, true);
    by_matrix(b, ACC_T_FFN_GATE, ff, d, dgate, h, NULL, 0);
    by_matrix(b, ACC_T_FFN_UP, ff, d, dup, h, NULL, 0);
    by_norm(b, ACC_T_FFN_NORM, k->middle, l->ffn_norm, dh, dx);
    return true;
}

static bool attention_half_back(const way_back *b, const acc_ref_layer *l, const acc_tape_rules *r, const kept *k,
                                float *dx)
{
    acc_tape *t = b->t;
    const uint32_t d = t->hp.n_embd, q = t->hp.n_heads * t->hp.head_dim, kv = t->hp.n_kv_heads * t->hp.head_dim;
    float *h = t->wide[0], *datt = t->wide[1], *dq = t->wide[2], *dh = t->wide[3];
    through_matrix(b, l->o, d, q, dx, datt, false);
    by_matrix(b, ACC_T_ATTN_OUT, d, q, dx, k->att, NULL, 0);
    const acc_ref_kv first = sequence_kv(t, k, r, b->layer, 0);
    const acc_ref_span span = acc_ref_work_span(t->work, &first, 0, t->seq_len);
    const acc_ref_attend_back a = {k->q, k->k, k->v, datt, dq, t->k, t->v, first.sinks, first.window};
    acc_ref_attend_backward(t->rt, &t->hp, &a, t->n_seqs, &span, t->scratch);
    if (!acc_tape_norm(t->rt, input_of(t, b->layer), l->attn_norm, t->n, d, t->hp.norm_eps, r->a8, h)) return false;
    through_matrix(b, l->q, q, d, dq, dh, false);
    through_matrix(b, l->k, kv, d, t->k, dh, true);
    through_matrix(b, l->v, kv, d, t->v, dh, true);
    by_matrix(b, ACC_T_ATTN_Q, q, d, dq, h, l->q_bias, ACC_T_ATTN_Q_BIAS);
    by_matrix(b, ACC_T_ATTN_K, kv, d, t->k, h, l->k_bias, ACC_T_ATTN_K_BIAS);
    by_matrix(b, ACC_T_ATTN_V, kv, d, t->v, h, l->v_bias, ACC_T_ATTN_V_BIAS);
    by_norm(b, ACC_T_ATTN_NORM, input_of(t, b->layer), l->attn_norm, dh, dx);
    return true;
}

accllm_status acc_tape_backward(acc_tape *t, const acc_ref_layer *layers, const acc_tape_rules *rules, float *dx,
                                const acc_tape_sink *sink, accllm_error *err)
{
    const size_t floats = (size_t)t->n * t->hp.n_embd;
    for (uint32_t l = t->hp.n_layers; l-- > 0;) {
        const way_back b = {t, l, sink};
        kept *k = &t->kept[t->n_kept > 1 ? l : 0];
        if (t->n_kept == 1) { /* only its input was kept */
            memcpy(t->again, input_of(t, l), floats * sizeof *dx);
            if (!block_forward(t, &layers[l], rules, l, k, t->again)) return bad_value(l, err);
        }
        if (!feed_forward_back(&b, &layers[l], rules, k, dx)) return bad_value(l, err);
        if (!attention_half_back(&b, &layers[l], rules, k, dx)) return bad_value(l, err);
    }
    return ACCLLM_OK;
}
