/* Replies of /v1/chat/completions and /v1/completions as JSON. All return new objects, NULL: out of memory. */
#ifndef ACC_SERVE_REPLY_H
#define ACC_SERVE_REPLY_H

#include <jansson.h>

#include "serve/choice.h"

/* What all replies to one request share. */
typedef struct acc_reply {
    const acc_request *request;
    const char *model;
    char id[40];
    int64_t created;
    uint64_t prompt_tokens, completion_tokens, evicted_tokens, cached_tokens;
} acc_reply;

/* Sets id and created. */
void acc_reply_init(acc_reply *r, const acc_request *q, const char *model);
/* A whole reply; what the choices collected goes into it. */
json_t *acc_reply_whole(const acc_reply *r, acc_choice *choice, size_t n);
/* The prompts' embeddings, of n_embd floats each (embeddings.c). */
json_t *acc_reply_embeddings(const acc_reply *r, const acc_sequence *seq, size_t n, uint32_t n_embd);
/* A piece of a stream: the role that begins a message, what the choice has collected, its end, the usage at last. */
json_t *acc_reply_role(const acc_reply *r, const acc_choice *c);
json_t *acc_reply_piece(const acc_reply *r, acc_choice *c);
json_t *acc_reply_end(const acc_reply *r, acc_choice *c);
json_t *acc_reply_usage(const acc_reply *r);

#endif
