/* Public sessions: parameters resolved, calls cut into chunks, one of the two engines behind. */
#include <string.h>

#include "accel/rtl_device.h"
#include "core/fpmode.h"
#include "core/memory.h"
#include "engine/internal.h"

/* Measured (docs/numerics.md, "What it costs"): most of what 4 bits cost is paid at the nearest tokens. */
#define KV_NEAR 64

void accllm_session_params_init(accllm_session_params *p)
{
    memset(p, 0, sizeof *p);
    p->struct_size = sizeof *p;
    p->sinks = UINT32_MAX;
    p->kv_near = UINT32_MAX;
}

static accllm_status resolve(accllm_session_params *p, const accllm_model_info *info, accllm_error *err)
{
    if (p->sinks == UINT32_MAX) p->sinks = info->default_sinks;
    if (p->window == 0) p->window = acc_info_window(info, p->sinks);
    if (p->n_ctx == 0) p->n_ctx = info->n_ctx_train;
    if (p->kv_bits == 0) p->kv_bits = info->default_kv_bits;
    if (p->kv_near == UINT32_MAX) p->kv_near = KV_NEAR;
    if (p->chunk == 0) p->chunk = 128;
    if (p->max_logits == 0) p->max_logits = 1;
    if (p->full_attention) p->window = p->n_ctx;
    uint64_t reach = p->full_attention ? p->n_ctx : (uint64_t)p->sinks + p->window;
    if (reach > info->n_ctx_train && !p->force)
        return acc_fail(err, ACCLLM_E_LIMIT, "%s %llu tokens, more than the trained context of %u (force overrides)",
                        p->full_attention ? "full attention over" : "sinks and window of", (unsigned long long)reach,
                        info->n_ctx_train);
    return ACCLLM_OK;
}

accllm_status acc_logits_alloc(float **out, size_t *bytes, const accllm_model *m, uint32_t rows, accllm_error *err)
{
    size_t row;
    if (!acc_mul(m->info.n_vocab, sizeof(float), &row) || !acc_mul(rows, row, bytes))
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: logits of %u tokens", rows);
    *out = acc_pages_alloc(*bytes);
    if (!*out) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: logits (%.1f MB)", (double)*bytes / 1e6);
    return ACCLLM_OK;
}

/* The image is made of the file's own bytes: the matrices of a random model may be gone once they were repacked. */
static accllm_status start_accelerator(accllm_session *s, accllm_error *err)
{
    const accllm_model *m = s->model;
    const bool rtl = s->params.backend == ACCLLM_BACKEND_RTL;
    uint32_t channels = 1;
    if (!rtl && s->params.backend != ACCLLM_BACKEND_DEVICE)
        return acc_fail(err, ACCLLM_E_ARG, "unknown back end %d", (int)s->params.backend);
    if (s->params.batch_only) return acc_fail(err, ACCLLM_E_ARG, "batches run on the CPU alone");
    if (m->ref || !m->packed->file)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the accelerator runs AccLLM files in the contract's numbers only");
    if (rtl) ACC_TRY(acc_rtl_channels(&channels, err));
    return acc_accel_session_create(&s->self, &s->ops, m->packed, m->rt, &s->params, channels,
                                    rtl ? acc_rtl_open : acc_accel_open_model, err);
}

static accllm_status start(accllm_session *s, accllm_error *err)
{
    accllm_model *m = s->model;
    ACC_TRY(resolve(&s->params, &m->info, err));
    if (!s->params.batch_only) ACC_TRY(acc_logits_alloc(&s->logits, &s->logits_bytes, m, s->params.max_logits, err));
    if (s->params.backend != ACCLLM_BACKEND_CPU) return start_accelerator(s, err);
    if (m->ref) return acc_ref_session_create(&s->self, &s->ops, m->ref, &s->params, err);
    return acc_quant_session_create(&s->self, &s->ops, m->packed, m->rt, &s->params, err);
}

accllm_status accllm_session_create(accllm_session **out, accllm_model *m, const accllm_session_params *p,
                                    accllm_error *err)
{
    *out = NULL;
    if (!m) return acc_fail(err, ACCLLM_E_ARG, "session: no model");
    if (p && p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "session parameters were not set up by accllm_session_params_init()");
    accllm_session *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: session");
    s->model = m;
    atomic_flag_clear(&s->busy);
    if (p)
        s->params = *p;
    else
        accllm_session_params_init(&s->params);
    uint64_t mode = acc_fp_enter();
    accllm_status status = start(s, err);
    acc_fp_leave(mode);
    if (status == ACCLLM_OK)
        *out = s;
    else
        accllm_session_free(&s);
    return status;
}

void accllm_session_free(accllm_session **s)
{
    if (!s || !*s) return;
    if ((*s)->self) (*s)->ops->free((*s)->self);
    acc_pages_free((*s)->logits, (*s)->logits_bytes);
    acc_free(*s);
    *s = NULL;
}

accllm_status acc_session_enter(accllm_session *s, accllm_error *err)
{
    if (!atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire)) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_ARG, "the session is in use by another call");
}

void acc_session_leave(accllm_session *s)
{
    atomic_flag_clear_explicit(&s->busy, memory_order_release);
}

void accllm_session_reset(accllm_session *s)
{
    s->ops->reset(s->self);
}

accllm_status accllm_session_rewind(accllm_session *s, uint64_t position, accllm_error *err)
{
    uint64_t now = s->ops->position(s->self);
    if (s->params.trace) return acc_fail(err, ACCLLM_E_ARG, "a session that keeps a trace hash cannot go back");
    if (position > now)
        return acc_fail(err, ACCLLM_E_ARG, "position %llu: the session has read %llu tokens",
                        (unsigned long long)position, (unsigned long long)now);
    ACC_TRY(acc_session_enter(s, err));
    bool done = s->ops->rewind(s->self, position);
    acc_session_leave(s);
    if (done) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_LIMIT, "position %llu: its window is not kept any more",
                    (unsigned long long)position);
}

/* Rows of logits that fall into tokens [at, at + n) when the last n_logits of total are wanted. */
static size_t logits_in(size_t at, size_t n, size_t total, size_t n_logits)
{
    size_t first = total - n_logits, end = at + n;
    if (end <= first) return 0;
    return end - (at > first ? at : first);
}

static accllm_status eval_chunks(accllm_session *s, const int32_t *ids, size_t n, size_t n_logits, accllm_error *err)
{
    float *logits = s->logits;
    for (size_t at = 0; at < n;) {
        uint32_t len = n - at < s->params.chunk ? (uint32_t)(n - at) : s->params.chunk;
        uint32_t rows = (uint32_t)logits_in(at, len, n, n_logits);
        ACC_TRY(s->ops->step(s->self, ids + at, len, rows, logits, err));
        logits += (size_t)rows * s->model->info.n_vocab;
        at += len;
    }
    return ACCLLM_OK;
}

accllm_status accllm_session_eval(accllm_session *s, const int32_t *ids, size_t n, size_t n_logits,
                                  const float **logits, accllm_error *err)
{
    if (logits) *logits = NULL;
    if (!ids || (n_logits && !logits)) return acc_fail(err, ACCLLM_E_ARG, "no tokens, or no place for the logits");
    if (n == 0 || n_logits > n || n_logits > s->params.max_logits)
        return acc_fail(err, ACCLLM_E_ARG, "%zu tokens and %zu logits asked for; the session gives up to %u", n,
                        n_logits, s->params.max_logits);
    if (!s->logits) return acc_fail(err, ACCLLM_E_ARG, "the session was made for batches only");
    ACC_TRY(acc_session_enter(s, err));
    uint64_t mode = acc_fp_enter();
    accllm_status status = eval_chunks(s, ids, n, n_logits, err);
    acc_fp_leave(mode);
    acc_session_leave(s);
    if (status == ACCLLM_OK && n_logits) *logits = s->logits;
    return status;
}

uint64_t accllm_session_position(const accllm_session *s)
{
    return s->ops->position(s->self);
}

uint64_t accllm_session_bytes(const accllm_session *s)
{
    return sizeof *s + s->logits_bytes + s->ops->bytes(s->self);
}

uint32_t accllm_session_sinks(const accllm_session *s)
{
    return s->params.sinks;
}

uint32_t accllm_session_window(const accllm_session *s)
{
    return s->params.window;
}

uint32_t accllm_session_kv_bits(const accllm_session *s)
{
    return s->params.kv_bits;
}

uint64_t accllm_session_trace_hash(const accllm_session *s)
{
    return s->ops->trace_hash(s->self);
}

accllm_status accllm_session_fill(accllm_session *s, uint64_t depth, accllm_error *err)
{
    ACC_TRY(acc_session_enter(s, err));
    uint64_t mode = acc_fp_enter();
    accllm_status status = s->ops->fill(s->self, depth, err);
    acc_fp_leave(mode);
    acc_session_leave(s);
    return status;
}

uint64_t accllm_session_kv_bytes_per_token(const accllm_session *s)
{
    return s->ops->kv_bytes_per_token(s->self);
}
