/* The pieces of the float reference: row operations, attention over a float KV cache, one block, scratch. */
#ifndef ACC_REFERENCE_INTERNAL_H
#define ACC_REFERENCE_INTERNAL_H

#include "core/memory.h"
#include "gemm/gemm.h"
#include "reference/reference.h"

/* ---- ops.c ---- */

/* RMSNorm (Zhang and Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * g. False: x holds a NaN or an infinity. */
bool acc_ref_norm(const float *x, const float *g, uint32_t n, float eps, float *y);
/* y [n][rows] = x [n][cols] w^T + bias (NULL: none), w [rows][cols]. */
typedef struct acc_ref_matrix {
    const float *w, *bias;
    float *y;
    uint32_t rows;
} acc_ref_matrix;
/* Several matrices over the same x; add: to what is in y (then without biases). The work is cut into rows of the
 * matrices, each piece one call of acc_gemm_one(). */
void acc_ref_linear(accllm_runtime *rt, const acc_ref_matrix *m, uint32_t n_matrices, const float *x, uint32_t n,
                    uint32_t cols, bool add);
/* x = exp(x - max) for x <= max; returns the sum. Relative error about 1e-7. */
float acc_ref_exp_row(float *x, uint32_t n, float max);
float acc_ref_max(const float *x, uint32_t n, float start);
float acc_ref_dot(const float *x, const float *y, uint32_t n);
/* y = gate * sigmoid(gate) * up; y may be gate. */
void acc_ref_silu_mul(accllm_runtime *rt, const float *gate, const float *up, size_t n, float *y);
/* cos and sin of one position, [head_dim / 2] each. */
void acc_ref_angles(const acc_hparams *hp, uint64_t position, float *cos, float *sin);
/* y = x rotated, half-split pairs; y may be x. */
void acc_ref_rotate(const float *x, const float *cos, const float *sin, uint32_t head_dim, float *y);

/* ---- attention.c ---- */

/* One layer's keys (rotated) and values. A position j below sinks stands in row j of the sinks' arrays, every other
 * one in row j % ring_rows of the ring. Each array is [n_kv_heads][rows][head_dim]. Over a whole sequence both are the
 * same arrays. With simulated 4-bit codes the last `near` positions stand in a ring of their own, at 8 bits. */
typedef struct acc_ref_kv {
    float *sink_k, *sink_v, *ring_k, *ring_v, *near_k, *near_v;
    uint32_t sink_rows, ring_rows, near_rows;
    uint32_t sinks;
    uint64_t window;          /* the query's own position included */
    uint32_t bits;            /* 4 or 8: simulated codes; 0: floats */
    uint32_t near;            /* with 4 bits: the last positions of the window that a query sees at 8 bits */
    uint32_t page;            /* positions per page of simulated codes */
    const float *k_mean;      /* [n_kv_heads][head_dim] of this layer, NULL: zero */
    const float *q_direction; /* the same, of transformed queries */
} acc_ref_kv;

/* The chunk's positions and their rotations: [n][head_dim / 2] each. */
typedef struct acc_ref_span {
    uint64_t first;
    uint32_t n;
    const float *cos, *sin;           /* at the position itself */
    const float *sink_cos, *sink_sin; /* at min(position, sinks + window - 1), for the sinks */
    const float *page_cos, *page_sin; /* at the offset in the page, and at the page's start: simulated codes only */
    const float *base_cos, *base_sin;
} acc_ref_span;

/* The first of the last n positions up to pos; n 0: the position behind it. */
static inline uint64_t acc_ref_last(uint64_t pos, uint64_t n)
{
    return pos >= n ? pos - n + 1 : 0;
}

/* Whether a query sees every position up to its own, the sinks at their places: window and sinks are then one range. */
static inline bool acc_ref_sees_all(uint64_t pos, uint64_t window, uint32_t sinks)
{
    return pos < window + sinks;
}

/* Rotates and stores the chunk's keys and values, [n][n_kv_heads * head_dim]. False: a value that has no code. */
bool acc_ref_kv_put(const acc_ref_kv *kv, const acc_hparams *hp, const acc_ref_span *span, const float *k,
                    const float *v);
#define ACC_REF_BLOCK 64u /* most queries per block */
/* Queries per block for chunks of n tokens that see at most max_keys keys, and the floats of scratch per worker;
 * false: overflow. */
uint32_t acc_ref_attention_block(const acc_hparams *hp, uint32_t n, uint64_t max_keys);
bool acc_ref_attention_scratch(const acc_hparams *hp, uint32_t block, uint64_t max_keys, size_t *floats);
/* out [n][n_heads * head_dim] for queries q (not rotated) of the same shape. scratch: one per worker. */
void acc_ref_attend(accllm_runtime *rt, const acc_ref_kv *kv, const acc_hparams *hp, const acc_ref_span *span,
                    const float *q, float *out, float *const *scratch, uint32_t block);

/* ---- attention_back.c ---- */

/* A batch's attention and the gradients of it: q, dout, dq [n_seqs * len][n_heads * head_dim], queries not rotated; k
 * and v as the cache gave them, [n_seqs][n_kv_heads][len][head_dim]; dk, dv [n_seqs * len][n_kv_heads * head_dim], by
 * the keys before rotation. */
typedef struct acc_ref_attend_back {
    const float *q, *k, *v, *dout;
    float *dq, *dk, *dv;
    uint32_t sinks;
    uint64_t window;
} acc_ref_attend_back;

size_t acc_ref_attend_back_scratch(const acc_hparams *hp, uint32_t len); /* floats per worker */
/* span: of one sequence from position 0 on. */
void acc_ref_attend_backward(accllm_runtime *rt, const acc_hparams *hp, const acc_ref_attend_back *a, uint32_t n_seqs,
                             const acc_ref_span *span, float *const *scratch);

/* ---- block.c ---- */

struct acc_ref_work {
    acc_hparams hp;
    uint32_t max_tokens, block;
    float *norm, *q, *k, *v, *att, *gate, *up; /* [max_tokens][...] */
    float *cos, *sin, *sink_cos, *sink_sin;    /* [max_tokens][head_dim / 2] */
    float *page_cos, *page_sin, *base_cos, *base_sin;
    float *seq_k, *seq_v;  /* of a whole sequence; NULL in a session's work */
    uint64_t first, clamp; /* what the rotations are of */
    uint32_t page;         /* 0: those in and of pages are not there */
    uint32_t n_angles;
    float **scratch; /* [n_scratch], one per worker */
    uint32_t n_scratch;
    size_t scratch_floats;
    uint64_t bytes; /* all of it */
};

/* max_keys: that one block of queries may see. whole: with room for a whole sequence's keys and values. */
accllm_status acc_ref_work_init(acc_ref_work **out, const acc_hparams *hp, uint32_t max_tokens, uint64_t max_keys,
                                bool whole, accllm_error *err) ACC_MUST_CHECK;
/* Scratch for n workers. */
accllm_status acc_ref_work_reserve(acc_ref_work *w, uint32_t n_workers, accllm_error *err) ACC_MUST_CHECK;
/* Fills the work's rotations for n positions from first on, unless they are there already. */
acc_ref_span acc_ref_work_span(acc_ref_work *w, const acc_ref_kv *kv, uint64_t first, uint32_t n);
/* One block over a chunk: x [n][n_embd] in place. False: NaN or infinity in x. */
bool acc_ref_block(accllm_runtime *rt, const acc_hparams *hp, const acc_ref_layer *l, const acc_ref_kv *kv,
                   const acc_ref_span *span, float *x, acc_ref_work *w, acc_ref_tap *tap, void *user);

/* ---- simulate.c ---- */

/* One head's key and value of token i of the span as the cache would give them back, the key rotated by its position;
 * bits: of a position that is not a sink. False: a value that has no code. */
bool acc_ref_code(const acc_ref_kv *kv, const acc_hparams *hp, const acc_ref_span *span, uint32_t bits, uint32_t i,
                  uint32_t head, const float *k, const float *v, float *k_out, float *v_out);
/* The page size, key means and directions of queries of a packed file; 256 and none for others. */
accllm_status acc_ref_load_page(acc_ref_model *m, const acc_source *src, accllm_error *err) ACC_MUST_CHECK;

/* ---- model.c ---- */

struct acc_ref_model {
    accllm_runtime *rt;
    acc_hparams hp;
    float *embd, *output, *output_norm; /* output NULL: tied */
    acc_ref_layer *layers;
    uint32_t page;
    float *k_mean;      /* [n_layers][n_kv_heads * head_dim], NULL: zero */
    float *q_direction; /* the same */
};

#endif
