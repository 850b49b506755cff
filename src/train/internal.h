/* Between the files of the trainer. */
#ifndef ACC_TRAIN_INTERNAL_H
#define ACC_TRAIN_INTERNAL_H

#include "train/train.h"

#define ACC_TRAIN_MAX_GROUP 128

/* Columns of group g; the last may have fewer. */
static inline uint32_t acc_train_group(const acc_weight *s, uint32_t g)
{
    const uint32_t left = s->cols - g * s->group;
    return left < s->group ? left : s->group;
}

/* The quads of W2S with levels l1 < l2 nearest to w [n] * inverse: the two largest gains of a pair, or the best single
 * where that takes more off the error, or zero. A last quad may be incomplete. */
void acc_train_quads(const float *w, uint32_t n, float inverse, float l1, float l2, int8_t *q);

/* Where a training stands. */
typedef struct acc_train_state {
    uint64_t step, best_step;
    acc_head_result first, best; /* of held-out text; loss < 0: not judged yet */
    float *history;              /* [steps] */
} acc_train_state;

accllm_status acc_train_save(const acc_train_params *p, const acc_train_model *m, const acc_train_state *s,
                             accllm_error *err) ACC_MUST_CHECK;
/* Reads the checkpoint where there is a whole one of this run, which may have been meant for more or fewer steps;
 * otherwise leaves everything as it is. E_ARG: it stands behind p->steps. */
accllm_status acc_train_resume(const acc_train_params *p, acc_train_model *m, acc_train_state *s,
                               accllm_error *err) ACC_MUST_CHECK;

#endif
