/* Sessions of the quantised engine: all memory is planned and taken at creation; a step allocates nothing. */
#include "model/session.h"

#include <string.h>

#include "core/fpmode.h"
#include "core/hash.h"
#include "core/memory.h"
#include "kernels/kv_layout.h"

/* Hands out parts of one block. With a NULL base it only counts. */
typedef struct arena {
    uint8_t *base;
    size_t used;
    bool overflow;
} arena;

static void *take(arena *a, size_t n, size_t size)
{
    size_t bytes, at = a->used;
    if (a->overflow || !acc_mul(n, size, &bytes) || bytes > SIZE_MAX / 2 ||
        !acc_add(at, acc_round_up(bytes ? bytes : 1, ACC_ALIGN), &a->used))
        a->overflow = true;
    return a->base ? a->base + at : NULL;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t columns_padded(const acc_weight *w)
{
    return (size_t)w->col_groups * w->group;
}

static void plan_shapes(acc_quant_session *s)
{
    const acc_hparams *hp = &s->m->hp;
    s->q_dim = hp->n_heads * hp->head_dim;
    s->kv_dim = hp->n_kv_heads * hp->head_dim;
    s->group = hp->n_heads / hp->n_kv_heads;
    s->x_stride = (uint32_t)acc_round_up(hp->n_embd, 16);
    s->q_stride = (uint32_t)acc_round_up(s->q_dim, 16);
    s->ff_stride = (uint32_t)acc_round_up(hp->n_ff, 16);
    s->block = acc_hadamard_block(hp->head_dim);
    s->a8_stride = columns_padded(&s->m->output);
    for (uint32_t l = 0; l < hp->n_layers; l++) {
        const acc_packed_layer *p = &s->m->layers[l];
        const acc_weight *w[] = {&p->q, &p->k, &p->v, &p->o, &p->gate, &p->up, &p->down};
        for (size_t i = 0; i < sizeof w / sizeof *w; i++) s->a8_stride = max_size(s->a8_stride, columns_padded(w[i]));
    }
    s->a8_stride = acc_round_up(s->a8_stride, 64);
    uint32_t blocks = (s->kv_dim + ACC_TILE_ROWS - 1) / ACC_TILE_ROWS;
    s->kv_unit = hp->head_dim / gcd(hp->head_dim, ACC_TILE_ROWS);
    if (s->kv_unit > blocks) s->kv_unit = blocks;
    s->isum_size = max_size(acc_blocks_per_call(1, s->kv_unit), (size_t)s->chunk * acc_blocks_per_call(2, s->kv_unit)) *
                   ACC_TILE_ROWS;
    s->q8_stride = acc_round_up(acc_kv_dims(hp->head_dim), 64);
    s->part_stride = acc_round_up((size_t)s->group * hp->head_dim, 16);
}

static void plan_worker(acc_quant_session *s, arena *a, acc_worker *wk)
{
    uint32_t cuts = acc_kv_max_cuts(s->kv), pieces = acc_kv_max_pieces(s->kv);
    size_t queries = (size_t)pieces * s->group, parts = (size_t)cuts * s->group;
    size_t rows = (size_t)acc_blocks_per_call(1, s->kv_unit) * ACC_TILE_ROWS;
    acc_worker w = {
        .a8 = take(a, s->a8_stride, 1),
        .isum = take(a, s->isum_size, sizeof(int32_t)),
        .rows = take(a, max_size(rows, (size_t)acc_blocks_per_call(2, s->kv_unit) * ACC_TILE_ROWS), sizeof(float)),
        .gate = take(a, s->isum_size, sizeof(float)),
        .scratch = take(a, 1, acc_kernel_scratch_bytes((uint32_t)s->a8_stride, s->chunk, s->group, s->m->hp.head_dim)),
        .cuts = take(a, cuts, sizeof(acc_kv_cut)),
        .pieces = take(a, pieces, sizeof(acc_attn_piece)),
        .distance = take(a, pieces, sizeof(uint64_t)),
        .queries = take(a, queries, sizeof(acc_attn_query)),
        .q8 = take(a, queries, s->q8_stride),
        .part_max = take(a, parts, sizeof(float)),
        .part_l = take(a, parts, sizeof(uint32_t)),
        .part_o = take(a, (size_t)cuts * s->part_stride, sizeof(float)),
        .parts = take(a, cuts, sizeof(acc_attn_part)),
    };
    if (wk) *wk = w;
}

static void plan_memory(acc_quant_session *s, arena *a)
{
    s->x = take(a, s->chunk, s->x_stride * sizeof(float));
    s->q = take(a, s->chunk, s->q_stride * sizeof(float));
    s->att = take(a, s->chunk, s->q_stride * sizeof(float));
    s->ff = take(a, s->chunk, s->ff_stride * sizeof(float));
    s->a8 = take(a, s->chunk, s->a8_stride);
    s->a8_scale = take(a, s->chunk, sizeof(float));
    s->layer_hash = take(a, s->m->hp.n_layers, sizeof(uint64_t));
    s->workers = take(a, s->n_workers, sizeof(acc_worker));
    for (uint32_t w = 0; w < s->n_workers; w++) plan_worker(s, a, s->workers ? &s->workers[w] : NULL);
}

static accllm_status take_memory(acc_quant_session *s, accllm_error *err)
{
    arena a = {0};
    plan_memory(s, &a);
    s->memory_bytes = a.used;
    s->memory = a.overflow ? NULL : acc_pages_alloc(a.used);
    if (!s->memory)
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: session buffers (%.1f MB)", (double)a.used / 1e6);
    a = (arena){.base = s->memory};
    plan_memory(s, &a);
    return ACCLLM_OK;
}

static void reset(void *self)
{
    acc_quant_session *s = self;
    s->pos = 0;
    s->broken = false;
    s->logits_hash = ACC_FNV_START;
    for (uint32_t l = 0; l < s->m->hp.n_layers; l++) s->layer_hash[l] = ACC_FNV_START;
}

static bool go_back(void *self, uint64_t position)
{
    acc_quant_session *s = self;
    if (s->broken || !acc_kv_keeps(s->kv, s->pos, position)) return false;
    s->pos = position;
    return true;
}

static void free_session(void *self)
{
    acc_quant_session *s = self;
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
    return sizeof *s + s->memory_bytes + acc_kv_bytes(s->kv);
}

/* docs/numerics.md "How it is checked": every layer and the logits run a hash of their own; this is the hash of those.
 */
static uint64_t trace_hash(const void *self)
{
    const acc_quant_session *s = self;
    if (!s->trace) return 0;
    uint64_t h = acc_fnv1a(ACC_FNV_START, s->layer_hash, s->m->hp.n_layers * sizeof *s->layer_hash);
    return acc_fnv1a(h, &s->logits_hash, sizeof s->logits_hash);
}

static accllm_status fill(void *self, uint64_t depth, accllm_error *err)
{
    acc_quant_session *s = self;
    if (s->full && depth > s->limit)
        return acc_fail(err, ACCLLM_E_LIMIT, "a depth of %llu exceeds the context of %u tokens",
                        (unsigned long long)depth, s->limit);
    reset(s);
    acc_kv_fill(s->kv, depth);
    s->pos = depth;
    return ACCLLM_OK;
}

static uint64_t kv_bytes_per_token(const void *self)
{
    const acc_quant_session *s = self;
    return acc_kv_bytes_read(s->kv, s->pos);
}

static accllm_status step(void *self, const int32_t *ids, uint32_t n, uint32_t n_logits, float *logits,
                          accllm_error *err)
{
    uint64_t mode = acc_fp_enter();
    accllm_status status = acc_step(self, ids, n, n_logits, logits, err);
    acc_fp_leave(mode);
    return status;
}

static accllm_status check_params(const acc_packed *m, const accllm_session_params *p, accllm_error *err)
{
    const acc_hparams *hp = &m->hp;
    if (p->sinks > ACC_MAX_SINKS)
        return acc_fail(err, ACCLLM_E_ARG, "%u sinks; at most %d are supported", p->sinks, ACC_MAX_SINKS);
    if (p->chunk == 0 || p->chunk > 4096)
        return acc_fail(err, ACCLLM_E_ARG, "a chunk of %u tokens; 1 to 4096 are supported", p->chunk);
    if (hp->n_kv_heads == 0 || hp->n_heads % hp->n_kv_heads)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%u query heads over %u KV heads", hp->n_heads, hp->n_kv_heads);
    return ACCLLM_OK;
}

accllm_status acc_quant_session_create(void **self, const acc_session_ops **ops, acc_packed *m, accllm_runtime *rt,
                                       const accllm_session_params *p, accllm_error *err)
{
    static const acc_session_ops table = {step,  reset,      go_back, free_session,      position,
                                          bytes, trace_hash, fill,    kv_bytes_per_token};
    *self = NULL;
    *ops = &table;
    ACC_TRY(check_params(m, p, err));
    acc_quant_session *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: session");
    s->m = m;
    s->rt = rt;
    s->k = rt->kernels;
    s->n_workers = acc_pool_size(rt->pool);
    s->chunk = p->chunk;
    s->full = p->full_attention;
    s->limit = s->full ? p->n_ctx : 0;
    s->trace = p->trace;
    acc_kv_params kp = {.n_layers = m->hp.n_layers,
                        .n_kv_heads = m->hp.n_kv_heads,
                        .head_dim = m->hp.head_dim,
                        .page = m->page,
                        .sinks = p->sinks,
                        .window = s->full ? p->n_ctx : p->window,
                        .chunk = p->chunk,
                        .bits = p->kv_bits,
                        .near = p->kv_near,
                        .full = s->full,
                        .kernels = s->k,
                        .rope_steps = m->hp.rope_steps};
    accllm_status status;
    ACC_TRY_GOTO(acc_kv_create(&s->kv, &kp, err));
    plan_shapes(s);
    ACC_TRY_GOTO(take_memory(s, err));
    reset(s);
    *self = s;
    return ACCLLM_OK;
fail:
    free_session(s);
    return status;
}
