/*
 * A sequence is one answer to one prompt: what it asks of the engine, and the boxes in which its tokens and its text
 * travel from the engine's thread to the one that speaks HTTP.
 */
#ifndef ACC_SERVE_SEQUENCE_H
#define ACC_SERVE_SEQUENCE_H

#include "accllm/grammar.h"
#include "accllm/sampler.h"
#include "accllm/tokenizer.h"

enum {
    ACC_MAX_TOP = 20,     /* alternatives shown per token */
    ACC_SCORED_ROWS = 16, /* prompt positions whose logits one step returns */
    ACC_BOX_RECORDS = 64,
    ACC_MAX_RECENT = 4096, /* tokens that a repetition penalty may look back */
    ACC_MAX_STOPS = 16,
    ACC_MAX_STOP_BYTES = 256,
};

typedef struct acc_stops {
    char *text[ACC_MAX_STOPS]; /* malloc'ed, not empty */
    size_t n;
} acc_stops;

/* What a request asks of all its sequences; not changed once they were submitted. */
typedef struct acc_settings {
    accllm_sampler_params sampler; /* its seed is the first sequence's */
    uint64_t min_tokens; /* before so many were drawn, no token that ends the text is; not with stops or a grammar */
    uint64_t max_tokens;
    bool ignore_eos;
    bool score;        /* log-probabilities of the answer's tokens */
    bool score_prompt; /* and of the prompt's */
    uint32_t n_top;
    acc_stops stops;
    accllm_grammar *grammar; /* NULL: any text */
    const accllm_vocabulary *vocabulary;
} acc_settings;

typedef struct acc_top {
    int32_t id;
    float logprob;
} acc_top;

/* A token that was drawn, or one of a prompt that is scored. */
typedef struct acc_record {
    int32_t id;
    bool prompt;
    bool ended;    /* it ended the text and is not part of it */
    float logprob; /* NaN: none, as for a prompt's first token */
    uint32_t n_top;
    acc_top top[ACC_MAX_TOP]; /* likeliest first */
    uint64_t at, at_char;     /* where its text begins in the answer's, in bytes and characters */
    size_t text_end;          /* of the box's text, the bytes that were released up to this token */
} acc_record;

typedef struct acc_box {
    char *text; /* whole characters; without what may yet become a stop text */
    size_t n_text, cap_text;
    acc_record *record; /* [ACC_BOX_RECORDS] */
    size_t n_records;
} acc_box;

typedef enum acc_finish {
    ACC_UNFINISHED = 0,
    ACC_FINISH_STOP,      /* the model ended the text, or a stop text came */
    ACC_FINISH_LENGTH,    /* max_tokens, or a full context */
    ACC_FINISH_FAILED,    /* see error */
    ACC_FINISH_CANCELLED, /* nobody waits for it any more */
} acc_finish;

typedef struct acc_sequence {
    const acc_settings *settings;
    const int32_t *prompt;
    size_t n_prompt;
    bool at_start; /* the answer is the beginning of a text */
    uint64_t seed;
    double *pool; /* [n_embd]: the sum of the prompt's hidden states comes here; NULL: not wanted */
    /* the scheduler's; to be read under its lock */
    struct acc_slot *slot;
    acc_finish finish;
    bool stop_text; /* finished by a stop text: tokens from the text's end on are not part of it */
    accllm_error error;
    uint64_t n_generated;
    uint64_t n_evicted; /* tokens that left the window */
    size_t n_reused;    /* of the prompt: its session had read them already */
    bool cancelled;
} acc_sequence;

#endif
