/* accllm_bench: prefill and decode speed at a depth, of one session or of several in one batch, and how near decode
 * comes to the memory's plain read speed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/batch.h"
#include "accllm/eval.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "eval/median.h"
#include "eval/stream.h"

#define MAX_TOKENS (1u << 24)
#define MAX_REPS 1000
#define MAX_SESSIONS 1024
#define DEFAULT_CHUNK 128
#define FIRST_STREAM_SECONDS 0.25
#define MOST_STREAM_SECONDS 1.0

typedef struct bench {
    const accllm_bench_params *p;
    accllm_batch *batch;
    accllm_batch_item *items; /* [n_sessions], each with its session */
    uint32_t chunk;
    int32_t *ids; /* max(n_prompt, n_gen + 1) random tokens */
    acc_stream *stream;
    double *seconds, *shares; /* [reps]; of the stream's rate */
    double *rates;            /* [reps + 1] of the stream, before and behind each repetition */
} bench;

void accllm_bench_params_init(accllm_bench_params *p)
{
    memset(p, 0, sizeof *p);
    p->struct_size = sizeof *p;
    p->n_prompt = 512;
    p->n_gen = 128;
    p->reps = 5;
    p->n_sessions = 1;
}

/* The first n sessions at the wanted depth, as if they had read that many tokens. */
static accllm_status rewind_to(const bench *b, uint32_t n, accllm_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        accllm_session_reset(b->items[i].session);
        if (b->p->depth) ACC_TRY(accllm_session_fill(b->items[i].session, b->p->depth, err));
    }
    return ACCLLM_OK;
}

/* The first session reads the prompt chunk by chunk; the last token's logits are computed. */
static accllm_status read_prompt(const bench *b, accllm_error *err)
{
    for (uint32_t at = 0, n; at < b->p->n_prompt; at += n) {
        n = b->p->n_prompt - at < b->chunk ? b->p->n_prompt - at : b->chunk;
        b->items[0].ids = b->ids + at;
        b->items[0].n = n;
        b->items[0].n_logits = at + n == b->p->n_prompt;
        ACC_TRY(accllm_batch_step(b->batch, b->items, 1, err));
    }
    return ACCLLM_OK;
}

/* All sessions read one token and give their logits. */
static accllm_status decode(const bench *b, uint32_t at, accllm_error *err)
{
    for (uint32_t i = 0; i < b->p->n_sessions; i++) {
        b->items[i].ids = b->ids + at;
        b->items[i].n = b->items[i].n_logits = 1;
    }
    return accllm_batch_step(b->batch, b->items, b->p->n_sessions, err);
}

/* Median; a first run, which meets the session's memory untouched, is not timed. */
static accllm_status time_prefill(const bench *b, double *tok_s, accllm_error *err)
{
    ACC_TRY(rewind_to(b, 1, err));
    ACC_TRY(read_prompt(b, err));
    for (uint32_t i = 0; i < b->p->reps; i++) {
        ACC_TRY(rewind_to(b, 1, err));
        const double t = acc_seconds();
        ACC_TRY(read_prompt(b, err));
        b->seconds[i] = acc_seconds() - t;
    }
    *tok_s = b->p->n_prompt / acc_median(b->seconds, b->p->reps);
    return ACCLLM_OK;
}

/* What a step of all sessions reads. */
static double step_bytes(const bench *b, const accllm_bench_result *r)
{
    const uint64_t kv = b->p->n_sessions * r->kv_bytes_per_token;
    return (double)(r->weight_bytes_per_token + r->lm_head_bytes + kv);
}

/* Median, slowest and fastest repetition; the first token of each is not timed. The stream is read in between, for
 * about as long, because what memory gives changes with its other users: each repetition is compared with its
 * neighbours. */
static accllm_status time_decode(const bench *b, accllm_bench_result *r, accllm_error *err)
{
    const uint32_t reps = b->p->reps;
    const double tokens = (double)b->p->n_gen * b->p->n_sessions;
    for (uint32_t i = 0; i < reps; i++) {
        ACC_TRY(rewind_to(b, b->p->n_sessions, err));
        ACC_TRY(decode(b, 0, err));
        const double t = acc_seconds();
        for (uint32_t j = 0; j < b->p->n_gen; j++) ACC_TRY(decode(b, j + 1, err));
        b->seconds[i] = acc_seconds() - t;
        b->rates[i + 1] = acc_stream_rate(b->stream, fmin(b->seconds[i], MOST_STREAM_SECONDS));
        b->shares[i] = step_bytes(b, r) * b->p->n_gen / b->seconds[i] / 1e9 / ((b->rates[i] + b->rates[i + 1]) / 2);
    }
    r->stream_gb_s = acc_median(b->rates, reps + 1);
    r->roofline_ratio = acc_median(b->shares, reps);
    r->decode_tok_s = tokens / acc_median(b->seconds, reps);
    r->decode_tok_s_max = tokens / b->seconds[0];
    r->decode_tok_s_min = tokens / b->seconds[reps - 1];
    r->decode_gb_s = step_bytes(b, r) * r->decode_tok_s / b->p->n_sessions / 1e9;
    return ACCLLM_OK;
}

static accllm_status measure(bench *b, acc_pool *pool, accllm_bench_result *r, accllm_error *err)
{
    if (b->p->n_prompt) ACC_TRY(time_prefill(b, &r->prefill_tok_s, err));
    ACC_TRY(rewind_to(b, b->p->n_sessions, err));
    /* Up to the first token behind the sinks, so that the ring's memory is there before the clock starts. */
    const uint32_t sinks = accllm_session_sinks(b->items[0].session);
    for (uint32_t i = 0; i < b->p->n_gen && i <= sinks; i++) ACC_TRY(decode(b, i, err));
    r->kv_bytes_per_token = accllm_session_kv_bytes_per_token(b->items[0].session);
    r->session_bytes = accllm_session_bytes(b->items[0].session);
    r->batch_bytes = accllm_batch_bytes(b->batch);
    r->peak_rss_bytes = accllm_peak_rss_bytes(); /* without the stream's buffer */
    ACC_TRY(acc_stream_create(&b->stream, pool, err));
    r->stream_gb_s = b->rates[0] = acc_stream_rate(b->stream, FIRST_STREAM_SECONDS);
    if (b->p->n_gen) ACC_TRY(time_decode(b, r, err));
    /* Weights that fit a good part of the caches say nothing about memory. */
    if (!b->p->n_gen || r->weight_bytes_per_token + r->lm_head_bytes < 8 * acc_last_level_cache())
        r->roofline_ratio = -1;
    return ACCLLM_OK;
}

static accllm_status check_params(const accllm_bench_params *p, accllm_error *err)
{
    if (!p || p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "bench parameters were not set up by accllm_bench_params_init()");
    if (p->n_prompt > MAX_TOKENS || p->n_gen > MAX_TOKENS)
        return acc_fail(err, ACCLLM_E_ARG, "bench of more than %u tokens", MAX_TOKENS);
    if (p->n_prompt == 0 && p->n_gen == 0) return acc_fail(err, ACCLLM_E_ARG, "bench of no tokens");
    if (p->reps == 0 || p->reps > MAX_REPS)
        return acc_fail(err, ACCLLM_E_ARG, "bench repetitions must be 1 to %u, not %u", MAX_REPS, p->reps);
    if (p->n_sessions == 0 || p->n_sessions > MAX_SESSIONS)
        return acc_fail(err, ACCLLM_E_ARG, "bench sessions must be 1 to %u, not %u", MAX_SESSIONS, p->n_sessions);
    return ACCLLM_OK;
}

static accllm_status make_sessions(bench *b, accllm_model *m, const accllm_session_params *sp, accllm_error *err)
{
    accllm_session_params params;
    accllm_batch_params bp;
    accllm_session_params_init(&params);
    accllm_batch_params_init(&bp);
    if (sp) params = *sp;
    if (params.chunk == 0) params.chunk = DEFAULT_CHUNK;
    params.batch_only = true;
    for (uint32_t i = 0; i < b->p->n_sessions; i++)
        ACC_TRY(accllm_session_create(&b->items[i].session, m, &params, err));
    b->chunk = params.chunk;
    bp.max_sessions = b->p->n_sessions;
    bp.max_tokens = b->chunk > bp.max_sessions ? b->chunk : bp.max_sessions;
    return accllm_batch_create(&b->batch, m, &bp, err);
}

accllm_status accllm_bench(accllm_model *m, const accllm_session_params *sp, const accllm_bench_params *p,
                           accllm_bench_result *r, accllm_error *err)
{
    bench b = {.p = p};
    accllm_status status = ACCLLM_OK;
    memset(r, 0, sizeof *r);
    ACC_TRY(check_params(p, err));
    const accllm_model_info *info = accllm_model_get_info(m);
    const size_t n = p->n_prompt > p->n_gen + 1 ? p->n_prompt : p->n_gen + 1;
    b.ids = acc_calloc(n, sizeof *b.ids);
    b.seconds = acc_calloc(p->reps, sizeof *b.seconds);
    b.shares = acc_calloc(p->reps, sizeof *b.shares);
    b.rates = acc_calloc(p->reps + 1, sizeof *b.rates);
    b.items = acc_calloc(p->n_sessions, sizeof *b.items);
    if (!b.ids || !b.seconds || !b.shares || !b.rates || !b.items)
        ACC_TRY_GOTO(acc_fail(err, ACCLLM_E_NOMEM, "out of memory: bench of %zu tokens", n));
    for (size_t i = 0; i < n; i++) b.ids[i] = (int32_t)(acc_random(0, i) % info->n_vocab);
    ACC_TRY_GOTO(make_sessions(&b, m, sp, err));
    acc_info_read_bytes(m, &r->weight_bytes_per_token, &r->lm_head_bytes);
    ACC_TRY_GOTO(measure(&b, m->rt->pool, r, err));
fail:
    for (uint32_t i = 0; b.items && i < p->n_sessions; i++) accllm_session_free(&b.items[i].session);
    accllm_batch_free(&b.batch);
    acc_stream_free(&b.stream);
    acc_free(b.items);
    acc_free(b.ids);
    acc_free(b.seconds);
    acc_free(b.shares);
    acc_free(b.rates);
    return status;
}
