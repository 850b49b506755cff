/* A session of the float reference: a float KV cache, full or a ring behind sinks. */
#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "reference/internal.h"

typedef struct ref_session {
    acc_ref_model *m;
    acc_ref_kv kv;  /* sinks, window and rows; the pointers are set per layer */
    float *cache;   /* [n_layers][2][sink_rows + ring_rows + near_rows][n_kv_heads * head_dim] */
    size_t part;    /* floats of one layer's keys */
    uint64_t limit; /* positions that fit with full attention, else no limit */
    uint32_t chunk;
    uint64_t position;
    uint64_t stored; /* positions that were ever stored since the reset: some may lie ahead of position */
    float *x;        /* [chunk][n_embd] */
    acc_ref_work *work;
    bool trace;
    uint64_t hash, bytes;
} ref_session;

/* The cache's shape from the parameters. */
static accllm_status shape(ref_session *s, const accllm_session_params *p, accllm_error *err)
{
    const acc_hparams *hp = &s->m->hp;
    uint64_t trained = hp->n_ctx_train ? hp->n_ctx_train : 2048, rows;
    s->chunk = p->chunk ? p->chunk : 128;
    s->kv.bits = p->kv_bits == 32 ? 0 : p->kv_bits;
    s->kv.page = s->m->page;
    if (s->kv.bits != 0 && s->kv.bits != 4 && s->kv.bits != 8)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the float reference has no %u-bit cache", p->kv_bits);
    s->kv.near = s->kv.bits == 4 ? p->kv_near : 0;
    s->kv.near_rows = s->kv.near ? s->kv.near + s->chunk : 0;
    if (s->kv.near > ACC_MAX_NEAR)
        return acc_fail(err, ACCLLM_E_ARG, "%u near positions: at most %d", s->kv.near, ACC_MAX_NEAR);
    if (p->full_attention) {
        rows = s->limit = p->n_ctx ? p->n_ctx : trained;
        s->kv.window = UINT64_MAX / 2;
        if (rows > trained && !p->force)
            return acc_fail(err, ACCLLM_E_LIMIT, "%llu positions are more than the trained context of %llu",
                            (unsigned long long)rows, (unsigned long long)trained);
    } else {
        s->limit = UINT64_MAX;
        uint64_t few = trained > 4 ? 4 : 0;
        s->kv.sinks = p->sinks == UINT32_MAX ? (uint32_t)few : p->sinks;
        uint64_t left = trained > s->kv.sinks ? trained - s->kv.sinks : 1;
        s->kv.window = p->window ? p->window : left < 2048 ? left : 2048;
        if (s->kv.sinks > ACC_MAX_SINKS)
            return acc_fail(err, ACCLLM_E_ARG, "%u sinks: at most %u", s->kv.sinks, ACC_MAX_SINKS);
        if (s->kv.sinks + s->kv.window > trained && !p->force)
            return acc_fail(err, ACCLLM_E_LIMIT, "%u sinks and a window of %llu exceed the trained context of %llu",
                            s->kv.sinks, (unsigned long long)s->kv.window, (unsigned long long)trained);
        rows = s->kv.window + s->chunk; /* a chunk must not overwrite keys that its first queries need */
    }
    s->kv.sink_rows = s->kv.sinks;
    if (rows > UINT32_MAX - ACC_MAX_SINKS) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: KV cache");
    s->kv.ring_rows = (uint32_t)rows;
    return ACCLLM_OK;
}

static void session_free(void *self)
{
    ref_session *s = self;
    if (!s) return;
    acc_ref_work_free(&s->work);
    acc_free(s->cache);
    acc_free(s->x);
    acc_free(s);
}

static accllm_status allocate(ref_session *s, accllm_error *err)
{
    const acc_hparams *hp = &s->m->hp;
    size_t width = (size_t)hp->n_kv_heads * hp->head_dim, floats;
    if (!acc_mul((size_t)s->kv.sink_rows + s->kv.ring_rows + s->kv.near_rows, width, &s->part) ||
        !acc_mul(s->part, (size_t)2 * hp->n_layers, &floats))
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: KV cache");
    ACC_TRY(acc_alloc((void **)&s->cache, floats, sizeof *s->cache, "KV cache", err));
    ACC_TRY(acc_alloc((void **)&s->x, (size_t)s->chunk * hp->n_embd, sizeof *s->x, "residual", err));
    uint64_t keys = (uint64_t)s->kv.sink_rows + s->kv.ring_rows + s->kv.near_rows;
    uint64_t seen = s->limit == UINT64_MAX ? s->kv.sinks + s->kv.window + ACC_REF_BLOCK : s->limit;
    if (s->kv.near) seen += ACC_REF_BLOCK; /* what is near to some queries of a block only stands there twice */
    ACC_TRY(acc_ref_work_init(&s->work, hp, s->chunk, seen < keys ? seen : keys, false, err));
    ACC_TRY(acc_ref_work_reserve(s->work, acc_pool_size(s->m->rt->pool), err));
    s->bytes = sizeof *s + (floats + (size_t)s->chunk * hp->n_embd) * sizeof(float) + s->work->bytes;
    return ACCLLM_OK;
}

static void session_reset(void *self)
{
    ref_session *s = self;
    s->position = s->stored = 0;
    s->hash = ACC_FNV_START;
}

static bool session_rewind(void *self, uint64_t position)
{
    ref_session *s = self;
    uint64_t begin = acc_ref_last(position, s->kv.window), near = acc_ref_last(position, s->kv.near);
    if (begin < s->kv.sinks) begin = s->kv.sinks;
    if (begin < position && s->stored - begin > s->kv.ring_rows) return false;
    if (near < begin) near = begin;
    if (s->kv.near && near < position && s->stored - near > s->kv.near_rows) return false;
    s->position = position;
    if (position <= s->kv.sinks) s->stored = position; /* nothing of what is in the ring is seen again */
    return true;
}

static acc_ref_kv layer_kv(const ref_session *s, uint32_t layer)
{
    acc_ref_kv kv = s->kv;
    const size_t width = (size_t)s->m->hp.n_kv_heads * s->m->hp.head_dim, at = layer * width;
    const size_t sinks = kv.sink_rows * width, ring = kv.ring_rows * width;
    if (s->m->k_mean) kv.k_mean = s->m->k_mean + at;
    if (s->m->q_direction) kv.q_direction = s->m->q_direction + at;
    kv.sink_k = s->cache + 2 * layer * s->part;
    kv.ring_k = kv.sink_k + sinks;
    kv.sink_v = kv.sink_k + s->part;
    kv.ring_v = kv.sink_v + sinks;
    kv.near_k = kv.ring_k + ring;
    kv.near_v = kv.ring_v + ring;
    return kv;
}

/* Final norm and lm_head over the last n_logits rows of x. */
static accllm_status head(ref_session *s, uint32_t n, uint32_t n_logits, float *logits, accllm_error *err)
{
    const acc_ref_model *m = s->m;
    const acc_hparams *hp = &m->hp;
    const float *x = s->x + (size_t)(n - n_logits) * hp->n_embd;
    for (uint32_t i = 0; i < n_logits; i++) {
        size_t at = (size_t)i * hp->n_embd;
        if (!acc_ref_norm(x + at, m->output_norm, hp->n_embd, hp->norm_eps, s->work->norm + at))
            return acc_fail(err, ACCLLM_E_NUMERIC, "layer %u: the residual is not a number or infinite",
                            hp->n_layers - 1);
    }
    const acc_ref_matrix lm = {m->output ? m->output : m->embd, NULL, logits, hp->n_vocab};
    acc_ref_linear(m->rt, &lm, 1, s->work->norm, n_logits, hp->n_embd, false);
    if (s->trace) s->hash = acc_fnv1a(s->hash, logits, (size_t)n_logits * hp->n_vocab * sizeof *logits);
    return ACCLLM_OK;
}

static accllm_status session_step(void *self, const int32_t *ids, uint32_t n, uint32_t n_logits, float *logits,
                                  accllm_error *err)
{
    ref_session *s = self;
    const acc_hparams *hp = &s->m->hp;
    if (n == 0 || n > s->chunk || n_logits > n)
        return acc_fail(err, ACCLLM_E_ARG, "%u tokens with %u rows of logits: the chunk is %u", n, n_logits, s->chunk);
    if (n > s->limit - s->position)
        return acc_fail(err, ACCLLM_E_LIMIT, "the context of %llu positions is full", (unsigned long long)s->limit);
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= hp->n_vocab)
            return acc_fail(err, ACCLLM_E_ARG, "token %d: the vocabulary has %u", ids[i], hp->n_vocab);
        memcpy(s->x + (size_t)i * hp->n_embd, s->m->embd + (size_t)ids[i] * hp->n_embd, hp->n_embd * sizeof *s->x);
    }
    if (s->stored < s->position + n) s->stored = s->position + n;
    acc_ref_span span = acc_ref_work_span(s->work, &s->kv, s->position, n);
    for (uint32_t l = 0; l < hp->n_layers; l++) {
        ACC_TRY(acc_check_abort(s->m->rt, err));
        acc_ref_kv kv = layer_kv(s, l);
        if (!acc_ref_block(s->m->rt, hp, &s->m->layers[l], &kv, &span, s->x, s->work, NULL, NULL))
            return acc_fail(err, ACCLLM_E_NUMERIC, "layer %u: a value is not a number or infinite", l);
    }
    if (n_logits) ACC_TRY(head(s, n, n_logits, logits, err));
    s->position += n;
    return ACCLLM_OK;
}

static uint64_t session_position(const void *self)
{
    return ((const ref_session *)self)->position;
}

static uint64_t session_bytes(const void *self)
{
    return ((const ref_session *)self)->bytes;
}

static uint64_t session_trace_hash(const void *self)
{
    const ref_session *s = self;
    return s->trace ? s->hash : 0;
}

static accllm_status session_fill(void *self, uint64_t depth, accllm_error *err)
{
    (void)self;
    (void)depth;
    return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the float reference cannot be filled with pseudo-random codes");
}

static uint64_t session_kv_bytes(const void *self)
{
    const ref_session *s = self;
    const acc_hparams *hp = &s->m->hp;
    uint64_t most = s->limit == UINT64_MAX ? s->kv.sinks + s->kv.window : s->limit;
    uint64_t keys = s->position + 1 < most ? s->position + 1 : most;
    return keys * 2 * hp->n_layers * hp->n_kv_heads * hp->head_dim * sizeof(float);
}

static const acc_session_ops ref_ops = {
    .step = session_step,
    .reset = session_reset,
    .rewind = session_rewind,
    .free = session_free,
    .position = session_position,
    .bytes = session_bytes,
    .trace_hash = session_trace_hash,
    .fill = session_fill,
    .kv_bytes_per_token = session_kv_bytes,
};

accllm_status acc_ref_session_create(void **self, const acc_session_ops **ops, acc_ref_model *m,
                                     const accllm_session_params *p, accllm_error *err)
{
    *self = NULL;
    *ops = &ref_ops;
    ref_session *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: session");
    s->m = m;
    s->trace = p->trace;
    session_reset(s);
    accllm_status status = shape(s, p, err);
    if (status == ACCLLM_OK) status = allocate(s, err);
    if (status != ACCLLM_OK)
        session_free(s);
    else
        *self = s;
    return status;
}
