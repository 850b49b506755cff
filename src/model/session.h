/* The inside of a session of the quantised engine: one timeline. What a forward pass works in is a batch's. */
#ifndef ACC_MODEL_SESSION_H
#define ACC_MODEL_SESSION_H

#include "cache/kv.h"
#include "model/model.h"
#include "numerics/numerics.h"

/* What one worker needs for this session's attention: as much as the session's window takes. */
typedef struct acc_attn_work {
    acc_kv_cut *cuts;        /* [max_cuts] */
    acc_attn_piece *pieces;  /* [max_pieces] */
    uint64_t *distance;      /* [max_pieces] */
    acc_attn_query *queries; /* [max_pieces][heads of a KV head] */
    int8_t *q8;              /* their codes, [..][q8_stride] */
    float *part_max;         /* results by segment, [max_cuts][heads] */
    uint32_t *part_l;
    float *part_o; /* [max_cuts][part_stride] */
    acc_attn_part *parts;
} acc_attn_work;

typedef struct acc_quant_session {
    acc_packed *m;
    acc_kv *kv;
    uint32_t sinks, chunk, limit; /* limit: positions that full attention keeps, 0 without */
    bool full, trace;
    uint64_t pos;
    uint64_t stored;       /* positions that were ever stored since the reset: some may lie ahead of pos */
    uint64_t *hash, *next; /* [n_layers], then of the logits: up to pos; of the step under way */
    acc_attn_work *attn;   /* [workers] */
    acc_batch *own;        /* of acc_session_ops.step; NULL: for batches only */
    uint8_t *memory;
    size_t memory_bytes;
} acc_quant_session;

#endif
