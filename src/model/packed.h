/*
 * The packed AccLLM file (design section 2, "Container"): GGUF v3, general.architecture "accllm". Reader, and writer in
 * file order. Tensor names: "token_embd.w8", "blk.N.attn_q.w2s", norms "blk.N.attn_norm" F32 and so on.
 */
#ifndef ACC_MODEL_PACKED_H
#define ACC_MODEL_PACKED_H

#include "format/checkpoint.h"
#include "weights/weights.h"

#define ACC_FORMAT_VERSION 1

/* Vectors that only packed files have, numbered after the tensors of checkpoints. */
#define ACC_T_K_MEAN ((acc_tensor_id)ACC_T_COUNT)            /* [n_kv_heads][head_dim] */
#define ACC_T_Q_DIRECTION ((acc_tensor_id)(ACC_T_COUNT + 2)) /* [n_kv_heads][head_dim] */
#define ACC_T_EMBD_SCALE ((acc_tensor_id)(ACC_T_COUNT + 1))  /* [n_embd] */

typedef struct acc_packed_layer {
    union {
        struct {
            acc_weight q, k, v, o, gate, up, down;
        };
        acc_weight linear[ACC_N_LINEAR]; /* the same, by (id - ACC_T_ATTN_Q) */
    };
    const float *attn_norm, *ffn_norm;
    const float *q_bias, *k_bias, *v_bias; /* NULL: none */
    const float *k_mean;                   /* [n_kv_heads][head_dim], NULL: zero */
    const float *q_direction;              /* the same, of transformed queries */
} acc_packed_layer;

typedef struct acc_packed {
    acc_gguf *file; /* NULL for random models */
    acc_hparams hp;
    uint32_t page, default_sinks, default_window, default_kv_bits;
    acc_weight embd, output; /* output: the embedding's view when tied */
    const float *embd_scale; /* [n_embd], positive: an embedding row is multiplied by it; NULL: ones */
    const float *output_norm;
    acc_packed_layer *layers; /* [n_layers] */
    void *memory;             /* of a random model */
    size_t memory_bytes;
    void *prepared; /* the matrices in the kernel set's layout (acc_model_prepare) */
    size_t prepared_bytes;
} acc_packed;

/* Opens and checks shapes, sizes, scales and levels. verify: every code too. */
accllm_status acc_packed_open(acc_packed **out, const char *path, bool use_mmap, bool verify,
                              accllm_error *err) ACC_MUST_CHECK;
/* A shape with random weights (bench). */
accllm_status acc_packed_random(acc_packed **out, const char *shape, acc_format weights, acc_format head,
                                accllm_error *err) ACC_MUST_CHECK;
void acc_packed_free(acc_packed **m);
/* x [n_embd] = the embedding of a token. */
void acc_packed_embed(const acc_packed *m, uint32_t id, float *x);
/* Float rows of a packed file (dequantised), for the float reference and the exporter. Closing the source leaves the
 * packed model alone. */
accllm_status acc_packed_source(acc_source **out, const acc_packed *m, accllm_error *err) ACC_MUST_CHECK;

/* ---- writing ---- */

typedef struct acc_packed_plan {
    const acc_source *src;
    acc_weight embd, output;                  /* shapes only (acc_weight_init); output ignored when tied */
    acc_weight linear[ACC_N_LINEAR];          /* by (id - ACC_T_ATTN_Q); the same in every layer */
    const acc_weight (*layers)[ACC_N_LINEAR]; /* [n_layers], where they differ (levels); NULL: linear in all */
    uint32_t page, sinks, kv_bits;
    uint32_t window;  /* 0: by the rule of design section 9 */
    bool k_mean;      /* the file has blk.N.attn_k_mean */
    bool q_direction; /* the file has blk.N.attn_q_direction */
    bool embd_scale;  /* the file has token_embd_scale; only when tied */
} acc_packed_plan;

/* Gives the bytes of one tensor: a blob of acc_weight_bytes() or floats. Called in file order, once each; *data stays
 * valid until the next call. layer is 0 for global tensors; Other vectors may have ids from
 * ACC_T_COUNT on. */
typedef accllm_status acc_packed_fetch(void *user, acc_tensor_id id, uint32_t layer, const void **data, size_t *bytes,
                                       accllm_error *err);
accllm_status acc_packed_write(const acc_packed_plan *plan, const char *path, acc_packed_fetch *fetch, void *user,
                               accllm_error *err) ACC_MUST_CHECK;

#endif
