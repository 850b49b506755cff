/* Pre-tokenizers: the regular expressions that cut a text into words before byte-level BPE. */
#ifndef ACC_TOKENIZER_PRETOKENIZER_H
#define ACC_TOKENIZER_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "format/gguf.h"

#define ACC_MAX_PASSES 6

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

typedef struct acc_pretokenizer {
    unsigned n_passes;
    struct pcre2_real_code_8 *pass[ACC_MAX_PASSES];
    bool whole_words; /* a word that is itself a token is not cut by merges */
    bool adds_bos;    /* where the file does not say */
} acc_pretokenizer;

/* What one thread needs to match. */
typedef struct acc_matcher {
    struct pcre2_real_match_data_8 *data;
    struct pcre2_real_match_context_8 *context;
} acc_matcher;

/* name as in tokenizer.ggml.pre. */
accllm_status acc_pretokenizer_init(acc_pretokenizer *p, acc_str name, accllm_error *err) ACC_MUST_CHECK;
void acc_pretokenizer_free(acc_pretokenizer *p);

accllm_status acc_matcher_init(acc_matcher *m, accllm_error *err) ACC_MUST_CHECK;
void acc_matcher_free(acc_matcher *m);

/* Called with each word of a text in order. */
typedef accllm_status acc_word_fn(void *ctx, const char *s, size_t len, accllm_error *err);

/*
 * Cuts s into words. Every pass cuts every piece of the pass before, which sees nothing beyond its own ends; what a
 * pattern does not match is a piece too. Bytes that are not UTF-8 part the text: a run of them is a word of its own.
 */
accllm_status acc_pretokenize(const acc_pretokenizer *p, acc_matcher *m, const char *s, size_t len, acc_word_fn *word,
                              void *ctx, accllm_error *err) ACC_MUST_CHECK;

#endif
