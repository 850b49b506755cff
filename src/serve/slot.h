/*
 * A slot is one session and the sequence that has it: plans the next step, and digests what the step gave into records
 * and text. The scheduler owns slots; but for the sequence's and the outgoing box's fields they belong to the engine's
 * thread.
 */
#ifndef ACC_SERVE_SLOT_H
#define ACC_SERVE_SLOT_H

#include "accllm/engine.h"
#include "core/status.h"
#include "serve/sequence.h"

typedef struct acc_slot {
    accllm_session *session;
    const accllm_tokenizer *tok;
    uint32_t n_vocab, n_embd, chunk;
    const uint64_t *unending; /* the scheduler's: bit by bit, the tokens that do not end the text */
    int32_t *held;            /* [ACC_HELD_IDS]: the tokens that the session has read, or the first of them */
    /* of the sequence that has the slot */
    acc_sequence *seq; /* NULL: free */
    accllm_sampler *sampler;
    accllm_matcher *matcher; /* NULL: no grammar */
    bool starting;           /* taken up, not begun */
    size_t n_read;           /* prompt tokens */
    int32_t next;            /* drawn, to be read */
    uint64_t n_drawn;
    accllm_text_stream stream;
    char *pending; /* text that may yet become a stop text */
    size_t n_pending, cap_pending;
    uint64_t n_text, n_chars; /* of the answer so far, pending text included */
    acc_finish finish;
    bool stop_text;
    accllm_error error;
    acc_box fresh; /* what the last step gave */
    /* under the scheduler's lock */
    acc_box out;      /* what was not taken yet */
    bool busy;        /* a step of it is being computed */
    bool lent;        /* its state is being saved or restored */
    bool changed;     /* since it was last saved */
    uint64_t left_at; /* when a sequence left it, by the scheduler's count; 0: none has */
    size_t shared;    /* reuse.c: tokens that it has in common with the prompt at hand */
} acc_slot;

enum { ACC_HELD_IDS = 65536 };

/* One call's share of the engine. */
typedef struct acc_step {
    acc_slot *slot;
    const int32_t *ids;
    size_t n, n_logits;
    const float *logits; /* [n_logits][n_vocab] */
    float *hidden;       /* [n][n_embd]; NULL: not wanted */
    accllm_status status;
    accllm_error error;
} acc_step;

/* Tokens of a piece of a prompt. */
uint32_t acc_slot_chunk(const accllm_session_params *sp);
/* longest: of the vocabulary's tokens, in bytes. */
accllm_status acc_slot_init(acc_slot *s, accllm_model *m, const accllm_session_params *sp, size_t longest,
                            const uint64_t *unending, accllm_error *err) ACC_MUST_CHECK;
void acc_slot_free(acc_slot *s);
/* Bytes of a slot but for its session's: its boxes, its ids, a sampler and a grammar's matcher. */
size_t acc_slot_bytes(size_t longest, const accllm_vocabulary *vocabulary, uint32_t n_vocab);

/* reuse.c: the free slot for the sequence, its session standing behind the seq->n_reused tokens of the prompt that it
 * had read already; NULL: there is none just now. reuse false: sessions begin anew. */
acc_slot *acc_slot_choose(acc_slot *slot, size_t n, acc_sequence *seq, bool reuse);

/* Gives the slot to a sequence, after acc_slot_choose(); its first step begins with acc_slot_begin(), which sets finish
 * on failure. */
void acc_slot_take_up(acc_slot *s, acc_sequence *seq);
void acc_slot_begin(acc_slot *s);
void acc_slot_end(acc_slot *s);
bool acc_slot_in_prompt(const acc_slot *s);
/* True if the outgoing box has room for all that one step can give. */
bool acc_slot_has_room(const acc_slot *s);
/* hidden: [chunk][n_embd], for one of the slots in their prompts. */
void acc_slot_plan(acc_slot *s, acc_step *step, float *hidden);
/* Fills the fresh box, and finish at the end. */
void acc_slot_digest(acc_slot *s, const acc_step *step);

/* Appends `from` to `to`, which has room for it, and empties it. */
void acc_box_move(acc_box *to, acc_box *from);
accllm_status acc_box_init(acc_box *b, size_t cap_text, accllm_error *err) ACC_MUST_CHECK;
void acc_box_free(acc_box *b);
size_t acc_box_text_bytes(size_t longest);

#endif
