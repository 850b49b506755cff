/* A conversation kept in one session: each turn adds to the cache, nothing is computed twice. */
#ifndef CLI_DIALOGUE_H
#define CLI_DIALOGUE_H

#include <jansson.h>

#include "generate.h"
#include "prompt.h"

typedef struct cli_dialogue {
    const cli_options *o;
    const cli_engine *engine;
    accllm_session *session;
    accllm_sampler *sampler;
    uint64_t seed;
    char *system;      /* the system message, NULL: none */
    json_t *messages;  /* of user and assistant, as {"role", "content"}; what is not UTF-8 is null */
    cli_ids seen;      /* all ids of the conversation, for a replay after an aborted step; the last answer's end is not
                        * among them, it comes with the next message */
    cli_buffer answer; /* text of the last answer */
    bool stale;        /* the session must be reset and `seen` replayed */
    /* totals, for /stats */
    uint64_t turns, prompt_tokens, answer_tokens, steps;
    double prefill_seconds, decode_seconds;
} cli_dialogue;

/* Returns exit codes; the struct is safe to close after a failure. */
int cli_dialogue_open(cli_dialogue *d, const cli_engine *e, const cli_options *o);
void cli_dialogue_close(cli_dialogue *d);
/* Forgets the conversation; the system message begins the next one too. */
int cli_dialogue_reset(cli_dialogue *d);
/* Another system message, NULL: none; the conversation begins anew. On a failure all stays as it was. */
int cli_dialogue_set_system(cli_dialogue *d, const char *system);
/* Goes on from these messages: a system's or none, then a user's and an assistant's in turn, an assistant's last. On a
 * failure all stays as it was. */
int cli_dialogue_continue(cli_dialogue *d, const accllm_chat_message *messages, size_t n);
/* Adds a message to a list of them. False: out of memory. */
bool cli_dialogue_note(json_t *messages, const char *role, const char *text, size_t n);
/* One user message (terminated) and its answer, written to standard output unless quiet; its text is in d->answer
 * afterwards. An interrupted answer is kept as far as it came; *finish_reason as in generate.h. */
int cli_dialogue_say(cli_dialogue *d, const char *message, bool quiet, const char **finish_reason);

#endif
