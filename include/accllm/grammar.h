/*
 * Text that keeps to a grammar: which tokens may come next, for accllm_sampler_draw_from().
 *
 * A grammar is a set of rules over characters, in the GBNF dialect of llama.cpp or made of a JSON schema; a vocabulary
 * is a model's tokens in the form that grammars are matched with; a matcher is the place in a grammar that one text has
 * reached. Grammars and vocabularies do not change once made and may be shared by threads; a matcher belongs to one
 * thread at a time, and its memory is fixed when it is made.
 *
 * GBNF: `name ::= ...`, one rule named root, where the text begins. "literals", [classes] and [^negated ones] with
 * ranges and escapes (\n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH), . for any character, names of rules, (groups), |
 * for alternatives, * + ? {m} {m,} {m,n}, # comments. A rule ends with its line, but for parentheses and behind a |.
 * Refused, with the reason: rules without a definition or with two, left recursion, a root that can never end, and what
 * is too large (1 MiB of text, 65,536 symbols, 16,384 rules, 128 groups in each other, repetitions above 1,000,000, or
 * above 16 of what may be empty).
 *
 * JSON schemas: docs/server.md says what is supported; anything else that would constrain the text is refused by name.
 */
#ifndef ACCLLM_GRAMMAR_H
#define ACCLLM_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accllm_grammar accllm_grammar;
typedef struct accllm_vocabulary accllm_vocabulary;
typedef struct accllm_matcher accllm_matcher;

/* text: len bytes of UTF-8, GBNF. E_FORMAT: what is wrong, a misspelling with its line; E_UNSUPPORTED: left recursion;
 * E_LIMIT: too large. */
ACCLLM_API accllm_status accllm_grammar_parse(accllm_grammar **out, const char *text, size_t len, accllm_error *err);
/* A grammar whose texts are JSON values that the schema allows. E_FORMAT: no JSON or no schema; E_UNSUPPORTED: the
 * schema has a keyword that this version cannot keep to, which the message names; E_LIMIT: too large. */
ACCLLM_API accllm_status accllm_grammar_from_json_schema(accllm_grammar **out, const char *schema, size_t len,
                                                         accllm_error *err);
ACCLLM_API void accllm_grammar_free(accllm_grammar **g);

/* n_vocab: of the model, at least the tokenizer's size. The tokenizer must outlive the vocabulary. */
ACCLLM_API accllm_status accllm_vocabulary_create(accllm_vocabulary **out, const accllm_tokenizer *tok,
                                                  uint32_t n_vocab, accllm_error *err);
ACCLLM_API void accllm_vocabulary_free(accllm_vocabulary **v);
ACCLLM_API size_t accllm_vocabulary_bytes(const accllm_vocabulary *v);

/* A matcher at the beginning of a text. at_start: no text comes before it, as for accllm_text_stream_init(). The
 * grammar and the vocabulary must outlive it. E_LIMIT: the grammar is too ambiguous to begin with. */
ACCLLM_API accllm_status accllm_matcher_create(accllm_matcher **out, const accllm_grammar *g,
                                               const accllm_vocabulary *v, bool at_start, accllm_error *err);
ACCLLM_API void accllm_matcher_free(accllm_matcher **m);
/* Bytes of a matcher over this vocabulary, whatever the grammar: no matcher takes more. */
ACCLLM_API size_t accllm_matcher_bytes(const accllm_vocabulary *v);
/* The tokens that may come next: bit id % 64 of word id / 64, for n_vocab ids; zeros behind them. A token that ends the
 * text is among them only where the grammar lets it end. *n: how many there are; 0 if nothing can follow. Valid until
 * the next call. Where the text has become too deep or too ambiguous for the matcher's memory fewer tokens are allowed
 * than the grammar has, never more. No allocation. */
ACCLLM_API const uint64_t *accllm_matcher_mask(accllm_matcher *m, uint32_t *n);
/* Takes a token of the text; false, and nothing has changed, if the grammar does not allow it. */
ACCLLM_API bool accllm_matcher_accept(accllm_matcher *m, int32_t id);
/* True if the text may end here. */
ACCLLM_API bool accllm_matcher_can_end(const accllm_matcher *m);
/* True if it must: nothing can follow. */
ACCLLM_API bool accllm_matcher_must_end(const accllm_matcher *m);

#ifdef __cplusplus
}
#endif
#endif
