/* Which channels of two packed models of one source are the same: the compressor may put the hidden units of the
 * feed-forward part and the channels of a KV head in another order (compress/permute.c). */
#ifndef ACC_EVAL_MATCH_H
#define ACC_EVAL_MATCH_H

#include "model/packed.h"

/* Of one layer: for every channel of `a`, the one of `b` that it is. */
typedef struct acc_match {
    uint32_t *hidden; /* [n_ff]: rows of gate and up, columns of down */
    uint32_t *value;  /* [KV width]: rows of v */
    uint32_t *query;  /* [query width]: columns of out */
} acc_match;

accllm_status acc_match_create(acc_match *m, const acc_hparams *hp, accllm_error *err) ACC_MUST_CHECK;
void acc_match_free(acc_match *m); /* safe on a zeroed struct, zeroes it */
/* Neither model is prepared for a kernel set yet. */
accllm_status acc_match_layer(acc_match *m, const acc_packed *a, const acc_packed *b, uint32_t layer,
                              accllm_error *err) ACC_MUST_CHECK;

#endif
