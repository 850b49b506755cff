/* The training loop: schedule, order of the text, held-out text, checkpoints. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/memory.h"
#include "train/internal.h"

#define WARM_UP 0.03
#define LAST_RATE 0.01
#define JUDGEMENTS 16 /* of the held-out text, at fixed steps: an interruption must not change what is best */

typedef struct run {
    accllm_runtime *rt;
    acc_train_model *m;
    const acc_train_params *p;
    acc_train_state state;
    acc_trainer *trainer;
    uint32_t *order; /* [n_seqs] of the epoch at hand */
    uint64_t epoch;
    int32_t *ids; /* [batch][seq_len] */
    acc_adam adam;
    double saved, held_out; /* when; the last judgement */
} run;

/* Warm-up, then a cosine down. */
static float rate_at(uint64_t step, uint64_t steps)
{
    const double warm = WARM_UP * (double)steps, at = (double)step + 1;
    if (at < warm) return (float)(at / warm);
    const double left = (double)steps > warm ? (at - warm) / ((double)steps - warm) : 1;
    return (float)(LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + cos(3.14159265358979323846 * left)));
}

/* Fisher and Yates, keyed by seed and epoch: a resumed run finds the same order. */
static void shuffle(run *r, uint64_t epoch)
{
    const uint32_t n = r->p->n_seqs;
    for (uint32_t i = 0; i < n; i++) r->order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t k = (uint32_t)(acc_random(r->p->seed + epoch, i) % i), keep = r->order[i - 1];
        r->order[i - 1] = r->order[k];
        r->order[k] = keep;
    }
    r->epoch = epoch;
}

static void pick_batch(run *r, uint64_t step)
{
    const size_t len = r->p->seq_len;
    for (uint32_t b = 0; b < r->p->batch; b++) {
        const uint64_t at = step * r->p->batch + b, epoch = at / r->p->n_seqs;
        if (epoch != r->epoch) shuffle(r, epoch);
        memcpy(r->ids + b * len, r->p->ids + r->order[at % r->p->n_seqs] * len, len * sizeof *r->ids);
    }
}

static void take_gradient(void *user, acc_tensor_id id, uint32_t layer, const float *g)
{
    run *r = user;
    acc_adam_step(r->rt->pool, &r->adam, acc_train_find(r->m, id, layer), g);
}

static accllm_status judge(run *r, accllm_error *err)
{
    const acc_train_params *p = r->p;
    const size_t batch = (size_t)p->batch * p->seq_len;
    const uint32_t n = p->n_held_out / p->batch;
    acc_head_result now = {0}, one;
    if (n == 0) return ACCLLM_OK;
    acc_train_quantize_all(r->rt->pool, r->m);
    for (uint32_t b = 0; b < n; b++) {
        ACC_TRY(
            acc_trainer_batch(r->trainer, r->m, &p->rules, p->teacher, p->held_out + b * batch, &one, NULL, NULL, err));
        now.loss += one.loss / n;
        now.nll += one.nll / n;
        now.teacher_nll += one.teacher_nll / n;
    }
    r->held_out = now.loss;
    if (r->state.first.loss < 0) r->state.first = now;
    if (r->state.best.loss >= 0 && !(now.loss < r->state.best.loss)) return ACCLLM_OK;
    r->state.best = now;
    r->state.best_step = r->state.step;
    return p->best ? p->best(p->user, r->state.step, now.loss, err) : ACCLLM_OK;
}

static accllm_status save(run *r, accllm_error *err)
{
    r->saved = acc_seconds();
    return r->p->checkpoint ? acc_train_save(r->p, r->m, &r->state, err) : ACCLLM_OK;
}

static accllm_status one_step(run *r, accllm_error *err)
{
    acc_train_state *s = &r->state;
    acc_head_result one;
    pick_batch(r, s->step);
    r->adam = acc_adam_at(s->step + 1, rate_at(s->step, r->p->steps), r->p->scale_rate);
    acc_train_quantize_all(r->rt->pool, r->m);
    ACC_TRY(acc_trainer_batch(r->trainer, r->m, &r->p->rules, r->p->teacher, r->ids, &one, take_gradient, r, err));
    if (!isfinite(one.loss))
        return acc_fail(err, ACCLLM_E_NUMERIC, "training step %llu: the loss is not a number",
                        (unsigned long long)s->step);
    s->history[s->step++] = (float)one.loss;
    if (r->p->progress) r->p->progress(r->p->user, s->step, one.loss, r->held_out);
    return ACCLLM_OK;
}

static accllm_status loop(run *r, accllm_error *err)
{
    acc_train_state *s = &r->state;
    const uint64_t every = r->p->steps / JUDGEMENTS ? r->p->steps / JUDGEMENTS : 1;
    if (s->step == 0) ACC_TRY(judge(r, err));
    while (s->step < r->p->steps) {
        accllm_status aborted = acc_check_abort(r->rt, err);
        if (aborted != ACCLLM_OK) {
            ACC_TRY(save(r, NULL));
            return aborted;
        }
        ACC_TRY(one_step(r, err));
        if (s->step % every == 0 || s->step == r->p->steps) ACC_TRY(judge(r, err));
        if (acc_seconds() - r->saved > r->p->checkpoint_seconds || s->step == r->p->steps) ACC_TRY(save(r, err));
    }
    return ACCLLM_OK;
}

static accllm_status prepare(run *r, accllm_error *err)
{
    const acc_train_params *p = r->p;
    if (p->batch == 0 || p->n_seqs == 0 || p->steps == 0 || p->n_held_out % p->batch != 0)
        return acc_fail(err, ACCLLM_E_ARG, "training: %u sequences, %u held out, batches of %u, %llu steps", p->n_seqs,
                        p->n_held_out, p->batch, (unsigned long long)p->steps);
    r->state = (acc_train_state){.first = {.loss = -1}, .best = {.loss = -1}};
    r->epoch = UINT64_MAX;
    r->held_out = -1;
    r->saved = acc_seconds();
    ACC_TRY(acc_alloc((void **)&r->state.history, p->steps, sizeof *r->state.history, "losses", err));
    ACC_TRY(acc_alloc((void **)&r->order, p->n_seqs, sizeof *r->order, "order of the text", err));
    ACC_TRY(acc_alloc((void **)&r->ids, (size_t)p->batch * p->seq_len, sizeof *r->ids, "a batch", err));
    ACC_TRY(acc_trainer_create(&r->trainer, r->rt, &r->m->hp, p->batch, p->seq_len, p->keep_all, p->bf16, err));
    return p->checkpoint ? acc_train_resume(p, r->m, &r->state, err) : ACCLLM_OK;
}

accllm_status acc_train_run(accllm_runtime *rt, acc_train_model *m, const acc_train_params *p, acc_train_result *result,
                            accllm_error *err)
{
    run r = {.rt = rt, .m = m, .p = p};
    *result = (acc_train_result){0};
    accllm_status s = prepare(&r, err);
    if (s == ACCLLM_OK) {
        result->resumed_at = r.state.step;
        r.held_out = r.state.best.loss;
        s = loop(&r, err);
    }
    result->steps = r.state.step;
    result->first = r.state.first;
    result->best = r.state.best;
    result->best_step = r.state.best_step;
    if (s == ACCLLM_OK)
        result->history = r.state.history;
    else
        acc_free(r.state.history);
    acc_trainer_free(&r.trainer);
    acc_free(r.order);
    acc_free(r.ids);
    return s;
}
