/* Small vocabularies in memory for the tests of tokenizers. */
#ifndef ACC_TESTS_TOKENIZER_MAKE_H
#define ACC_TESTS_TOKENIZER_MAKE_H

#include <stddef.h>
#include <stdint.h>

#include "tokenizer/tokenizer.h"

#define NO_KEY UINT32_MAX

typedef struct test_token {
    const char *text;
    int32_t type; /* 0: normal */
    float score;
} test_token;

typedef struct test_vocab {
    const char *model, *pre, *chat; /* NULL: no key */
    const test_token *tokens;
    size_t n_tokens;
    const char *const *merges;
    size_t n_merges;
    bool bytes;             /* ids 0..255 are the byte tokens, `tokens` come after them */
    uint32_t bos, eos, unk; /* NO_KEY: absent */
    int add_bos;            /* -1: absent */
} test_vocab;

/* A vocabulary without any key, to start from. */
test_vocab test_vocab_empty(const char *model);
/* Its metadata as the bytes of a GGUF file; malloc'ed. */
char *test_bytes(const test_vocab *v, size_t *size);
/* NULL and a filled err on failure. The metadata is freed before this returns. */
accllm_tokenizer *test_make(const test_vocab *v, accllm_error *err);
/* The ids as text, "1 2 3", in a static buffer; the test fails where tokenizing does. */
const char *test_ids(const accllm_tokenizer *tok, const char *text, size_t len, unsigned flags);
/* The bytes of all tokens one after another; malloc'ed. */
char *test_decode(const accllm_tokenizer *tok, const int32_t *ids, size_t n, size_t *len);

#endif
