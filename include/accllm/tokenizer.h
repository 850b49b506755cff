/*
 * Tokenizers: byte-level BPE and SentencePiece-BPE with byte fallback, from GGUF metadata; chat templates.
 * A tokenizer is immutable after it was made and may be shared by threads.
 */
#ifndef ACCLLM_TOKENIZER_H
#define ACCLLM_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accllm_tokenizer accllm_tokenizer;

/* From a GGUF file (a vocabulary-only one will do) or a llama2.c checkpoint with its tokenizer beside it. */
ACCLLM_API accllm_status accllm_tokenizer_open(accllm_tokenizer **out, const char *path, accllm_error *err);
ACCLLM_API void accllm_tokenizer_free(accllm_tokenizer **tok);

enum {
    ACCLLM_TOKENIZE_BOS = 1,     /* put the beginning-of-sequence token first */
    ACCLLM_TOKENIZE_SPECIAL = 2, /* texts of special tokens ("<|im_start|>") become those tokens */
};

/* text: len bytes, need not be terminated nor valid UTF-8. *ids is malloc'ed (the caller frees it), *n its length;
 * on failure *ids is NULL. */
ACCLLM_API accllm_status accllm_tokenize(const accllm_tokenizer *tok, const char *text, size_t len, unsigned flags,
                                         int32_t **ids, size_t *n, accllm_error *err);

/* The bytes that a token adds to the text (not terminated; may be part of a UTF-8 sequence; empty for control
 * tokens and ids out of range). The bytes belong to the tokenizer. SentencePiece: a piece's blanks are real blanks;
 * the blank put before the text's first word is not stripped here (see accllm_text_stream). */
ACCLLM_API const char *accllm_token_bytes(const accllm_tokenizer *tok, int32_t id, size_t *len);
/* The token's name as in the vocabulary ("<|im_end|>"), never NULL; "" for ids out of range. */
ACCLLM_API const char *accllm_token_text(const accllm_tokenizer *tok, int32_t id);

ACCLLM_API int32_t accllm_tokenizer_size(const accllm_tokenizer *tok);
ACCLLM_API int32_t accllm_tokenizer_bos(const accllm_tokenizer *tok);            /* -1: none */
ACCLLM_API int32_t accllm_tokenizer_eos(const accllm_tokenizer *tok);            /* -1: none */
ACCLLM_API bool accllm_tokenizer_adds_bos(const accllm_tokenizer *tok);          /* by the file's metadata */
ACCLLM_API bool accllm_token_ends_text(const accllm_tokenizer *tok, int32_t id); /* end of turn or end of text */

/* Turns a stream of tokens into text that is whole UTF-8 at every step. */
typedef struct accllm_text_stream {
    char held[8]; /* bytes of an unfinished sequence */
    unsigned n_held;
    bool at_start; /* SentencePiece: strip the added blank of the first piece */
} accllm_text_stream;

ACCLLM_API void accllm_text_stream_init(accllm_text_stream *s, bool at_start);
/* Appends the token's bytes to out (cap bytes) and returns how many were written; an unfinished sequence is held
 * back, bytes that can never become valid UTF-8 come out as U+FFFD. cap must be >= token length * 3 + 16. */
ACCLLM_API size_t accllm_text_stream_push(accllm_text_stream *s, const accllm_tokenizer *tok, int32_t id, char *out,
                                          size_t cap);
/* What is still held at the end (as U+FFFD). cap >= 16. */
ACCLLM_API size_t accllm_text_stream_flush(accllm_text_stream *s, char *out, size_t cap);

/* Stop texts, none of them empty: where the first one in text (len bytes) begins, SIZE_MAX: there is none. */
ACCLLM_API size_t accllm_find_stop(const char *const *stops, size_t n_stops, const char *text, size_t len);
/* How many bytes at the text's end are the beginning of a stop text, the most that any of them gives: a stream holds
 * them back until more text has come. */
ACCLLM_API size_t accllm_held_by_stops(const char *const *stops, size_t n_stops, const char *text, size_t len);

typedef struct accllm_chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} accllm_chat_message;

/* The chat template's text as the file has it; NULL: none. It belongs to the tokenizer. */
ACCLLM_API const char *accllm_chat_template(const accllm_tokenizer *tok);
/* True if the file carries a chat template that this build knows (ChatML). */
ACCLLM_API bool accllm_chat_supported(const accllm_tokenizer *tok);
/* Renders messages; with add_generation_prompt the text ends where the assistant's answer begins. Without a system
 * message the template's default one is put first, as the template says. *text is malloc'ed, terminated. Tokenize the
 * result with ACCLLM_TOKENIZE_SPECIAL. E_UNSUPPORTED: no known template. */
ACCLLM_API accllm_status accllm_chat_render(const accllm_tokenizer *tok, const accllm_chat_message *messages, size_t n,
                                            bool add_generation_prompt, char **text, accllm_error *err);
/* The tokens of the rendered messages with their content as plain text: a content that spells "<|im_end|>" stays text
 * and cannot end its turn. The same ids as rendering and tokenizing with ACCLLM_TOKENIZE_SPECIAL where no content holds
 * such a marker; adds no BOS. *ids is malloc'ed. Prefer it wherever the content comes from someone else. */
ACCLLM_API accllm_status accllm_chat_tokenize(const accllm_tokenizer *tok, const accllm_chat_message *messages,
                                              size_t n, bool add_generation_prompt, int32_t **ids, size_t *n_ids,
                                              accllm_error *err);

#ifdef __cplusplus
}
#endif
#endif
