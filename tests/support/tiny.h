/*
 * Tiny random checkpoints for tests: a llama-architecture GGUF of any small shape, with a small valid tokenizer. The
 * same options give the same bytes.
 */
#ifndef ACC_TESTS_SUPPORT_TINY_H
#define ACC_TESTS_SUPPORT_TINY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

typedef enum tiny_tokenizer { TINY_BPE, TINY_SPM } tiny_tokenizer;

typedef struct tiny_options {
    uint32_t n_layers, n_heads, n_kv_heads, head_dim;
    uint32_t n_embd; /* 0: n_heads * head_dim */
    uint32_t n_ff, n_ctx;
    uint32_t n_vocab; /* the tokenizer needs 259; with less the file has none */
    bool tied;
    bool biases;         /* on q, k, v */
    const char *without; /* a layer's tensor that the file lacks; NULL: none */
    bool rope_factors;   /* a rope_freqs.weight tensor */
    bool f16;            /* matrices in F16 instead of F32 */
    const char *arch;    /* "llama" (interleaved rotary pairs) or "qwen2" (half-split) */
    double theta;
    tiny_tokenizer tokenizer;
    uint64_t seed;
} tiny_options;

/* 2 layers, 4 heads over 2, head_dim 32, n_ff 100, vocabulary 300, context 512, tied, BPE, theta 10000, seed 1. */
tiny_options tiny_defaults(void);

/* Writes the checkpoint. Weights have a variance of 1 / cols, so activations stay near 1. */
accllm_status tiny_write(const char *path, const tiny_options *o, accllm_error *err) ACC_MUST_CHECK;

/* Element i of the tensor called name as tiny_write() put it (before rounding to F16), in the file's row order. */
float tiny_value(const tiny_options *o, const char *name, uint64_t i, uint64_t cols);

/* A path for a test's file: "<temporary folder>/acc-<pid>-<name>", malloc'ed; tests remove the file themselves. */
char *tiny_path(const char *name);

/* The real model's path (ACCLLM_MODEL, else the cache folder), malloc'ed; NULL where it is absent. */
char *tiny_real_model(void);

/* A file or folder of the larger test data ($ACCLLM_SHARED/data/NAME, without it that of a folder beside the checkout),
 * malloc'ed; NULL where it is absent, and says so. */
char *tiny_shared(const char *name);

#endif
