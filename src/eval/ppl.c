/* Perplexity over windows or an endless stream. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "eval/walk.h"
#include "reference/logits.h"

void accllm_ppl_params_init(accllm_ppl_params *p)
{
    *p = (accllm_ppl_params){.struct_size = sizeof *p, .ctx = 2048, .bucket = 10000};
}

void accllm_ppl_result_free(accllm_ppl_result *r)
{
    acc_free(r->buckets);
    *r = (accllm_ppl_result){0};
}

typedef struct ppl_run {
    const accllm_ppl_params *p;
    const accllm_tokenizer *tok;
    accllm_ppl_result *r;
    acc_walk walk;
    acc_pool *pool;
    double *log_sums; /* of a call's rows of logits */
    size_t n_vocab, to_score;
    double start, nll, bucket_nll;
    uint64_t bytes, bucket_from;
} ppl_run;

static void end_bucket(ppl_run *run, uint64_t to)
{
    accllm_ppl_result *r = run->r;
    double n = (double)(to - run->bucket_from);
    r->buckets[r->n_buckets++] =
        (accllm_ppl_bucket){run->bucket_from, to, exp(run->bucket_nll / n), accllm_rss_bytes()};
    run->bucket_from = to;
    run->bucket_nll = 0;
}

/* Buckets end at text positions that are multiples of the bucket, so that stream and overlapping windows compare. */
static void score(ppl_run *run, size_t target, double nll)
{
    size_t len;
    run->nll += nll;
    run->r->tokens++;
    (void)accllm_token_bytes(run->tok, run->walk.ids[target], &len);
    run->bytes += len;
    if (!run->r->buckets) return;
    run->bucket_nll += nll;
    if ((target + 1) % run->p->bucket == 0 || target + 1 == run->walk.n) end_bucket(run, target + 1);
}

static void report(const ppl_run *run)
{
    if (!run->p->progress || run->r->tokens == 0) return;
    double done = (double)run->r->tokens / (double)run->to_score, spent = acc_seconds() - run->start;
    run->p->progress(run->p->user, done, exp(run->nll / (double)run->r->tokens), spent / done - spent);
}

static accllm_status walk_text(ppl_run *run, accllm_session *s, accllm_error *err)
{
    acc_walk_step step;
    while (acc_walk_next(&run->walk, &step)) {
        const float *logits = NULL;
        if (step.reset) accllm_session_reset(s);
        run->r->windows += step.reset;
        ACC_TRY(accllm_session_eval(s, step.ids, step.n_ids, step.n_rows, &logits, err));
        acc_log_sum_exp_rows(run->pool, logits, (uint32_t)step.n_rows, run->n_vocab, run->log_sums);
        for (size_t i = 0; i < step.n_rows; i++) {
            size_t target = step.first_target + i;
            double nll = run->log_sums[i] - (double)logits[i * run->n_vocab + (size_t)run->walk.ids[target]];
            if (!isfinite(nll)) return acc_fail(err, ACCLLM_E_NUMERIC, "the score of token %zu is not finite", target);
            score(run, target, nll);
        }
        report(run);
    }
    return ACCLLM_OK;
}

static accllm_status check(const ppl_run *run, accllm_error *err)
{
    for (size_t i = 0; i < run->walk.n; i++)
        if (run->walk.ids[i] < 0 || (size_t)run->walk.ids[i] >= run->n_vocab)
            return acc_fail(err, ACCLLM_E_FORMAT, "token %d of the text is outside the vocabulary of %zu",
                            run->walk.ids[i], run->n_vocab);
    return ACCLLM_OK;
}

static accllm_status prepare(ppl_run *run, const int32_t *ids, size_t n, int32_t bos, size_t rows, accllm_error *err)
{
    ACC_TRY(acc_walk_init(&run->walk, ids, n, bos, run->p, rows, err));
    ACC_TRY(check(run, err));
    ACC_TRY(acc_alloc((void **)&run->log_sums, rows, sizeof *run->log_sums, "scores", err));
    run->bucket_from = acc_walk_first_target(&run->walk);
    /* back-to-back windows without BOS give their first tokens no score */
    const bool all = run->p->stream || bos >= 0 || run->walk.stride < run->walk.span;
    n = run->walk.n;
    run->to_score = all ? n - run->bucket_from : n - (n + run->walk.span - 1) / run->walk.span;
    if (!run->p->stream && run->walk.stride >= run->walk.span) return ACCLLM_OK;
    return acc_alloc((void **)&run->r->buckets, n / run->p->bucket + 1, sizeof *run->r->buckets, "buckets", err);
}

accllm_status accllm_eval_ppl(accllm_model *m, const accllm_session_params *sp, const char *text, size_t len,
                              const accllm_ppl_params *p, accllm_ppl_result *r, accllm_error *err)
{
    *r = (accllm_ppl_result){0};
    ACC_TRY(acc_walk_check(p, err));
    int32_t *ids, bos;
    size_t n;
    accllm_session *s = NULL;
    ppl_run run = {.p = p,
                   .tok = accllm_model_tokenizer(m),
                   .r = r,
                   .pool = m->rt->pool,
                   .n_vocab = accllm_model_get_info(m)->n_vocab,
                   .start = acc_seconds()};
    ACC_TRY(acc_walk_tokenize(m, text, len, p, &ids, &n, &bos, &r->bos, err));
    accllm_session_params params = acc_walk_session(sp, m, p, n);
    accllm_status status = prepare(&run, ids, n, bos, params.max_logits, err);
    if (status == ACCLLM_OK) status = accllm_session_create(&s, m, &params, err);
    if (status == ACCLLM_OK) status = walk_text(&run, s, err);
    accllm_session_free(&s);
    acc_walk_free(&run.walk);
    acc_free(run.log_sums);
    free(ids);
    if (status != ACCLLM_OK) {
        accllm_ppl_result_free(r);
        return status;
    }
    r->nll = run.nll / (double)r->tokens;
    r->ppl = exp(r->nll);
    r->nats_per_byte = run.bytes ? run.nll / (double)run.bytes : 0;
    r->seconds = acc_seconds() - run.start;
    return ACCLLM_OK;
}
