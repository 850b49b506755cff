/*
 * lm_head and embedding on their way to a format: head.c makes them for the file, head_cost.c tells what a format would
 * cost.
 */
#ifndef ACC_COMPRESS_HEAD_H
#define ACC_COMPRESS_HEAD_H

#include "compress/pipeline.h"

#define ACC_HEAD_ROWS 1024u /* at once; a multiple of 64 */

typedef struct acc_head_work {
    acc_run *r;
    acc_format format;
    const float *hidden; /* [n_tokens][n_embd]: states behind the last layer */
    size_t n_tokens;
    bool no_rtn;          /* rounding is not measured beside the solver */
    float *x;             /* [ACC_HEAD_ROWS][n_embd]: rows of a matrix, or inputs of lm_head */
    double *in, *columns; /* [n_embd]: sums of squares of lm_head's inputs and of its columns */
    float *norm, *undo;   /* [n_embd], one behind the other: output norm; what an embedding row is multiplied by */
    float *c;             /* [n_embd]: what lm_head's columns are multiplied by */
    acc_factor factor;    /* of lm_head's inputs, where it is solved */
} acc_head_work;

/* The tensor that is lm_head. */
static inline acc_tensor_id acc_head_id(const acc_run *r)
{
    return r->hp->tied ? ACC_T_TOKEN_EMBD : ACC_T_OUTPUT;
}

/* How many of `total` come next, from `at` on. */
static inline uint32_t acc_head_piece(size_t total, size_t at)
{
    return total - at < ACC_HEAD_ROWS ? (uint32_t)(total - at) : ACC_HEAD_ROWS;
}

/* The channels' scales, and the Hessian of a format that is solved. The members down to no_rtn are given, the
 * rest is zeroed. */
accllm_status acc_head_prepare(acc_head_work *w, accllm_error *err) ACC_MUST_CHECK;
void acc_head_work_free(acc_head_work *w); /* safe on a zeroed struct */
/* x [n][n_embd] = what lm_head sees of n tokens from `first` on, its channels scaled. */
void acc_head_inputs(const acc_head_work *w, size_t first, uint32_t n, float *x);
/* Codes of rows [row, row + n), n <= ACC_HEAD_ROWS, of embedding or output: *codes, the caller's to free. w->x has the
 * rows that they stand for, lm_head's with scaled channels. */
accllm_status acc_head_codes(acc_head_work *w, acc_tensor_id id, uint32_t row, uint32_t n, acc_codes *codes,
                             acc_quantize_stats *stats, accllm_error *err) ACC_MUST_CHECK;

/* head_cost.c: the divergence, nats per token, that lm_head in a format adds to the uncompressed model; hidden
 * [n_tokens][n_embd] are its states behind the last layer. */
accllm_status acc_head_cost(acc_run *r, acc_format format, const float *hidden, size_t n_tokens, double *nats,
                            accllm_error *err) ACC_MUST_CHECK;

#endif
