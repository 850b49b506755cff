#include "accel/session.h"

#include "accel/compile.h"
#include "accel/device_model.h"
#include "cache/kv.h"
#include "cache/policy.h"
#include "core/hash.h"
#include "core/memory.h"

typedef struct accel_session {
    accllm_runtime *rt;
    acc_device device;
    acc_cache_map map;
    acc_kv_policy policy;
    uint32_t n_layers, n_embd, n_vocab, limit; /* limit: positions that full attention keeps, 0 without */
    bool trace, broken;
    uint64_t pos, stored; /* the next position; one past the last that the rings hold, also after going back */
    uint64_t *layer_hash, logits_hash; /* [n_layers] */
    float *residual;                   /* [n_embd] */
} accel_session;

static void reset(void *self)
{
    accel_session *s = self;
    s->pos = s->stored = 0;
    s->broken = false;
    s->logits_hash = ACC_FNV_START;
    for (uint32_t l = 0; l < s->n_layers; l++) s->layer_hash[l] = ACC_FNV_START;
}

/* What the quantised engine hashes: each layer's residual, and the logits that were asked for. */
static accllm_status trace_layers(accel_session *s, accllm_error *err)
{
    const uint32_t lines = acc_vector_lines(s->n_embd, s->device.h.channels);
    for (uint32_t l = 0; s->trace && l < s->n_layers; l++) {
        ACC_TRY(acc_device_vector(&s->device, s->device.h.region[ACC_REGION_TRACE].line + l * lines, s->residual,
                                  s->n_embd, err));
        s->layer_hash[l] = acc_fnv1a(s->layer_hash[l], s->residual, s->n_embd * sizeof *s->residual);
    }
    return ACCLLM_OK;
}

static accllm_status one_token(accel_session *s, int32_t id, float *logits, accllm_error *err)
{
    ACC_TRY(acc_device_run(&s->device, (uint32_t)id, s->pos, logits != NULL, err));
    ACC_TRY(trace_layers(s, err));
    if (logits) {
        ACC_TRY(acc_device_logits(&s->device, logits, err));
        if (s->trace) s->logits_hash = acc_fnv1a(s->logits_hash, logits, s->n_vocab * sizeof *logits);
    }
    s->pos++;
    if (s->pos > s->stored) s->stored = s->pos;
    return ACCLLM_OK;
}

static accllm_status step(void *self, const int32_t *ids, uint32_t n, uint32_t n_logits, float *logits,
                          accllm_error *err)
{
    accel_session *s = self;
    if (s->broken) return acc_fail(err, ACCLLM_E_ARG, "the session failed before and was not reset");
    if (n == 0 || n_logits > n) return acc_fail(err, ACCLLM_E_ARG, "step of %u tokens and %u logits", n, n_logits);
    if (s->limit && n > s->limit - s->pos)
        return acc_fail(err, ACCLLM_E_LIMIT, "the context of %u tokens is full", s->limit);
    if (s->pos > UINT64_MAX - n) return acc_fail(err, ACCLLM_E_LIMIT, "the position exceeds 64 bits");
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->n_vocab)
            return acc_fail(err, ACCLLM_E_ARG, "token %d is not in the vocabulary of %u", ids[i], s->n_vocab);
    for (uint32_t i = 0; i < n; i++) {
        const bool wanted = i >= n - n_logits;
        ACC_TRY(acc_check_abort(s->rt, err)); /* between two tokens the session may go on from where it stands */
        const accllm_status status = one_token(s, ids[i], wanted ? logits : NULL, err);
        s->broken = status != ACCLLM_OK;
        if (s->broken) return status;
        if (wanted) logits += s->n_vocab;
    }
    return ACCLLM_OK;
}

static bool go_back(void *self, uint64_t position)
{
    accel_session *s = self;
    if (s->broken || !acc_policy_keeps(&s->policy, s->device.h.g.near_positions, s->stored, position)) return false;
    s->pos = position;
    if (position <= s->policy.sinks) s->stored = position; /* nothing of what is in the ring is seen again */
    return true;
}

static uint64_t position_of(const void *self)
{
    return ((const accel_session *)self)->pos;
}

/* The memory that stands for the card's is the device's; what a session has on the host is this. */
static uint64_t bytes_of(const void *self)
{
    const accel_session *s = self;
    return sizeof *s + s->n_layers * sizeof *s->layer_hash + s->n_embd * sizeof *s->residual;
}

static uint64_t trace_hash(const void *self)
{
    const accel_session *s = self;
    if (!s->trace) return 0;
    const uint64_t h = acc_fnv1a(ACC_FNV_START, s->layer_hash, s->n_layers * sizeof *s->layer_hash);
    return acc_fnv1a(h, &s->logits_hash, sizeof s->logits_hash);
}

/* ---- a cache full of the codes of acc_kv_fill() ---- */

/* Positions [lo, hi) of a part, block by block; a block's other positions hold what they please. */
static accllm_status fill_part(accel_session *s, acc_kv_part part, uint32_t layer, uint32_t head, bool value,
                               uint64_t lo, uint64_t hi, accllm_error *err)
{
    const acc_geometry *g = &s->device.h.g;
    const uint32_t lines = acc_cache_block_lines(&s->map, part), bits = s->map.bits[part];
    const uint64_t layer_line = s->device.h.region[ACC_REGION_CACHE].line + layer * s->map.layer_lines;
    uint8_t block[(ACC_ISA_HEAD_DIM_MAX / 4 + 1) * ACC_ISA_LINE_BYTES] = {0};
    for (uint64_t at = lo & ~(uint64_t)15, left = lo < hi ? (hi - at + 15) / 16 : 0; left > 0; left--, at += 16) {
        for (uint32_t p = 0; p < ACC_ISA_STRIP; p++) {
            uint8_t u[ACC_ISA_HEAD_DIM_MAX], zero;
            uint16_t scale;
            acc_kv_pseudo(layer, head, value, at + p, g->head_dim, bits, u, &scale, &zero);
            acc_cache_put(&s->map, part, block, value, p, g->head_dim, u, scale, zero);
        }
        const uint64_t slot = part == ACC_KV_SINKS  ? at
                              : part == ACC_KV_NEAR ? at % g->near_positions
                                                    : acc_policy_slot(&s->policy, at);
        uint32_t channel;
        uint64_t line;
        acc_cache_place(&s->map, part, head, value, (uint32_t)slot, &channel, &line);
        ACC_TRY(s->device.ops->write(s->device.self, channel, (layer_line + line) * ACC_ISA_LINE_BYTES, block,
                                     (size_t)lines * ACC_ISA_LINE_BYTES, err));
    }
    return ACCLLM_OK;
}

static accllm_status fill(void *self, uint64_t depth, accllm_error *err)
{
    accel_session *s = self;
    if (s->limit && depth > s->limit)
        return acc_fail(err, ACCLLM_E_LIMIT, "a depth of %llu exceeds the context of %u tokens",
                        (unsigned long long)depth, s->limit);
    reset(s);
    s->pos = s->stored = depth;
    if (depth == 0) return ACCLLM_OK;
    const uint64_t sinks = acc_policy_sinks_end(&s->policy, depth - 1);
    const uint64_t begin = acc_policy_window_begin(&s->policy, depth - 1);
    const uint64_t near = acc_policy_near_begin(&s->policy, depth - 1);
    for (uint32_t l = 0; l < s->n_layers; l++)
        for (uint32_t h = 0; h < s->device.h.g.n_kv_heads; h++)
            for (int value = 0; value < 2; value++) {
                ACC_TRY(fill_part(s, ACC_KV_SINKS, l, h, value, 0, sinks, err));
                ACC_TRY(fill_part(s, ACC_KV_WINDOW, l, h, value, begin, depth, err));
                if (s->policy.near) ACC_TRY(fill_part(s, ACC_KV_NEAR, l, h, value, near, depth, err));
            }
    return ACCLLM_OK;
}

/* What the cache's lines of one decode step hold, over all layers and heads. */
static uint64_t kv_bytes_per_token(const void *self)
{
    const accel_session *s = self;
    const acc_kv_policy *p = &s->policy;
    const uint64_t t = s->pos, begin = acc_policy_window_begin(p, t), near = acc_policy_near_begin(p, t);
    const uint64_t first[] = {0, begin, near};
    const uint64_t end[] = {acc_policy_sinks_end(p, t), p->near ? near : t + 1, p->near ? t + 1 : near};
    uint64_t lines = 0;
    for (int part = 0; part < ACC_KV_PARTS; part++)
        if (first[part] < end[part])
            lines +=
                ((end[part] - 1) / 16 - first[part] / 16 + 1) * 2 * acc_cache_block_lines(&s->map, (acc_kv_part)part);
    return lines * ACC_ISA_LINE_BYTES * s->n_layers * s->device.h.g.n_kv_heads;
}

static void free_session(void *self)
{
    accel_session *s = self;
    acc_device_close(&s->device);
    acc_free(s->layer_hash);
    acc_free(s->residual);
    acc_free(s);
}

/* ---- opening ---- */

accllm_status acc_accel_open_model(acc_device *d, const acc_image_header *h, accllm_runtime *rt, accllm_error *err)
{
    const acc_image_region *last = &h->region[ACC_REGION_LOGITS];
    return acc_device_model_open(d, h->channels, last->line + last->lines, rt->pool, 0, err);
}

static accllm_status start_device(accel_session *s, const acc_packed *m, const accllm_session_params *p,
                                  uint32_t channels, acc_device_open *open, accllm_error *err)
{
    const acc_compile_params cp = {.channels = channels,
                                   .sinks = p->sinks,
                                   .window = p->full_attention ? p->n_ctx : p->window,
                                   .kv_bits = p->kv_bits,
                                   .near = p->kv_near};
    acc_image im;
    ACC_TRY(acc_compile(&im, m, &cp, err));
    accllm_status status = acc_image_check(&im, err);
    if (status == ACCLLM_OK) status = open(&s->device, &im.h, s->rt, err);
    if (status == ACCLLM_OK) status = acc_device_load(&s->device, &im, err);
    acc_image_free(&im);
    return status;
}

accllm_status acc_accel_session_create(void **self, const acc_session_ops **ops, const acc_packed *m,
                                       accllm_runtime *rt, const accllm_session_params *p, uint32_t channels,
                                       acc_device_open *open, accllm_error *err)
{
    static const acc_session_ops table = {step,     reset,      go_back, free_session,       position_of,
                                          bytes_of, trace_hash, fill,    kv_bytes_per_token, NULL,
                                          NULL,     NULL};
    accllm_status status;
    void *place;
    *self = NULL;
    *ops = &table;
    ACC_TRY(acc_alloc(&place, 1, sizeof(accel_session), "session", err));
    accel_session *s = place;
    *s = (accel_session){.rt = rt,
                         .n_layers = m->hp.n_layers,
                         .n_embd = m->hp.n_embd,
                         .n_vocab = m->hp.n_vocab,
                         .limit = p->full_attention ? p->n_ctx : 0,
                         .trace = p->trace};
    ACC_TRY_GOTO(start_device(s, m, p, channels, open, err));
    ACC_TRY_GOTO(acc_alloc((void **)&s->layer_hash, s->n_layers, sizeof *s->layer_hash, "session", err));
    ACC_TRY_GOTO(acc_alloc((void **)&s->residual, s->n_embd, sizeof *s->residual, "session", err));
    const acc_geometry *g = &s->device.h.g;
    s->map = acc_cache_plan(channels, g);
    s->policy = (acc_kv_policy){g->sinks, g->window, g->page, g->near, g->ring_pages};
    reset(s);
    *self = s;
    return ACCLLM_OK;
fail:
    free_session(s);
    return status;
}
