/* Calibration text as sequences of token ids of one length, taken evenly from the whole text. */
#ifndef ACC_COMPRESS_CALIBRATION_H
#define ACC_COMPRESS_CALIBRATION_H

#include <stddef.h>
#include <stdint.h>

#include "accllm/tokenizer.h"
#include "core/status.h"

/* data/calibration.txt, compiled in. */
extern const unsigned char acc_calibration_text[];
extern const size_t acc_calibration_text_size;

typedef struct acc_calibration {
    int32_t *ids; /* [n_seqs][seq_len] */
    uint32_t n_seqs, seq_len;
    uint64_t text_tokens; /* of the whole text */
    uint64_t hash;        /* of the ids */
    uint64_t text_hash;   /* of all the text's ids */
} acc_calibration;

/*
 * A line that holds only <|endoftext|> ends a document. About n_tokens tokens as sequences of max_len (shorter where
 * the text is), each with BOS where the tokenizer adds it. path NULL: the built-in text; of a file at most the first 64
 * MB are used. E_ARG: no text; E_FORMAT: an id outside [0, n_vocab).
 */
accllm_status acc_calibration_create(acc_calibration *c, const accllm_tokenizer *tok, const char *path,
                                     uint32_t n_tokens, uint32_t max_len, uint32_t n_vocab,
                                     accllm_error *err) ACC_MUST_CHECK;
/* The length of the first document of a text, and in *next where the one behind it begins. */
size_t acc_document(const char *text, size_t size, size_t *next);
void acc_calibration_free(acc_calibration *c); /* safe on a zeroed struct, zeroes it */

#endif
