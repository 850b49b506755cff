/* Generation of one answer: prefill, draw, text with stop words. Shared by run and chat. */
#ifndef CLI_GENERATE_H
#define CLI_GENERATE_H

#include <stdio.h>

#include "accllm/accllm.h"
#include "options.h"

/* Growing buffers; the empty one is all zero. */
typedef struct cli_buffer {
    char *data;
    size_t len, cap;
} cli_buffer;

typedef struct cli_ids {
    int32_t *data;
    size_t len, cap;
} cli_ids;

bool cli_buffer_add(cli_buffer *b, const char *bytes, size_t n); /* false: out of memory */
bool cli_ids_add(cli_ids *b, const int32_t *ids, size_t n);

typedef struct cli_generation {
    /* set by the caller */
    accllm_session *session;
    accllm_sampler *sampler;
    accllm_matcher *matcher; /* NULL: any text */
    const accllm_tokenizer *tok;
    uint32_t n_vocab, chunk;
    int64_t n_predict; /* -1: endless */
    const cli_texts *stop;
    bool ignore_eos;
    bool keep;         /* collect text and ids */
    bool show_prefill; /* progress of a long prompt */
    bool at_start;     /* the answer begins the text */
    /* the session goes on afterwards: the last drawn token enters it, unless it ends the text, and Ctrl-C stops
     * between tokens */
    bool continued;
    bool quiet; /* do not write the text to standard output */
    FILE *logits, *trace;
    /* results */
    cli_buffer text;
    cli_ids ids;
    char last;                 /* last byte of the text; 0: none */
    const char *finish_reason; /* "stop", "length", "interrupted"; NULL: failed */
    bool ended;                /* by an end token, which was drawn but not computed */
    bool complete;             /* the grammar allows no more */
    bool broken;               /* the session must be reset before further use */
    uint64_t n_prompt, n_drawn, n_steps;
    double prefill_seconds, decode_seconds;
} cli_generation;

/* Computes the prompt's ids and generates. Returns the exit code: CLI_OK also when interrupted (finish_reason says so).
 * With `logits` the last drawn token is computed too, for its row. */
int cli_generate(cli_generation *g, const int32_t *prompt, size_t n);
void cli_generation_free(cli_generation *g);
/* Tokens per second; 0 where nothing was measured. */
double cli_rate(uint64_t n, double seconds);

/* Largest n_logits that cli_generate asks for: session parameters' max_logits. */
uint32_t cli_generation_rows(const cli_generation *g);

#endif
