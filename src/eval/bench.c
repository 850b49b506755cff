/* accllm_bench: prefill and decode speed at a depth, and how near decode comes to the memory's plain read speed. */
#include <stdlib.h>
#include <string.h>

#include "accllm/eval.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "eval/stream.h"

#define MAX_TOKENS (1u << 24)
#define MAX_REPS 1000

typedef struct bench {
    accllm_session *s;
    const accllm_bench_params *p;
    int32_t *ids;    /* max(n_prompt, n_gen + 1) random tokens */
    double *seconds; /* [reps] */
} bench;

void accllm_bench_params_init(accllm_bench_params *p)
{
    memset(p, 0, sizeof *p);
    p->struct_size = sizeof *p;
    p->n_prompt = 512;
    p->n_gen = 128;
    p->reps = 5;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The session at the wanted depth, as if it had read that many tokens. */
static accllm_status rewind_to(const bench *b, accllm_error *err)
{
    accllm_session_reset(b->s);
    return b->p->depth ? accllm_session_fill(b->s, b->p->depth, err) : ACCLLM_OK;
}

static accllm_status time_prefill(const bench *b, double *tok_s, accllm_error *err)
{
    for (uint32_t i = 0; i < b->p->reps; i++) {
        const float *logits;
        ACC_TRY(rewind_to(b, err));
        const double t = acc_seconds();
        ACC_TRY(accllm_session_eval(b->s, b->ids, b->p->n_prompt, 1, &logits, err));
        b->seconds[i] = acc_seconds() - t;
    }
    qsort(b->seconds, b->p->reps, sizeof *b->seconds, by_value);
    *tok_s = b->p->n_prompt / b->seconds[b->p->reps / 2];
    return ACCLLM_OK;
}

/* Median, slowest and fastest repetition; the first token of each is not timed. */
static accllm_status time_decode(const bench *b, accllm_bench_result *r, accllm_error *err)
{
    for (uint32_t i = 0; i < b->p->reps; i++) {
        const float *logits;
        ACC_TRY(rewind_to(b, err));
        ACC_TRY(accllm_session_eval(b->s, b->ids, 1, 1, &logits, err));
        const double t = acc_seconds();
        for (uint32_t j = 0; j < b->p->n_gen; j++)
            ACC_TRY(accllm_session_eval(b->s, b->ids + j + 1, 1, 1, &logits, err));
        b->seconds[i] = acc_seconds() - t;
    }
    qsort(b->seconds, b->p->reps, sizeof *b->seconds, by_value);
    r->decode_tok_s = b->p->n_gen / b->seconds[b->p->reps / 2];
    r->decode_tok_s_max = b->p->n_gen / b->seconds[0];
    r->decode_tok_s_min = b->p->n_gen / b->seconds[b->p->reps - 1];
    return ACCLLM_OK;
}

static accllm_status measure(const bench *b, accllm_bench_result *r, accllm_error *err)
{
    if (b->p->n_prompt) ACC_TRY(time_prefill(b, &r->prefill_tok_s, err));
    if (b->p->n_gen) ACC_TRY(time_decode(b, r, err));
    if (!b->p->n_gen) ACC_TRY(rewind_to(b, err));
    r->kv_bytes_per_token = accllm_session_kv_bytes_per_token(b->s);
    return ACCLLM_OK;
}

/* Weights that fit a good part of the caches say nothing about memory. */
static void compare(const accllm_model_info *info, accllm_bench_result *r)
{
    r->weight_bytes_per_token = info->linear_bytes;
    r->lm_head_bytes = info->head_bytes;
    const uint64_t weights = r->weight_bytes_per_token + r->lm_head_bytes;
    r->decode_gb_s = (double)(weights + r->kv_bytes_per_token) * r->decode_tok_s / 1e9;
    r->roofline_ratio = -1;
    if (r->decode_tok_s > 0 && r->stream_gb_s > 0 && weights >= 8 * acc_last_level_cache())
        r->roofline_ratio = r->decode_gb_s / r->stream_gb_s;
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
    return ACCLLM_OK;
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
    if (!b.ids || !b.seconds) ACC_TRY_GOTO(acc_fail(err, ACCLLM_E_NOMEM, "out of memory: bench of %zu tokens", n));
    for (size_t i = 0; i < n; i++) b.ids[i] = (int32_t)(acc_random(0, i) % info->n_vocab);
    ACC_TRY_GOTO(accllm_session_create(&b.s, m, sp, err));
    ACC_TRY_GOTO(measure(&b, r, err));
    r->peak_rss_bytes = accllm_peak_rss_bytes(); /* without the stream's buffer */
    ACC_TRY_GOTO(acc_stream_gb_s(m->rt->pool, &r->stream_gb_s, err));
    compare(info, r);
fail:
    accllm_session_free(&b.s);
    acc_free(b.ids);
    acc_free(b.seconds);
    return status;
}
