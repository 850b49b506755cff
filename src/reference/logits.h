/* Rows of logits in double. */
#ifndef ACC_REFERENCE_LOGITS_H
#define ACC_REFERENCE_LOGITS_H

#include <stddef.h>

/* log(sum(exp(x))) of n >= 1 values. */
double acc_log_sum_exp(const float *x, size_t n);
/* KL(P || Q) of the distributions that logits p and q [n] stand for: sum of P (log P - log Q), nats. */
double acc_divergence(const float *p, const float *q, size_t n);

#endif
