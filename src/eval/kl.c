/* KL divergence of a model's next-token distributions from a reference's, over the same windows as perplexity. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "eval/walk.h"
#include "reference/logits.h"

/* One token: the divergence, and whether both find the same token the likeliest. */
typedef struct difference {
    double kl;
    bool agree;
} difference;

typedef struct kl_run {
    const accllm_ppl_params *p;
    acc_pool *pool;
    acc_walk walk;
    /* One call's rows: logits [n_rows][n_vocab] of both models, and what follows from them. */
    const float *logits, *ref_logits;
    uint32_t n_rows;
    difference *differences;
    size_t n_vocab;
    double start, kl;
    uint64_t tokens, agree;
} kl_run;

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void compare_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const kl_run *run = ctx;
    const size_t n = run->n_vocab;
    uint32_t begin, end;
    acc_share(run->n_rows, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        const float *p = run->ref_logits + i * n, *q = run->logits + i * n;
        run->differences[i] = (difference){acc_divergence(p, q, n), argmax(p, n) == argmax(q, n)};
    }
}

/* The rows of one call, of which the first is that of the text's token `target`. */
static accllm_status compare(kl_run *run, size_t target, accllm_error *err)
{
    acc_pool_run(run->pool, compare_share, run);
    for (uint32_t i = 0; i < run->n_rows; i++) {
        const difference *d = &run->differences[i];
        if (!isfinite(d->kl))
            return acc_fail(err, ACCLLM_E_NUMERIC, "the divergence at token %zu is not finite", target + i);
        run->kl += d->kl;
        run->agree += d->agree;
        run->tokens++;
    }
    return ACCLLM_OK;
}

static accllm_status walk_text(kl_run *run, accllm_session *s, accllm_session *ref, accllm_error *err)
{
    acc_walk_step step;
    while (acc_walk_next(&run->walk, &step)) {
        if (step.reset) accllm_session_reset(s);
        if (step.reset) accllm_session_reset(ref);
        ACC_TRY(accllm_session_eval(s, step.ids, step.n_ids, step.n_rows, &run->logits, err));
        ACC_TRY(accllm_session_eval(ref, step.ids, step.n_ids, step.n_rows, &run->ref_logits, err));
        run->n_rows = (uint32_t)step.n_rows;
        ACC_TRY(compare(run, step.first_target, err));
        if (!run->p->progress || run->tokens == 0) continue;
        double done = (double)run->walk.scored / (double)run->walk.n, spent = acc_seconds() - run->start;
        run->p->progress(run->p->user, done, run->kl / (double)run->tokens, spent / done - spent);
    }
    return ACCLLM_OK;
}

/* Both models must cut the text into the same tokens. */
static accllm_status same_tokens(const accllm_model *m, const accllm_model *ref, const char *text, size_t len,
                                 const accllm_ppl_params *p, const int32_t *ids, size_t n, int32_t bos,
                                 accllm_error *err)
{
    int32_t *other, other_bos;
    accllm_bos mode;
    size_t n_other, n_vocab = accllm_model_get_info(m)->n_vocab;
    if (accllm_model_get_info(ref)->n_vocab != n_vocab)
        return acc_fail(err, ACCLLM_E_ARG, "the two models have different vocabularies");
    ACC_TRY(acc_walk_tokenize(ref, text, len, p, &other, &n_other, &other_bos, &mode, err));
    bool same = n == n_other && bos == other_bos && (n == 0 || memcmp(ids, other, n * sizeof *ids) == 0);
    free(other);
    if (!same) return acc_fail(err, ACCLLM_E_ARG, "the two models' tokenizers cut the text differently");
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= n_vocab)
            return acc_fail(err, ACCLLM_E_FORMAT, "token %d of the text is outside the vocabulary", ids[i]);
    return ACCLLM_OK;
}

accllm_status accllm_eval_kl(accllm_model *m, accllm_model *ref, const accllm_session_params *sp,
                             const accllm_session_params *ref_sp, const char *text, size_t len,
                             const accllm_ppl_params *p, accllm_kl_result *r, accllm_error *err)
{
    *r = (accllm_kl_result){0};
    ACC_TRY(acc_walk_check(p, err));
    kl_run run = {.p = p, .pool = m->rt->pool, .n_vocab = accllm_model_get_info(m)->n_vocab, .start = acc_seconds()};
    accllm_session *s = NULL, *s_ref = NULL;
    int32_t *ids, bos;
    accllm_bos mode;
    size_t n;
    ACC_TRY(acc_walk_tokenize(m, text, len, p, &ids, &n, &bos, &mode, err));
    accllm_session_params params = acc_walk_session(sp, m, p, n), ref_params = acc_walk_session(ref_sp, ref, p, n);
    uint32_t rows = params.max_logits < ref_params.max_logits ? params.max_logits : ref_params.max_logits;
    accllm_status status = same_tokens(m, ref, text, len, p, ids, n, bos, err);
    if (status == ACCLLM_OK) status = acc_walk_init(&run.walk, ids, n, bos, p, rows, err);
    if (status == ACCLLM_OK)
        status = acc_alloc((void **)&run.differences, rows, sizeof *run.differences, "scores", err);
    if (status == ACCLLM_OK) status = accllm_session_create(&s, m, &params, err);
    if (status == ACCLLM_OK) status = accllm_session_create(&s_ref, ref, &ref_params, err);
    if (status == ACCLLM_OK) status = walk_text(&run, s, s_ref, err);
    accllm_session_free(&s);
    accllm_session_free(&s_ref);
    acc_walk_free(&run.walk);
    acc_free(run.differences);
    free(ids);
    if (status != ACCLLM_OK) return status;
    *r = (accllm_kl_result){run.kl / (double)run.tokens, (double)run.agree / (double)run.tokens, run.tokens};
    return ACCLLM_OK;
}
