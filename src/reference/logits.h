/* Rows of logits in double. */
#ifndef ACC_REFERENCE_LOGITS_H
#define ACC_REFERENCE_LOGITS_H

#include <stddef.h>

#include "core/threads.h"

/* log(sum(exp(x))) of n >= 1 values. */
double acc_log_sum_exp(const float *x, size_t n);
/* That of each of the rows x [n_rows][n], over the pool: out [n_rows]. */
void acc_log_sum_exp_rows(acc_pool *pool, const float *x, uint32_t n_rows, size_t n, double *out);
/* KL(P || Q) of the distributions that finite logits p and q [n] stand for: sum of P (log P - log Q), nats. */
double acc_divergence(const float *p, const float *q, size_t n);

#endif
