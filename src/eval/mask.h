/* The 2:4 positions of a packed model, put on 8-bit weights of the same source. */
#ifndef ACC_EVAL_MASK_H
#define ACC_EVAL_MASK_H

#include "model/packed.h"

/* How many of the model's linear matrices are 2:4 sparse (W2S); *all: how many there are. */
uint32_t acc_mask_count(const acc_packed *model, uint32_t *all);
/* E_ARG unless w8 has the model's layers and matrices, all of them in W8. */
accllm_status acc_mask_check(const acc_packed *model, const acc_packed *w8, accllm_error *err) ACC_MUST_CHECK;
/* Sets the weights of w8 (an open W8 model of the same shape, not yet prepared) to zero wherever `model`, an
 * acc_packed, keeps none; channels that stand elsewhere in `model` are found (match.h). The matrices move into memory
 * of w8's own. E_ARG: another shape, or not W8. */
accllm_status acc_mask_apply(void *model, acc_packed *w8, accllm_error *err) ACC_MUST_CHECK;

#endif
