/* Public batches: items checked one by one, then one pass of the quantised engine over those that are in order. */
#include <string.h>

#include "core/fpmode.h"
#include "core/memory.h"
#include "engine/internal.h"

#define DEFAULT_SESSIONS 16
#define DEFAULT_CHUNK 128 /* room for one beside the other sessions' tokens */

void accllm_batch_params_init(accllm_batch_params *p)
{
    memset(p, 0, sizeof *p);
    p->struct_size = sizeof *p;
}

static accllm_status resolve(accllm_batch_params *p, accllm_error *err)
{
    if (p->max_sessions == 0) p->max_sessions = DEFAULT_SESSIONS;
    if (p->max_tokens == 0) p->max_tokens = p->max_sessions < ACC_MAX_ROWS ? p->max_sessions + DEFAULT_CHUNK : 0;
    if (p->max_logits == 0) p->max_logits = p->max_sessions;
    if (p->max_tokens == 0 || p->max_tokens > ACC_MAX_ROWS)
        return acc_fail(err, ACCLLM_E_ARG, "a batch of %u tokens; 1 to %u are supported", p->max_tokens, ACC_MAX_ROWS);
    if (p->max_sessions > p->max_tokens || p->max_logits > p->max_tokens)
        return acc_fail(err, ACCLLM_E_ARG, "a batch of %u sessions and %u rows of logits, but only %u tokens",
                        p->max_sessions, p->max_logits, p->max_tokens);
    return ACCLLM_OK;
}

static accllm_status start(accllm_batch *b, accllm_error *err)
{
    accllm_model *m = b->model;
    ACC_TRY(resolve(&b->params, err));
    ACC_TRY(acc_logits_alloc(&b->logits, &b->logits_bytes, m, b->params.max_logits, err));
    ACC_TRY(acc_alloc((void **)&b->steps, b->params.max_sessions, sizeof *b->steps, "batch", err));
    return m->ref ? ACCLLM_OK : acc_batch_create(&b->work, m->packed, m->rt, b->params.max_tokens, err);
}

accllm_status accllm_batch_create(accllm_batch **out, accllm_model *m, const accllm_batch_params *p, accllm_error *err)
{
    *out = NULL;
    if (!m) return acc_fail(err, ACCLLM_E_ARG, "batch: no model");
    if (p && p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "batch parameters were not set up by accllm_batch_params_init()");
    accllm_batch *b = acc_calloc(1, sizeof *b);
    if (!b) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: batch");
    b->model = m;
    atomic_flag_clear(&b->busy);
    if (p)
        b->params = *p;
    else
        accllm_batch_params_init(&b->params);
    accllm_status status = start(b, err);
    if (status == ACCLLM_OK)
        *out = b;
    else
        accllm_batch_free(&b);
    return status;
}

void accllm_batch_free(accllm_batch **b)
{
    if (!b || !*b) return;
    acc_batch_free(&(*b)->work);
    acc_pages_free((*b)->logits, (*b)->logits_bytes);
    acc_free((*b)->steps);
    acc_free(*b);
    *b = NULL;
}

uint64_t accllm_batch_bytes(const accllm_batch *b)
{
    return sizeof *b + b->params.max_sessions * sizeof *b->steps + b->logits_bytes +
           (b->work ? acc_batch_bytes(b->work) : 0);
}

static bool stands_before(const accllm_batch *b, const accllm_session *s, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (b->steps[j].session == s->self) return true;
    return false;
}

/* Takes the session of items[i] and room for it; the engine checks the rest. */
static accllm_status take_item(accllm_batch *b, const accllm_batch_item *items, size_t i, accllm_error *err)
{
    const accllm_batch_item *item = &items[i];
    uint32_t tokens = b->params.max_tokens - b->n_tokens, rows = b->params.max_logits - b->n_logits;
    if (!item->session || !item->ids) return acc_fail(err, ACCLLM_E_ARG, "no session, or no tokens");
    if (item->session->model != b->model)
        return acc_fail(err, ACCLLM_E_ARG, "the session is of another model than the batch");
    if (item->session->params.backend != ACCLLM_BACKEND_CPU)
        return acc_fail(err, ACCLLM_E_ARG, "the session does not run on the CPU");
    if (stands_before(b, item->session, i)) return acc_fail(err, ACCLLM_E_ARG, "the session stands twice in the step");
    if (item->hidden && !b->work)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the float reference gives no hidden states");
    if (item->n > tokens)
        return acc_fail(err, ACCLLM_E_LIMIT, "%u tokens; the batch has room for %u in all, and %u are left", item->n,
                        b->params.max_tokens, tokens);
    if (item->n_logits > rows)
        return acc_fail(err, ACCLLM_E_LIMIT, "%u rows of logits; the batch has room for %u in all, and %u are left",
                        item->n_logits, b->params.max_logits, rows);
    ACC_TRY(acc_session_enter(item->session, err));
    b->steps[i] = (acc_step_item){.session = item->session->self,
                                  .ids = item->ids,
                                  .n = item->n,
                                  .n_logits = item->n_logits,
                                  .hidden = item->hidden,
                                  .logits = b->logits + (size_t)b->n_logits * b->model->info.n_vocab};
    b->n_tokens += item->n;
    b->n_logits += item->n_logits;
    return ACCLLM_OK;
}

/* The first failure keeps its message, with the item's number where there are several. */
static accllm_status note(accllm_status first, accllm_status status, size_t i, size_t n, accllm_error *err)
{
    if (first != ACCLLM_OK || status == ACCLLM_OK) return first;
    return n > 1 ? acc_prefix(err, status, "item %zu", i) : status;
}

/* The float reference: one item after the other. */
static accllm_status step_reference(accllm_batch *b, const accllm_batch_item *items, size_t n, accllm_error *err)
{
    accllm_status first = ACCLLM_OK;
    uint64_t mode = acc_fp_enter();
    for (size_t i = 0; i < n; i++) {
        acc_step_item *s = &b->steps[i];
        if (s->status != ACCLLM_OK) continue;
        accllm_error *to = first == ACCLLM_OK ? err : NULL;
        s->status = items[i].session->ops->step(s->session, s->ids, s->n, s->n_logits, s->logits, to);
        first = note(first, s->status, i, n, err);
    }
    acc_fp_leave(mode);
    return first;
}

static accllm_status run_step(accllm_batch *b, accllm_batch_item *items, size_t n, accllm_error *err)
{
    accllm_status first = ACCLLM_OK, status;
    b->n_tokens = b->n_logits = 0;
    for (size_t i = 0; i < n; i++) {
        status = take_item(b, items, i, first == ACCLLM_OK ? err : NULL);
        if (status != ACCLLM_OK) b->steps[i] = (acc_step_item){.status = status};
        first = note(first, status, i, n, err);
    }
    accllm_error *to = first == ACCLLM_OK ? err : NULL;
    status = b->work ? acc_batch_step(b->work, b->steps, (uint32_t)n, to) : step_reference(b, items, n, to);
    for (size_t i = 0; i < n; i++) {
        const acc_step_item *s = &b->steps[i];
        items[i].status = s->status;
        items[i].logits = s->status == ACCLLM_OK && s->n_logits ? s->logits : NULL;
        if (s->session) acc_session_leave(items[i].session);
    }
    return first == ACCLLM_OK ? status : first;
}

accllm_status accllm_batch_step(accllm_batch *b, accllm_batch_item *items, size_t n, accllm_error *err)
{
    accllm_status status = ACCLLM_OK;
    bool mine = false;
    if (n == 0 || n > b->params.max_sessions)
        status = acc_fail(err, ACCLLM_E_ARG, "a step of %zu sessions; the batch was made for 1 to %u", n,
                          b->params.max_sessions);
    else if (atomic_flag_test_and_set_explicit(&b->busy, memory_order_acquire))
        status = acc_fail(err, ACCLLM_E_ARG, "the batch is in use by another call");
    else
        mine = true;
    for (size_t i = 0; i < n && !mine; i++) {
        items[i].logits = NULL;
        items[i].status = status;
    }
    if (!mine) return status;
    status = run_step(b, items, n, err);
    atomic_flag_clear_explicit(&b->busy, memory_order_release);
    return status;
}
