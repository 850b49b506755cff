/* Sessions of the quantised engine: a cache, a position, and what attention over that cache needs. */
#include "model/session.h"

#include <string.h>

#include "core/arena.h"
#include "core/hash.h"
#include "model/batch.h"

static void plan_attention(const acc_quant_session *s, const acc_dims *d, acc_arena *a, acc_attn_work *to)
{
    uint32_t cuts = acc_kv_max_cuts(s->kv), pieces = acc_kv_max_pieces(s->kv);
    size_t queries = (size_t)pieces * d->group, parts = (size_t)cuts * d->group;
    acc_attn_work w = {
        .cuts = acc_arena_take(a, cuts, sizeof(acc_kv_cut)),
        .pieces = acc_arena_take(a, pieces, sizeof(acc_attn_piece)),
        .distance = acc_arena_take(a, pieces, sizeof(uint64_t)),
        .queries = acc_arena_take(a, queries, sizeof(acc_attn_query)),
        .q8 = acc_arena_take(a, queries, d->q8_stride),
        .part_max = acc_arena_take(a, parts, sizeof(float)),
        .part_l = acc_arena_take(a, parts, sizeof(uint32_t)),
        .part_o = acc_arena_take(a, (size_t)cuts * d->part_stride, sizeof(float)),
        .parts = acc_arena_take(a, cuts, sizeof(acc_attn_part)),
    };
    if (to) *to = w;
}

static size_t n_hashes(const acc_quant_session *s)
{
    return (size_t)s->m->hp.n_layers + 1;
}

static void plan_memory(acc_quant_session *s, const acc_dims *d, uint32_t n_workers, acc_arena *a)
{
    s->hash = acc_arena_take(a, n_hashes(s), sizeof *s->hash);
    s->next = acc_arena_take(a, n_hashes(s), sizeof *s->next);
    s->attn = acc_arena_take(a, n_workers, sizeof *s->attn);
    for (uint32_t w = 0; w < n_workers; w++) plan_attention(s, d, a, s->attn ? &s->attn[w] : NULL);
}

static accllm_status take_memory(acc_quant_session *s, uint32_t n_workers, accllm_error *err)
{
    const acc_dims d = acc_dims_of(s->m);
    acc_arena a = {0};
    plan_memory(s, &d, n_workers, &a);
    s->memory_bytes = a.used;
    s->memory = a.overflow ? NULL : acc_pages_alloc(a.used);
    if (!s->memory)
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: session buffers (%.1f MB)", (double)a.used / 1e6);
    a = (acc_arena){.base = s->memory};
    plan_memory(s, &d, n_workers, &a);
    return ACCLLM_OK;
}

static void reset(void *self)
{
    acc_quant_session *s = self;
    s->pos = s->stored = 0;
    for (size_t i = 0; i < n_hashes(s); i++) s->hash[i] = ACC_FNV_START;
}

static bool go_back(void *self, uint64_t position)
{
    acc_quant_session *s = self;
    if (!acc_kv_keeps(s->kv, s->stored, position)) return false;
    s->pos = position;
    if (position <= s->sinks) s->stored = position; /* nothing of what is in the ring is seen again */
    return true;
}

static void free_session(void *self)
{
    acc_quant_session *s = self;
    acc_batch_free(&s->own);
    acc_kv_free(&s->kv);
    acc_pages_free(s->memory, s->memory_bytes);
    acc_free(s);
}

static uint64_t position(const void *self)
{
    return ((const acc_quant_session *)self)->pos;
}

static uint64_t bytes(const void *self)
{
    const acc_quant_session *s = self;
    return sizeof *s + s->memory_bytes + acc_kv_bytes(s->kv) + (s->own ? acc_batch_bytes(s->own) : 0);
}

/* docs/numerics.md "How it is checked": every layer and the logits run a hash of their own; this is the hash of those.
 */
static uint64_t trace_hash(const void *self)
{
    const acc_quant_session *s = self;
    return s->trace ? acc_fnv1a(ACC_FNV_START, s->hash, n_hashes(s) * sizeof *s->hash) : 0;
}

static accllm_status fill(void *self, uint64_t depth, accllm_error *err)
{
    acc_quant_session *s = self;
    if (s->full && depth > s->limit)
        return acc_fail(err, ACCLLM_E_LIMIT, "a depth of %llu exceeds the context of %u tokens",
                        (unsigned long long)depth, s->limit);
    reset(s);
    acc_kv_fill(s->kv, depth);
    s->pos = s->stored = depth;
    return ACCLLM_OK;
}

static uint64_t kv_bytes_per_token(const void *self)
{
    const acc_quant_session *s = self;
    return acc_kv_bytes_read(s->kv, s->pos);
}

/* A state: position, positions stored (see go_back), and what the cache holds. */
#define STATE_HEAD (2 * sizeof(uint64_t))

static size_t state_bytes(const void *self)
{
    const acc_quant_session *s = self;
    return STATE_HEAD + acc_kv_state_bytes(s->kv, s->stored, s->pos);
}

static void save(const void *self, uint8_t *to)
{
    const acc_quant_session *s = self;
    const uint64_t head[2] = {s->pos, s->stored};
    memcpy(to, head, STATE_HEAD);
    acc_kv_save(s->kv, s->stored, s->pos, to + STATE_HEAD);
}

static accllm_status load(void *self, const uint8_t *from, size_t n, accllm_error *err)
{
    acc_quant_session *s = self;
    uint64_t head[2], most = s->full ? s->limit : (uint64_t)INT64_MAX;
    if (n < STATE_HEAD) return acc_fail(err, ACCLLM_E_FORMAT, "it ends before the positions");
    memcpy(head, from, STATE_HEAD);
    const uint64_t pos = head[0], stored = head[1];
    if (pos > stored || stored > most || !acc_kv_keeps(s->kv, stored, pos))
        return acc_fail(err, ACCLLM_E_FORMAT, "position %llu of %llu stored is not possible", (unsigned long long)pos,
                        (unsigned long long)stored);
    if (n - STATE_HEAD != acc_kv_state_bytes(s->kv, stored, pos))
        return acc_fail(err, ACCLLM_E_FORMAT, "%zu bytes of cache at position %llu, not %zu", n - STATE_HEAD,
                        (unsigned long long)pos, acc_kv_state_bytes(s->kv, stored, pos));
    if (!acc_kv_load(s->kv, stored, pos, from + STATE_HEAD))
        return acc_fail(err, ACCLLM_E_FORMAT, "codes or scales that no cache holds");
    s->pos = pos;
    s->stored = stored;
    return ACCLLM_OK;
}

static accllm_status step(void *self, const int32_t *ids, uint32_t n, uint32_t n_logits, float *logits,
                          accllm_error *err)
{
    acc_quant_session *s = self;
    acc_step_item item = {.session = s, .ids = ids, .n = n, .n_logits = n_logits, .logits = logits};
    return acc_batch_step(s->own, &item, 1, err);
}

static accllm_status check_params(const accllm_session_params *p, accllm_error *err)
{
    if (p->sinks > ACC_MAX_SINKS)
        return acc_fail(err, ACCLLM_E_ARG, "%u sinks; at most %d are supported", p->sinks, ACC_MAX_SINKS);
    if (p->chunk == 0 || p->chunk > ACC_MAX_ROWS)
        return acc_fail(err, ACCLLM_E_ARG, "a chunk of %u tokens; 1 to %u are supported", p->chunk, ACC_MAX_ROWS);
    return ACCLLM_OK;
}

static accllm_status make_cache(acc_quant_session *s, accllm_runtime *rt, const accllm_session_params *p,
                                accllm_error *err)
{
    const acc_hparams *hp = &s->m->hp;
    acc_kv_params kp = {.n_layers = hp->n_layers,
                        .n_kv_heads = hp->n_kv_heads,
                        .head_dim = hp->head_dim,
                        .page = s->m->page,
                        .sinks = p->sinks,
                        .window = s->full ? p->n_ctx : p->window,
                        .chunk = p->chunk,
                        .bits = p->kv_bits,
                        .near = p->kv_near,
                        .full = s->full,
                        .kernels = rt->kernels,
                        .rope_steps = hp->rope_steps};
    return acc_kv_create(&s->kv, &kp, err);
}

accllm_status acc_quant_session_create(void **self, const acc_session_ops **ops, acc_packed *m, accllm_runtime *rt,
                                       const accllm_session_params *p, accllm_error *err)
{
    static const acc_session_ops table = {step,  reset,      go_back, free_session,       position,
                                          bytes, trace_hash, fill,    kv_bytes_per_token, state_bytes,
                                          save,  load};
    *self = NULL;
    *ops = &table;
    ACC_TRY(check_params(p, err));
    acc_quant_session *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: session");
    s->m = m;
    s->sinks = p->sinks;
    s->chunk = p->chunk;
    s->full = p->full_attention;
    s->limit = s->full ? p->n_ctx : 0;
    s->trace = p->trace;
    accllm_status status;
    ACC_TRY_GOTO(make_cache(s, rt, p, err));
    ACC_TRY_GOTO(take_memory(s, acc_pool_size(rt->pool), err));
    if (!p->batch_only) ACC_TRY_GOTO(acc_batch_create(&s->own, m, rt, p->chunk, err));
    reset(s);
    *self = s;
    return ACCLLM_OK;
fail:
    free_session(s);
    return status;
}
