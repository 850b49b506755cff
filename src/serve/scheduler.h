/*
 * The scheduler: a bounded queue of requests before a fixed number of slots, and the engine's thread, which advances
 * all sequences that have a slot together. Sequences join and leave between steps. A step gives every sequence past
 * its prompt one token and one of those still in it a piece of its prompt, in turn, so that a long prompt holds nobody
 * up for longer than a piece.
 *
 * All functions but acc_scheduler_create() and acc_scheduler_free() may be called from any thread.
 */
#ifndef ACC_SERVE_SCHEDULER_H
#define ACC_SERVE_SCHEDULER_H

#include "accllm/batch.h"
#include "core/status.h"
#include "serve/sequence.h"

typedef struct acc_scheduler acc_scheduler;

/* A request's sequences. They get slots in order; between two of one request every other that waits has its turn. */
typedef struct acc_ticket {
    acc_sequence *seq;
    size_t n;
    /* the scheduler's */
    size_t next; /* the first that has not had a slot */
    struct acc_ticket *before, *after;
    bool queued;
} acc_ticket;

typedef struct acc_scheduler_params {
    accllm_runtime *rt;
    accllm_model *model;
    const accllm_session_params *session;
    uint32_t slots, queue;
    size_t longest;             /* token of the vocabulary, in bytes */
    void (*notify)(void *user); /* from the engine's thread: there is something to take */
    void (*left)(void *user);   /* a slot is free whose session has changed; called under the scheduler's lock */
    void *user;
} acc_scheduler_params;

typedef struct acc_load {
    uint32_t running, waiting; /* sequences with a slot, requests in the queue */
} acc_load;

/* The batch in which so many slots of such sessions advance: each a token, and one a piece of its prompt beside. */
accllm_status acc_scheduler_batch(accllm_batch **out, accllm_model *m, const accllm_session_params *sp, uint32_t slots,
                                  accllm_error *err) ACC_MUST_CHECK;
/* Bytes of what it owns beside slots and batch. */
size_t acc_scheduler_bytes(accllm_model *m, const accllm_session_params *sp);
/* Makes the slots and starts the engine's thread. */
accllm_status acc_scheduler_create(acc_scheduler **out, const acc_scheduler_params *p,
                                   accllm_error *err) ACC_MUST_CHECK;
/* Ends the thread; no sequence is used by it afterwards. */
void acc_scheduler_end(acc_scheduler *s);
void acc_scheduler_free(acc_scheduler **s);

/* E_LIMIT: the queue is full; E_CANCELLED: the scheduler was closed. The ticket and its sequences must live until every
 * sequence is finished. */
accllm_status acc_scheduler_submit(acc_scheduler *s, acc_ticket *t);
/* Nobody waits for the ticket's answers any more; its sequences finish, at the latest after the present step. */
void acc_scheduler_cancel(acc_scheduler *s, acc_ticket *t);
/* Moves what the sequence has given into box (empty, with the text bytes of acc_box_text_bytes()) and returns how it
 * finished. A finished sequence has given everything with this call and leaves its slot. */
acc_finish acc_scheduler_take(acc_scheduler *s, acc_sequence *q, acc_box *box);
/* True if all sequences of the ticket have finished. */
bool acc_scheduler_finished(acc_scheduler *s, const acc_ticket *t);
acc_load acc_scheduler_load(acc_scheduler *s);
/* Takes no more requests; those that wait fail. */
void acc_scheduler_close(acc_scheduler *s);

/* Lends a free slot, whose session may be saved or restored; no sequence gets it until it is given back, so that must
 * be soon. NULL: there is none. lend_changed: the one that was left longest ago of those that changed since they were
 * lent so; session: its number. */
struct acc_slot *acc_scheduler_lend(acc_scheduler *s, uint32_t session);
struct acc_slot *acc_scheduler_lend_changed(acc_scheduler *s, uint32_t *session);
void acc_scheduler_give_back(acc_scheduler *s, struct acc_slot *slot);

#endif
