/* Requests to the engine: /v1/chat/completions, /v1/completions and /v1/embeddings, from JSON to token ids and
 * settings. */
#ifndef ACC_SERVE_REQUEST_H
#define ACC_SERVE_REQUEST_H

#include "serve/problem.h"
#include "serve/sequence.h"
#include "serve/service.h"

enum {
    ACC_MAX_WHOLE = 1 << 20,  /* tokens of the answers of one reply that is not streamed; it ends with "length" */
    ACC_MAX_SCORES = 1 << 20, /* log-probabilities, alternatives included, that one reply collects */
};

typedef struct acc_prompt {
    int32_t *ids; /* malloc'ed */
    size_t n;
    bool empty; /* no text: the answer is the beginning of one */
} acc_prompt;

typedef struct acc_request {
    bool chat;   /* else a completion, or */
    bool embed;  /* its prompts' embeddings */
    bool base64; /* these as text */
    bool stream, include_usage, echo;
    uint32_t n;         /* answers to each prompt */
    bool scored;        /* the reply shows log-probabilities */
    bool token_ids;     /* and the answers' token ids */
    acc_prompt *prompt; /* malloc'ed */
    size_t n_prompts;
    acc_settings settings;
} acc_request;

/* Reads the body. On failure *r is empty and the problem filled. */
bool acc_request_read(acc_request *r, const acc_service *s, bool chat, const json_t *body, acc_problem *p);
/* The same for embeddings (embeddings.c). */
bool acc_request_read_embed(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p);
void acc_request_free(acc_request *r);

/* structure.c: the grammar of "response_format", "json_schema" or "grammar" into the settings. */
bool acc_read_structure(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p);
/* prompts.c: the ids of "prompt" (or another key) and "messages". */
bool acc_read_prompts(acc_request *r, const acc_service *s, const json_t *body, const char *key, acc_problem *p);
bool acc_read_messages(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p);
/* A list of ids of the vocabulary; *ids is malloc'ed. */
bool acc_read_ids(const acc_service *s, const json_t *list, const char *key, int32_t **ids, size_t *n, acc_problem *p);
/* The ids of "messages" through the chat template, with a BOS where the vocabulary asks for one. n_system (may be
 * NULL): how many of them are of the system messages that stand first. */
bool acc_chat_ids(const acc_service *s, const json_t *body, bool generate, int32_t **ids, size_t *n, size_t *n_system,
                  acc_problem *p);

#endif
