#include "serve/scheduler.h"

#include <pthread.h>

#include "core/memory.h"
#include "core/runtime.h"
#include "serve/slot.h"

struct acc_scheduler {
    acc_scheduler_params p;
    acc_slot *slot;          /* [p.slots] */
    uint64_t *unending;      /* [(n_vocab + 63) / 64], bit by bit: the tokens that do not end a text */
    accllm_batch *batch;     /* this and the next four are the engine thread's */
    acc_slot **chosen;       /* [p.slots], of one step */
    acc_step *step;          /* [p.slots] */
    size_t n_steps;          /* of the present step */
    accllm_batch_item *item; /* [p.slots] */
    float *hidden;           /* [chunk][n_embd], of the one slot that reads a piece of its prompt */
    uint64_t room;           /* tokens that a session keeps */
    bool reuse;              /* results do not depend on how a text was cut into pieces */
    pthread_t thread;
    bool has_thread, has_lock, has_cond;
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* under the lock */
    acc_ticket *first, *last; /* the queue */
    uint32_t n_queued;
    uint32_t turn;   /* the slot whose prompt is looked at first */
    uint64_t n_left; /* times that a slot was left */
    bool closed, quit;
};

/* The queue; all under the lock. */

static void enqueue(acc_scheduler *s, acc_ticket *t)
{
    t->before = s->last;
    t->after = NULL;
    if (s->last)
        s->last->after = t;
    else
        s->first = t;
    s->last = t;
    s->n_queued++;
    t->queued = true;
}

static void dequeue(acc_scheduler *s, acc_ticket *t)
{
    if (t->before)
        t->before->after = t->after;
    else
        s->first = t->after;
    if (t->after)
        t->after->before = t->before;
    else
        s->last = t->before;
    s->n_queued--;
    t->queued = false;
}

static void admit(acc_scheduler *s)
{
    acc_slot *slot;
    while (s->first) {
        acc_ticket *t = s->first;
        acc_sequence *q = &t->seq[t->next];
        slot = acc_slot_choose(s->slot, s->p.slots, q, s->reuse);
        if (!slot) break;
        dequeue(s, t);
        t->next++;
        acc_slot_take_up(slot, q);
        if (t->next < t->n) enqueue(s, t);
    }
}

/* Whether as many requests will wait as may, once the free slots are taken: these are given out between two steps, and
 * a step may be long. */
static bool is_full(const acc_scheduler *s)
{
    size_t vacant = 0, wanted = 0;
    if (s->n_queued < s->p.queue) return false;
    for (uint32_t i = 0; i < s->p.slots; i++) vacant += !s->slot[i].seq;
    if (vacant == 0) return true;
    for (const acc_ticket *t = s->first; t; t = t->after) wanted += t->n - t->next;
    return wanted >= vacant + s->p.queue;
}

/* The engine's thread. */

static bool runnable(const acc_slot *slot)
{
    return slot->seq && slot->seq->finish == ACC_UNFINISHED && acc_slot_has_room(slot);
}

/* Those whose turn it is, into s->chosen. */
static size_t choose(acc_scheduler *s)
{
    size_t n = 0;
    bool prompt = false;
    uint32_t from = s->turn;
    for (uint32_t i = 0; i < s->p.slots; i++) {
        uint32_t at = (from + i) % s->p.slots;
        acc_slot *slot = &s->slot[at];
        if (!runnable(slot) || (prompt && acc_slot_in_prompt(slot))) continue;
        if (acc_slot_in_prompt(slot)) {
            prompt = true;
            s->turn = (at + 1) % s->p.slots;
        }
        slot->busy = true;
        s->chosen[n++] = slot;
    }
    return n;
}

/* One pass over the weights for all steps. */
static void advance(acc_scheduler *s)
{
    accllm_error error = {0};
    const size_t n = s->n_steps;
    for (size_t i = 0; i < n; i++)
        s->item[i] = (accllm_batch_item){.session = s->step[i].slot->session,
                                         .ids = s->step[i].ids,
                                         .n = (uint32_t)s->step[i].n,
                                         .n_logits = (uint32_t)s->step[i].n_logits,
                                         .hidden = s->step[i].hidden};
    (void)accllm_batch_step(s->batch, s->item, n, &error); /* says of each item whether it succeeded */
    for (size_t i = 0; i < n; i++) {
        s->step[i].logits = s->item[i].logits;
        s->step[i].status = s->item[i].status;
        s->step[i].error = error;
    }
}

/* Job: drawing, grammar, scores and text are each slot's own affair. */
static void digest_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    acc_scheduler *s = ctx;
    for (size_t i = worker; i < s->n_steps; i += n_workers) acc_slot_digest(s->step[i].slot, &s->step[i]);
}

static void compute(acc_scheduler *s, size_t n)
{
    s->n_steps = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->chosen[i]->starting) acc_slot_begin(s->chosen[i]);
        if (!s->chosen[i]->finish) acc_slot_plan(s->chosen[i], &s->step[s->n_steps++], s->hidden);
    }
    if (s->n_steps == 0) return;
    advance(s);
    acc_pool_run(s->p.rt->pool, digest_share, s);
}

static void finish(acc_scheduler *s, acc_sequence *q, acc_finish how)
{
    acc_slot *slot = q->slot;
    q->finish = how;
    if (!slot) return;
    acc_slot_end(slot);
    slot->left_at = ++s->n_left;
    slot->changed = true;
    s->p.left(s->p.user);
}

static void publish(acc_scheduler *s, acc_slot *slot)
{
    acc_sequence *q = slot->seq;
    slot->busy = false;
    acc_box_move(&slot->out, &slot->fresh);
    if (q->cancelled) {
        finish(s, q, ACC_FINISH_CANCELLED);
        return;
    }
    uint64_t position = accllm_session_position(slot->session);
    q->n_evicted = position > s->room ? position - s->room : 0;
    q->n_generated = slot->n_drawn;
    q->stop_text = slot->stop_text;
    if (slot->finish == ACC_FINISH_FAILED) q->error = slot->error;
    q->finish = slot->finish; /* the slot is left when all was taken */
}

static void *engine_main(void *arg)
{
    acc_scheduler *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        admit(s);
        size_t n = choose(s);
        if (n == 0) {
            (void)pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&s->lock);
        compute(s, n);
        (void)pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < n; i++) publish(s, s->chosen[i]);
        s->p.notify(s->p.user);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* For every thread. */

accllm_status acc_scheduler_submit(acc_scheduler *s, acc_ticket *t)
{
    accllm_status status = ACCLLM_OK;
    (void)pthread_mutex_lock(&s->lock);
    if (s->closed)
        status = ACCLLM_E_CANCELLED;
    else if (is_full(s))
        status = ACCLLM_E_LIMIT;
    else
        enqueue(s, t);
    (void)pthread_cond_signal(&s->work);
    (void)pthread_mutex_unlock(&s->lock);
    return status;
}

void acc_scheduler_cancel(acc_scheduler *s, acc_ticket *t)
{
    (void)pthread_mutex_lock(&s->lock);
    if (t->queued) dequeue(s, t);
    t->next = t->n;
    for (size_t i = 0; i < t->n; i++) {
        acc_sequence *q = &t->seq[i];
        q->cancelled = true;
        if (!q->slot || !q->slot->busy) finish(s, q, q->finish ? q->finish : ACC_FINISH_CANCELLED);
    }
    (void)pthread_cond_signal(&s->work);
    (void)pthread_mutex_unlock(&s->lock);
}

acc_finish acc_scheduler_take(acc_scheduler *s, acc_sequence *q, acc_box *box)
{
    (void)pthread_mutex_lock(&s->lock);
    acc_finish how = q->finish;
    if (q->slot) {
        acc_box_move(box, &q->slot->out);
        if (how && !q->slot->busy) finish(s, q, how);
        (void)pthread_cond_signal(&s->work); /* there is room again */
    }
    (void)pthread_mutex_unlock(&s->lock);
    return how;
}

bool acc_scheduler_finished(acc_scheduler *s, const acc_ticket *t)
{
    bool all = true;
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < t->n; i++) all &= t->seq[i].finish != ACC_UNFINISHED;
    (void)pthread_mutex_unlock(&s->lock);
    return all;
}

acc_load acc_scheduler_load(acc_scheduler *s)
{
    (void)pthread_mutex_lock(&s->lock);
    acc_load load = {.waiting = s->n_queued};
    for (uint32_t i = 0; i < s->p.slots; i++) load.running += s->slot[i].seq != NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return load;
}

void acc_scheduler_close(acc_scheduler *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->closed = true;
    while (s->first) {
        acc_ticket *t = s->first;
        dequeue(s, t);
        for (; t->next < t->n; t->next++) {
            (void)acc_fail(&t->seq[t->next].error, ACCLLM_E_CANCELLED, "the server is shutting down");
            t->seq[t->next].finish = ACC_FINISH_FAILED;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    s->p.notify(s->p.user);
}

accllm_status acc_scheduler_batch(accllm_batch **out, accllm_model *m, const accllm_session_params *sp, uint32_t slots,
                                  accllm_error *err)
{
    accllm_batch_params p;
    accllm_batch_params_init(&p);
    p.max_sessions = slots;
    p.max_tokens = slots + acc_slot_chunk(sp);
    p.max_logits = slots + ACC_SCORED_ROWS;
    if (p.max_logits > p.max_tokens) p.max_logits = p.max_tokens;
    return accllm_batch_create(out, m, &p, err);
}

size_t acc_scheduler_bytes(accllm_model *m, const accllm_session_params *sp)
{
    const accllm_model_info *info = accllm_model_get_info(m);
    return (size_t)acc_slot_chunk(sp) * info->n_embd * sizeof(float) + info->n_vocab / 8;
}

static accllm_status make_unending(acc_scheduler *s, accllm_error *err)
{
    const accllm_tokenizer *tok = accllm_model_tokenizer(s->p.model);
    const uint32_t n = accllm_model_get_info(s->p.model)->n_vocab;
    void *mask = NULL;
    ACC_TRY(acc_alloc(&mask, (n + 63) / 64, sizeof *s->unending, "marks of tokens", err));
    s->unending = mask;
    for (uint32_t id = 0; id < n; id++)
        if (!accllm_token_ends_text(tok, (int32_t)id)) s->unending[id / 64] |= UINT64_C(1) << id % 64;
    return ACCLLM_OK;
}

static accllm_status start(acc_scheduler *s, accllm_error *err)
{
    void *slot = NULL, *step = NULL, *chosen = NULL, *item = NULL, *hidden = NULL;
    ACC_TRY(acc_scheduler_batch(&s->batch, s->p.model, s->p.session, s->p.slots, err));
    ACC_TRY(acc_alloc(&slot, s->p.slots, sizeof *s->slot, "sessions", err));
    s->slot = slot;
    ACC_TRY(acc_alloc(&step, s->p.slots, sizeof *s->step, "sessions", err));
    s->step = step;
    ACC_TRY(acc_alloc(&chosen, s->p.slots, sizeof(void *), "sessions", err));
    s->chosen = chosen;
    ACC_TRY(acc_alloc(&item, s->p.slots, sizeof *s->item, "sessions", err));
    s->item = item;
    const accllm_model_info *info = accllm_model_get_info(s->p.model);
    ACC_TRY(acc_alloc(&hidden, acc_slot_chunk(s->p.session), info->n_embd * sizeof(float), "hidden states", err));
    s->hidden = hidden;
    ACC_TRY(make_unending(s, err));
    s->reuse = info->numerics == ACCLLM_NUMERICS_CONTRACT;
    for (uint32_t i = 0; i < s->p.slots; i++) {
        ACC_TRY(acc_slot_init(&s->slot[i], s->p.model, s->p.session, s->p.longest, s->unending, err));
        s->room = (uint64_t)accllm_session_sinks(s->slot[i].session) + accllm_session_window(s->slot[i].session);
    }
    if (pthread_mutex_init(&s->lock, NULL) != 0) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: scheduler");
    s->has_lock = true;
    if (pthread_cond_init(&s->work, NULL) != 0) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: scheduler");
    s->has_cond = true;
    s->has_thread = pthread_create(&s->thread, NULL, engine_main, s) == 0;
    return s->has_thread ? ACCLLM_OK : acc_fail(err, ACCLLM_E_NOMEM, "the engine's thread could not be started");
}

accllm_status acc_scheduler_create(acc_scheduler **out, const acc_scheduler_params *p, accllm_error *err)
{
    *out = NULL;
    acc_scheduler *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: scheduler");
    s->p = *p;
    accllm_status status = start(s, err);
    if (status == ACCLLM_OK)
        *out = s;
    else
        acc_scheduler_free(&s);
    return status;
}

acc_slot *acc_scheduler_lend(acc_scheduler *s, uint32_t session)
{
    acc_slot *slot = &s->slot[session];
    (void)pthread_mutex_lock(&s->lock);
    if (slot->seq || slot->lent) slot = NULL;
    if (slot) slot->lent = true;
    (void)pthread_mutex_unlock(&s->lock);
    return slot;
}

acc_slot *acc_scheduler_lend_changed(acc_scheduler *s, uint32_t *session)
{
    acc_slot *found = NULL;
    (void)pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->p.slots; i++) {
        acc_slot *slot = &s->slot[i];
        if (slot->seq || slot->lent || !slot->changed || (found && found->left_at < slot->left_at)) continue;
        found = slot;
        *session = i;
    }
    if (found) {
        found->lent = true;
        found->changed = false;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return found;
}

void acc_scheduler_give_back(acc_scheduler *s, acc_slot *slot)
{
    (void)pthread_mutex_lock(&s->lock);
    slot->lent = false;
    if (accllm_session_position(slot->session) > 0 && slot->left_at == 0) slot->left_at = ++s->n_left; /* restored */
    (void)pthread_cond_signal(&s->work);
    (void)pthread_mutex_unlock(&s->lock);
}

void acc_scheduler_end(acc_scheduler *s)
{
    if (!s->has_thread) return;
    (void)pthread_mutex_lock(&s->lock);
    s->quit = true;
    (void)pthread_cond_signal(&s->work);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->thread, NULL);
    s->has_thread = false;
}

void acc_scheduler_free(acc_scheduler **s)
{
    if (!s || !*s) return;
    acc_scheduler_end(*s);
    for (uint32_t i = 0; (*s)->slot && i < (*s)->p.slots; i++) acc_slot_free(&(*s)->slot[i]);
    if ((*s)->has_cond) (void)pthread_cond_destroy(&(*s)->work);
    if ((*s)->has_lock) (void)pthread_mutex_destroy(&(*s)->lock);
    acc_free((*s)->slot);
    acc_free((*s)->step);
    acc_free((*s)->chosen);
    acc_free((*s)->item);
    acc_free((*s)->hidden);
    acc_free((*s)->unending);
    accllm_batch_free(&(*s)->batch);
    acc_free(*s);
    *s = NULL;
}
