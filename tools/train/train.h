/* Between the files of the trainer program. */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "accllm/tokenizer.h"
#include "train/train.h"

enum { TRAIN_OK = 0, TRAIN_FAILED = 1, TRAIN_USAGE = 2, TRAIN_INTERRUPTED = 130 };
enum { TRAIN_MAX_TEXTS = 64 };

/* ---- options.c ---- */

typedef struct train_options {
    bool help, resume, f32;
    int64_t dim, layers, heads, kv_heads, head_dim, ff; /* head_dim 0: dim / heads */
    const char *vocab, *held_out, *out, *name, *license;
    const char *text[TRAIN_MAX_TEXTS];
    int n_texts;
    int64_t tokens, context, batch, seed, threads, minutes;
    double rate, norm_rate, spread; /* norm_rate 0: rate */
} train_options;

void train_help(void);
/* TRAIN_OK, or TRAIN_USAGE after printing what is wrong. */
int train_options_parse(train_options *o, int argc, char **argv);

/* ---- vocab.c: SentencePiece's .vocab as GGUF metadata ---- */

typedef struct train_vocab {
    uint32_t n;
    acc_str *pieces; /* views into text */
    float *scores;
    int32_t *types; /* as in tokenizer.ggml.token_type */
    char *text;
    uint32_t unk, bos, eos;
} train_vocab;

accllm_status train_vocab_read(train_vocab *v, const char *path, accllm_error *err) ACC_MUST_CHECK;
void train_vocab_free(train_vocab *v);
/* The tokenizer.* keys. */
void train_vocab_write(const train_vocab *v, acc_gguf_out *o);
accllm_status train_vocab_tokenizer(const train_vocab *v, accllm_tokenizer **out, accllm_error *err) ACC_MUST_CHECK;

/* ---- text.c: sequences of token ids ---- */

typedef struct train_text {
    int32_t *ids; /* [n_seqs][seq_len], each sequence beginning with BOS; malloc'ed */
    uint32_t n_seqs, seq_len;
    size_t used, cap; /* ids; room */
    uint64_t bytes;   /* of the text behind the tokens that are predicted */
} train_text;

/* Appends a file: documents end with a line "<|endoftext|>" or with the file. Each document is BOS, its tokens, EOS;
 * the stream of all is cut into sequences, which begin with a BOS of their own where none stands. What does not fill
 * the last sequence waits for the next file. */
accllm_status train_text_add(train_text *t, const accllm_tokenizer *tok, const char *path,
                             accllm_error *err) ACC_MUST_CHECK;
/* Only the first n_seqs sequences stay (all whole ones, if there are not so many); counts their bytes. */
void train_text_close(train_text *t, const accllm_tokenizer *tok, uint32_t n_seqs);
void train_text_free(train_text *t);

/* ---- model.c: random weights to begin with, and the GGUF file at the end ---- */

/* A source of random weights of the options' shape: normal, of standard deviation `spread` (divided by the root of
 * twice the layers where a matrix adds to the residual: Radford et al. 2019), norms 1. Close it with ->close(). */
accllm_status train_source_create(acc_source **out, const train_options *o, uint32_t n_vocab,
                                  accllm_error *err) ACC_MUST_CHECK;
/* Writes m as a llama-architecture GGUF: matrices F16 or F32, norms F32. */
accllm_status train_model_write(const acc_train_model *m, const train_vocab *v, const train_options *o,
                                accllm_error *err) ACC_MUST_CHECK;

/* ---- progress.c ---- */

typedef struct train_progress {
    bool terminal;
    uint64_t steps, tokens_per_step, first_step, shown_step;
    double began, shown, sum; /* sum: losses since the last line */
    uint32_t n_sum;
    double bytes_per_token; /* of the held-out text */
    double held_out;        /* as shown last */
} train_progress;

void train_progress_step(train_progress *p, uint64_t step, double loss, double held_out);

#endif
