/*
 * A choice is one answer as the client sees it: collects what a sequence gives, text and log-probabilities, until it
 * is sent. It belongs to the thread that speaks HTTP.
 */
#ifndef ACC_SERVE_CHOICE_H
#define ACC_SERVE_CHOICE_H

#include <jansson.h>

#include "serve/request.h"

typedef struct acc_choice {
    const acc_request *request;
    const acc_prompt *prompt;
    const accllm_tokenizer *tok;
    uint32_t index;
    /* not sent yet */
    char *text;
    size_t n_text, cap_text;
    json_t *scores[4]; /* chat: entries; completions: tokens, token_logprobs, top_logprobs, text_offset */
    json_t *ids;
    /* tokens whose text is held back */
    acc_record *held;
    size_t n_held, cap_held;
    uint64_t released; /* bytes of the answer's text so far */
    accllm_text_stream echo;
    uint64_t echo_chars;
    bool answering; /* the prompt is behind */
    bool begun;     /* something was sent */
    acc_finish finish;
} acc_choice;

/* Sends what is in the choice; false: out of memory. */
typedef bool acc_choice_emit(void *user, acc_choice *c);

void acc_choice_init(acc_choice *c, const acc_request *r, const acc_prompt *prompt, const accllm_tokenizer *tok,
                     uint32_t index);
void acc_choice_free(acc_choice *c);
/* Takes over a box's contents and how the sequence stands. emit (NULL: collect everything) is called after each token
 * that brought text, and where scores or ids of many without any have gathered. False: out of memory. */
bool acc_choice_add(acc_choice *c, const acc_box *box, acc_finish finish, bool stop_text, acc_choice_emit *emit,
                    void *user);
/* "logprobs" of a reply, a new object or null; the scores collected so far go into it. */
json_t *acc_choice_scores(acc_choice *c);
/* "token_ids" of a reply to a request that wants them, a new list; the ids collected so far go into it. */
json_t *acc_choice_ids(acc_choice *c);
/* "stop", "length"; NULL while it goes on. */
const char *acc_choice_reason(const acc_choice *c);

#endif
