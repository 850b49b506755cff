/* The inside of a session of the quantised engine, shared by the files of src/model. */
#ifndef ACC_MODEL_SESSION_H
#define ACC_MODEL_SESSION_H

#include "cache/kv.h"
#include "model/model.h"
#include "numerics/numerics.h"

/* What one worker needs for itself. */
typedef struct acc_worker {
    _Alignas(64) int8_t *a8; /* decode: this worker's own copy of the codes, [a8_stride] */
    float a8_scale;
    int32_t *isum;           /* [isum_size] */
    float *rows, *gate;      /* float results of a run of rows: one token; all tokens of a call */
    void *scratch;           /* of the kernels */
    acc_kv_cut *cuts;        /* attention: [max_cuts] */
    acc_attn_piece *pieces;  /* [max_pieces] */
    uint64_t *distance;      /* [max_pieces] */
    acc_attn_query *queries; /* [max_pieces][heads of a KV head] */
    int8_t *q8;              /* their codes, [..][q8_stride] */
    float *part_max;         /* results by segment, [max_cuts][heads] */
    uint32_t *part_l;
    float *part_o; /* [max_cuts][part_stride] */
    acc_attn_part *parts;
    const char *failed; /* what was not finite, NULL: nothing */
} acc_worker;

/* What the linear layers of a phase read: floats, quantised by the A8 rule or by the norm fused with it. */
typedef struct acc_source_rows {
    const float *x, *gain; /* gain NULL: no norm */
    size_t stride;
    uint32_t n, pad; /* columns; columns padded as the matrices want them */
    uint32_t n_tokens;
    const char *what; /* for messages */
} acc_source_rows;

/* The quantised input of a linear layer. */
typedef struct acc_input {
    const int8_t *a; /* [n][lda] */
    size_t lda;
    const float *scale; /* [n] */
    uint32_t n;
} acc_input;

typedef struct acc_quant_session {
    acc_packed *m;
    accllm_runtime *rt;
    const acc_kernels *k;
    acc_kv *kv;
    uint32_t chunk, limit; /* limit: positions that full attention keeps, 0 without */
    bool full, trace;
    bool broken; /* after an error: only reset helps */
    uint64_t pos;

    uint32_t q_dim, kv_dim, group; /* rows of q, rows of k; query heads of a KV head */
    uint32_t x_stride, q_stride, ff_stride;
    size_t a8_stride;
    float *x;   /* residual, [chunk][x_stride] */
    float *q;   /* [chunk][q_stride] */
    float *att; /* attention's output, the input of o */
    float *ff;  /* SiLU(gate) * up, [chunk][ff_stride] */
    int8_t *a8; /* prefill: the codes of all tokens, [chunk][a8_stride] */
    float *a8_scale;
    uint32_t n_workers;
    acc_worker *workers;
    size_t isum_size, q8_stride, part_stride;
    uint32_t kv_unit; /* row blocks that hold whole KV heads */
    uint32_t block;   /* of the Hadamard transform */

    uint64_t *layer_hash, logits_hash;
    uint8_t *memory;
    size_t memory_bytes;

    /* the present step and phase */
    uint32_t n, layer, n_logits;
    float *logits;
    acc_source_rows src;
} acc_quant_session;

/* Row blocks that one call of a kernel takes: decode walks long runs, so that what a kernel derives from the input
 * serves many rows; prefill stays in the cache. Both are rounded up to whole units. */
#define ACC_DECODE_BLOCKS 256u
#define ACC_PREFILL_BLOCKS 8u

static inline uint32_t acc_blocks_per_call(uint32_t n_tokens, uint32_t unit)
{
    uint32_t blocks = n_tokens == 1 ? ACC_DECODE_BLOCKS : ACC_PREFILL_BLOCKS;
    return (blocks + unit - 1) / unit * unit;
}

/* ---- linear.c ---- */

/* Takes the results of rows [row, row + n) of one token. */
typedef void acc_sink(acc_quant_session *s, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row,
                      uint32_t n, const int32_t *isum, float scale);

/* Rows of row blocks [rb0, rb1) of w for every token of the input; rb0 a multiple of unit. */
void acc_linear_run(acc_quant_session *s, acc_worker *wk, const acc_weight *w, const acc_input *in, uint32_t rb0,
                    uint32_t rb1, uint32_t unit, acc_sink *sink);
/* Worker's share of w, which is one of several matrices that together have `total` row blocks, `before` of them in the
 * matrices ahead. Shares meet at multiples of unit. */
void acc_linear_share(uint32_t total, uint32_t before, const acc_weight *w, uint32_t unit, uint32_t worker,
                      uint32_t n_workers, uint32_t *rb0, uint32_t *rb1);

/* ---- attention.c: one query position, query heads [h0, h0 + n_heads) of one KV head ---- */
void acc_attend(acc_quant_session *s, acc_worker *wk, uint32_t token, uint32_t kv_head, uint32_t h0, uint32_t n_heads);

/* ---- step.c ---- */
accllm_status acc_step(acc_quant_session *s, const int32_t *ids, uint32_t n, uint32_t n_logits, float *logits,
                       accllm_error *err) ACC_MUST_CHECK;

#endif
