/*
 * The float reference with a way back: batches of whole sequences through the blocks, keeping what the gradients need,
 * and the backward pass. The forward pass may simulate the contract's 8-bit activations and coded KV cache; gradients
 * then pass straight through the rounding (Bengio et al. 2013).
 */
#ifndef ACC_REFERENCE_TAPE_H
#define ACC_REFERENCE_TAPE_H

#include "gemm/gemm.h"
#include "reference/reference.h"

/* What a forward pass simulates and sees. */
typedef struct acc_tape_rules {
    bool a8;                  /* inputs of linear layers: 8 bits per token (docs/numerics.md, "Activations") */
    uint32_t kv_bits;         /* 4, 8; 0: float keys and values */
    uint32_t page;            /* positions per page of coded keys */
    uint32_t sinks;           /* Λ attention: the first `sinks` tokens and the last `window` */
    uint32_t window;          /* >= the sequences' length: full attention */
    const float *k_mean;      /* [n_layers][n_kv_heads * head_dim] of page-rotated keys, NULL: zero */
    const float *q_direction; /* the same shape: what 4-bit keys weigh their errors by, NULL: zero */
} acc_tape_rules;

typedef struct acc_tape acc_tape;

/* Scratch and tape for n_seqs sequences of seq_len tokens. keep_all: every layer's activations are kept; otherwise only
 * its input, and the backward pass computes the rest again (gradient checkpointing, Chen et al. 2016). bf16: used for
 * the products with matrices, with room for acc_tape_operand() floats; NULL: float32. */
accllm_status acc_tape_create(acc_tape **out, accllm_runtime *rt, const acc_hparams *hp, uint32_t n_seqs,
                              uint32_t seq_len, bool keep_all, acc_gemm_bf16 *bf16, accllm_error *err) ACC_MUST_CHECK;
void acc_tape_free(acc_tape **t);
size_t acc_tape_operand(const acc_hparams *hp, uint32_t n);
/* Bytes that acc_tape_create() would take. */
uint64_t acc_tape_bytes(const acc_hparams *hp, uint32_t n_seqs, uint32_t seq_len, bool keep_all, uint32_t n_threads);

/* x [n_seqs * seq_len][n_embd] through all layers, in place. keep: for a backward pass. E_NUMERIC: a value that is not
 * a number or infinite, or a key or value without a code; names the layer. */
accllm_status acc_tape_forward(acc_tape *t, const acc_ref_layer *layers, const acc_tape_rules *rules, float *x,
                               bool keep, accllm_error *err) ACC_MUST_CHECK;

/* Receives one parameter's gradient: [rows][cols] of a matrix, [n_embd] of a norm, [rows] of a bias. Matrices and norms
 * may be changed at once: nothing reads that parameter's value again before the next forward pass. */
typedef void acc_tape_gradient(void *user, acc_tensor_id id, uint32_t layer, const float *g);
/* Receives the gradient by what a matrix gave for each of n tokens: dy [n][rows]. */
typedef void acc_tape_output(void *user, acc_tensor_id id, uint32_t layer, const float *dy, uint32_t n, uint32_t rows);

/* What the way back is for; either may be NULL, and is then not computed. */
typedef struct acc_tape_sink {
    acc_tape_gradient *gradient;
    acc_tape_output *output;
    void *user;
} acc_tape_sink;

/* The way back of the last forward pass with keep: dx is the loss's gradient by the stack's output, and becomes that by
 * its input. Layers are walked from the last to the first. */
accllm_status acc_tape_backward(acc_tape *t, const acc_ref_layer *layers, const acc_tape_rules *rules, float *dx,
                                const acc_tape_sink *sink, accllm_error *err) ACC_MUST_CHECK;

/* ---- row operations with their gradients (gradients.c); rows are shared among the threads ---- */

/* y [n][cols] = RMSNorm of x, then 8-bit codes if a8; false: x holds a NaN or an infinity. y may not be x. */
bool acc_tape_norm(accllm_runtime *rt, const float *x, const float *g, uint32_t n, uint32_t cols, float eps, bool a8,
                   float *y);
/* dx [n][cols] += the gradient by x, for the gradient dy by y; dg [cols] = that by g. inverse [n] is scratch. */
void acc_tape_norm_back(accllm_runtime *rt, const float *x, const float *g, const float *dy, uint32_t n, uint32_t cols,
                        float eps, float *dx, float *dg, float *inverse);
/* x [n][cols] to 8-bit codes and back, in place. */
void acc_tape_a8(accllm_runtime *rt, float *x, uint32_t n, uint32_t cols);
/* In: gate, up, and dy by silu(gate) * up. Out: dgate and dup; dup may be dy. */
void acc_tape_silu_back(accllm_runtime *rt, const float *gate, const float *up, const float *dy, size_t n, float *dgate,
                        float *dup);

#endif
