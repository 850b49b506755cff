/* Accuracy on multiple choice and last words by likelihood. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "eval/task.h"
#include "eval/walk.h"

void accllm_tasks_params_init(accllm_tasks_params *p)
{
    *p = (accllm_tasks_params){.struct_size = sizeof *p};
}

typedef struct tasks_run {
    const accllm_tasks_params *p;
    accllm_tasks_result *r;
    acc_scorer scorer;
    acc_task_reader reader;
    acc_task_item *item; /* the present one */
    acc_task_tokens tokens[ACC_TASK_MAX_CHOICES];
    acc_task_score scores[ACC_TASK_MAX_CHOICES];
    uint64_t right, right_norm, cost, done;
    size_t longest;
    double start, nll;
} tasks_run;

/* Tokens that the item takes to compute. */
static uint64_t cost_of(const tasks_run *run)
{
    size_t shared = acc_task_shared(run->tokens, run->item->n);
    uint64_t cost = shared;
    for (uint32_t i = 0; i < run->item->n; i++) cost += run->tokens[i].n - 1 - shared;
    return cost;
}

/* Calls `each` for the items up to the limit. */
static accllm_status for_items(tasks_run *run, const char *text, size_t len,
                               accllm_status (*each)(tasks_run *run, accllm_error *err), accllm_error *err)
{
    run->scorer.truncated = 0;
    ACC_TRY(acc_task_open(&run->reader, text, len, run->p->type, err));
    for (uint64_t n = 0; run->p->limit == 0 || n < run->p->limit; n++) {
        ACC_TRY(acc_task_next(&run->reader, run->item, err));
        if (run->item->n == 0) return ACCLLM_OK;
        accllm_status s = acc_task_tokenize(&run->scorer, run->item, run->tokens, err);
        if (s == ACCLLM_OK) s = each(run, err);
        acc_task_tokens_free(run->tokens, run->item->n);
        if (s == ACCLLM_E_CANCELLED) return s;
        if (s != ACCLLM_OK) return acc_prefix(err, s, "line %" PRIu64, run->item->line);
    }
    return ACCLLM_OK;
}

/* First pass: every item is read, so that a fault in the last line shows at once. */
static accllm_status count_item(tasks_run *run, accllm_error *err)
{
    (void)err;
    for (uint32_t i = 0; i < run->item->n; i++)
        if (run->tokens[i].n > run->longest) run->longest = run->tokens[i].n;
    run->cost += cost_of(run);
    run->r->n++;
    return ACCLLM_OK;
}

static uint32_t best_choice(const tasks_run *run, bool by_length)
{
    uint32_t best = 0;
    double most = -INFINITY;
    for (uint32_t i = 0; i < run->item->n; i++) {
        double x = run->scores[i].logprob / (by_length ? run->item->pair[i].length : 1);
        if (x > most) best = i, most = x;
    }
    return best;
}

static void tell(const tasks_run *run, uint64_t n, bool right, bool right_norm)
{
    double logprob[ACC_TASK_MAX_CHOICES];
    for (uint32_t i = 0; i < run->item->n; i++) logprob[i] = run->scores[i].logprob;
    if (run->p->item) {
        const accllm_task_item it = {run->item->line, run->item->n, run->item->gold, logprob, right, right_norm};
        run->p->item(run->p->user, &it);
    }
    if (!run->p->progress) return;
    double part = (double)run->done / (double)run->cost, spent = acc_seconds() - run->start;
    run->p->progress(run->p->user, part, (double)run->right / (double)n, spent / part - spent);
}

static accllm_status score_item(tasks_run *run, accllm_error *err)
{
    const acc_task_item *item = run->item;
    bool word = run->reader.type == ACC_TASK_WORD;
    ACC_TRY(acc_task_score_all(&run->scorer, run->tokens, item->n, run->scores, err));
    for (uint32_t i = 0; i < item->n; i++) run->r->tokens += run->scores[i].tokens;
    bool right = word ? run->scores[0].greedy : best_choice(run, false) == item->gold;
    bool norm = word ? right : best_choice(run, true) == item->gold;
    run->right += right;
    run->right_norm += norm;
    run->nll -= run->scores[item->gold].logprob;
    run->done += cost_of(run);
    run->r->n++;
    tell(run, run->r->n, right, norm);
    return ACCLLM_OK;
}

/* sample standard deviation / sqrt(n) of n values that are 0 or 1 */
static double standard_error(double mean, uint64_t n)
{
    return n > 1 ? sqrt(mean * (1 - mean) / (double)(n - 1)) : 0;
}

static void finish(tasks_run *run)
{
    accllm_tasks_result *r = run->r;
    const double n = (double)r->n;
    const acc_task_type type = run->reader.type;
    (void)snprintf(r->type, sizeof r->type, "%s", acc_task_type_name(type));
    r->accuracy = (double)run->right / n;
    r->accuracy_stderr = standard_error(r->accuracy, r->n);
    r->accuracy_norm = r->accuracy_norm_stderr = -1;
    if (type != ACC_TASK_WORD && type != ACC_TASK_SCHEMA) { /* there all continuations are as long */
        r->accuracy_norm = (double)run->right_norm / n;
        r->accuracy_norm_stderr = standard_error(r->accuracy_norm, r->n);
    }
    r->perplexity = type == ACC_TASK_WORD ? exp(run->nll / n) : -1;
    r->truncated = run->scorer.truncated;
    r->seconds = acc_seconds() - run->start;
}

/* With full attention a sequence ends at the trained context; with a window it has no end. */
static size_t token_limit(const accllm_model *m, const accllm_session_params *sp)
{
    if (!sp || !sp->full_attention) return SIZE_MAX;
    size_t limit = sp->n_ctx ? sp->n_ctx : sp->force ? SIZE_MAX : accllm_model_get_info(m)->n_ctx_train;
    return limit < 2 ? 2 : limit;
}

static accllm_status run_tasks(tasks_run *run, accllm_model *m, const accllm_session_params *sp, const char *text,
                               size_t len, accllm_error *err)
{
    ACC_TRY(for_items(run, text, len, count_item, err));
    if (run->r->n == 0) return acc_fail(err, ACCLLM_E_FORMAT, "the file has no items");
    accllm_ppl_params walk;
    accllm_ppl_params_init(&walk);
    walk.ctx = run->longest < UINT32_MAX ? (uint32_t)run->longest : UINT32_MAX;
    accllm_session_params params = acc_walk_session(sp, m, &walk, run->longest);
    run->scorer.rows = params.max_logits;
    ACC_TRY(acc_alloc((void **)&run->scorer.log_sums, params.max_logits, sizeof(double), "scores", err));
    ACC_TRY(accllm_session_create(&run->scorer.s, m, &params, err));
    run->r->n = 0;
    run->start = acc_seconds();
    ACC_TRY(for_items(run, text, len, score_item, err));
    finish(run);
    return ACCLLM_OK;
}

accllm_status accllm_eval_tasks(accllm_model *m, const accllm_session_params *sp, const char *text, size_t len,
                                const accllm_tasks_params *p, accllm_tasks_result *r, accllm_error *err)
{
    *r = (accllm_tasks_result){0};
    if (!p || p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "parameters were not set up by accllm_tasks_params_init()");
    const accllm_tokenizer *tok = accllm_model_tokenizer(m);
    if (!tok) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the model has no tokenizer");
    void *memory;
    ACC_TRY(acc_alloc(&memory, 1, sizeof(tasks_run) + sizeof(acc_task_item), "task items", err));
    tasks_run *run = memory;
    *run = (tasks_run){.p = p, .r = r, .item = (acc_task_item *)(void *)(run + 1)};
    run->scorer = (acc_scorer){
        .tok = tok, .n_vocab = accllm_model_get_info(m)->n_vocab, .pool = m->rt->pool, .limit = token_limit(m, sp)};
    accllm_status s = run_tasks(run, m, sp, text, len, err);
    accllm_session_free(&run->scorer.s);
    acc_free(run->scorer.log_sums);
    acc_task_item_clear(run->item);
    acc_free(run);
    if (s != ACCLLM_OK) *r = (accllm_tasks_result){0};
    return s;
}
