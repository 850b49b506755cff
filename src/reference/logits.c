/* Rows of logits in double: the log of their sum, the divergence between two. */
#include "reference/logits.h"

#include <math.h>

#include "core/clones.h"
#include "core/exp.h"
#include "reference/internal.h"

/* Below this log a probability counts as this small; from memory, see core/exp.h. */
static const volatile double least_log = -700;

ACC_INLINE double at_least(double x, double least)
{
    return x < least ? least : x;
}

/* P (log P - log Q) of one token. */
ACC_INLINE double divergence_of(double log_p, double log_q)
{
    return acc_exp(log_p) * (log_p - log_q);
}

ACC_CLONES double acc_log_sum_exp(const float *x, size_t n)
{
    const double max = acc_ref_max(x, (uint32_t)n, x[0]);
    return max + log(acc_exp_sum(x, n, max, least_log, false));
}

ACC_CLONES double acc_divergence(const float *p, const float *q, size_t n)
{
    const double log_p = acc_log_sum_exp(p, n), log_q = acc_log_sum_exp(q, n), least = least_log;
    double part[ACC_EXP_LANES] = {0}, sum = 0;
    const size_t whole = n / ACC_EXP_LANES * ACC_EXP_LANES;
    for (size_t i = 0; i < whole; i += ACC_EXP_LANES)
        for (size_t j = 0; j < ACC_EXP_LANES; j++)
            part[j] += divergence_of(at_least(p[i + j] - log_p, least), q[i + j] - log_q);
    for (size_t i = whole; i < n; i++) sum += divergence_of(at_least(p[i] - log_p, least), q[i] - log_q);
    for (size_t j = 0; j < ACC_EXP_LANES; j++) sum += part[j];
    return sum;
}

typedef struct rows_job {
    const float *x;
    size_t n;
    uint32_t n_rows;
    double *out;
} rows_job;

static void log_sum_exp_share(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const rows_job *job = ctx;
    uint32_t begin, end;
    acc_share(job->n_rows, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) job->out[i] = acc_log_sum_exp(job->x + i * job->n, job->n);
}

void acc_log_sum_exp_rows(acc_pool *pool, const float *x, uint32_t n_rows, size_t n, double *out)
{
    rows_job job = {x, n, n_rows, out};
    acc_pool_run(pool, log_sum_exp_share, &job);
}
