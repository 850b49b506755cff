/*
 * The float reference: Llama-family forward pass in float32 over dequantised weights, any evaluation order. The
 * teacher, the oracle against other engines, and the compressor's calibration pass.
 */
#ifndef ACC_REFERENCE_REFERENCE_H
#define ACC_REFERENCE_REFERENCE_H

#include "core/runtime.h"
#include "engine/engine.h"
#include "format/checkpoint.h"

/* The float weights of one layer; each matrix [rows][cols] row-major, biases NULL when absent. */
typedef struct acc_ref_layer {
    float *attn_norm, *ffn_norm;
    float *q, *k, *v, *o, *gate, *up, *down;
    float *q_bias, *k_bias, *v_bias;
} acc_ref_layer;

accllm_status acc_ref_layer_load(acc_ref_layer *l, const acc_source *src, uint32_t layer,
                                 accllm_error *err) ACC_MUST_CHECK;
void acc_ref_layer_free(acc_ref_layer *l); /* safe on a zeroed struct, zeroes it */

/* What a calibration pass sees: called with the input of each distinct linear input of the layer, [n_tokens][cols]:
 * ACC_T_ATTN_Q (input of q, k, v), ACC_T_ATTN_OUT, ACC_T_FFN_GATE (gate, up), ACC_T_FFN_DOWN; with ACC_T_ATTN_K, for
 * the key means: the keys before rotation [n_tokens][n_kv_heads * head_dim]; and with the residual [n_tokens][n_embd]
 * before attention (ACC_T_ATTN_NORM) and between it and the feed-forward part (ACC_T_FFN_NORM). */
typedef void acc_ref_tap(void *user, acc_tensor_id which, const float *x, uint32_t n_tokens, uint32_t cols);

/* Λ attention of the reference: sinks 0 and window >= n_tokens is full attention. */
typedef struct acc_ref_attention {
    uint32_t sinks, window;
} acc_ref_attention;

/* Scratch of acc_ref_layer_forward for sequences of up to max_tokens tokens. */
typedef struct acc_ref_work acc_ref_work;
accllm_status acc_ref_work_create(acc_ref_work **out, const acc_hparams *hp, uint32_t max_tokens,
                                  accllm_error *err) ACC_MUST_CHECK;
void acc_ref_work_free(acc_ref_work **w);

/* One block over one whole sequence from position 0: x [n_tokens][n_embd] is replaced by the block's output. tap may be
 * NULL. Deterministic for a given number of
 * threads. */
accllm_status acc_ref_layer_forward(accllm_runtime *rt, const acc_hparams *hp, const acc_ref_layer *l, float *x,
                                    uint32_t n_tokens, const acc_ref_attention *att, acc_ref_work *work,
                                    acc_ref_tap *tap, void *user, accllm_error *err) ACC_MUST_CHECK;

/* A whole float model held in memory, and sessions over it (float KV cache; full or Λ attention with exact
 * cache-relative positions). */
typedef struct acc_ref_model acc_ref_model;
accllm_status acc_ref_model_create(acc_ref_model **out, accllm_runtime *rt, const acc_source *src,
                                   accllm_error *err) ACC_MUST_CHECK;
void acc_ref_model_free(acc_ref_model **m);
accllm_status acc_ref_session_create(void **self, const acc_session_ops **ops, acc_ref_model *m,
                                     const accllm_session_params *p, accllm_error *err) ACC_MUST_CHECK;

#endif
