/* Grammars over a small vocabulary, for tests. */
#ifndef ACC_TESTS_GRAMMAR_RIG_H
#define ACC_TESTS_GRAMMAR_RIG_H

#include "accllm/grammar.h"

typedef struct rig {
    accllm_tokenizer *tok;
    accllm_vocabulary *vocab;
    uint32_t n_vocab; /* more than the tokenizer has */
} rig;

/* Every byte is a token; beside them pieces of one to a few characters, of parts of characters, two tokens with the
 * same text, a control token and one that ends texts. SentencePiece: a text's first blank is stripped. */
rig rig_open(void);
void rig_close(rig *r);

/* The grammar; the test fails where it is refused. */
accllm_grammar *rig_grammar(const char *text);
bool rig_allowed(const uint64_t *mask, int32_t id);
/* How much of a text a grammar goes along with, byte by byte, and whether it may end there. */
size_t rig_follow(const rig *r, const accllm_grammar *g, const char *text, size_t len, bool *can_end);
/* True if the grammar has the text. */
bool rig_has(const rig *r, const accllm_grammar *g, const char *text);
/* Draws tokens at random until the text ends, and returns its length; SIZE_MAX if it is longer than cap - 1 bytes. It
 * is terminated. */
size_t rig_draw(const rig *r, const accllm_grammar *g, uint64_t seed, char *text, size_t cap);

/* Adds to a text of `size` bytes as printf() would, behind its first *used; the test fails where it does not fit. */
void rig_add(char *text, size_t size, size_t *used, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
