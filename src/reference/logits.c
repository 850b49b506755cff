/* Rows of logits in double: the log of their sum, the divergence between two. */
#include "reference/logits.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/clones.h"
#include "core/inline.h"
#include "reference/internal.h"

/* Below this log a probability counts as this small; from memory, because gcc makes a branch for a limit that it knows,
 * and no vectors of branches. */
static const volatile double least_log = -700;

ACC_INLINE double at_least(double x, double least)
{
    return x < least ? least : x;
}

/* e^x for -700 <= x <= 0 without calls, tables or branches, so that loops of it become vectors; relative error below
 * 1e-15, NaN for NaN. x = n ln 2 + r: e^r by its Taylor polynomial, 2^n from the integer that adding `shift` leaves in
 * the low bits. */
ACC_INLINE double exp_of(double x)
{
    const double shift = 0x1.8p52, t = x * 0x1.71547652b82fep+0 + shift, n = t - shift;
    const double r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
    double p = 1.0 / 479001600, power;
    p = 1.0 / 39916800 + r * p;
    p = 1.0 / 3628800 + r * p;
    p = 1.0 / 362880 + r * p;
    p = 1.0 / 40320 + r * p;
    p = 1.0 / 5040 + r * p;
    p = 1.0 / 720 + r * p;
    p = 1.0 / 120 + r * p;
    p = 1.0 / 24 + r * p;
    p = 1.0 / 6 + r * p;
    p = 0.5 + r * p;
    p = 1.0 + r * (1.0 + r * p);
    uint64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* P (log P - log Q) of one token. */
ACC_INLINE double divergence_of(double log_p, double log_q)
{
    return exp_of(log_p) * (log_p - log_q);
}

#define LANES 256 /* partial results side by side: plain loops, one order on every machine */

ACC_CLONES double acc_log_sum_exp(const float *x, size_t n)
{
    const double max = acc_ref_max(x, (uint32_t)n, x[0]), least = least_log;
    double part[LANES] = {0}, sum = 0;
    const size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) part[j] += exp_of(at_least(x[i + j] - max, least));
    for (size_t i = whole; i < n; i++) sum += exp_of(at_least(x[i] - max, least));
    for (size_t j = 0; j < LANES; j++) sum += part[j];
    return max + log(sum);
}

ACC_CLONES double acc_divergence(const float *p, const float *q, size_t n)
{
    const double log_p = acc_log_sum_exp(p, n), log_q = acc_log_sum_exp(q, n), least = least_log;
    double part[LANES] = {0}, sum = 0;
    const size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            part[j] += divergence_of(at_least(p[i + j] - log_p, least), q[i + j] - log_q);
    for (size_t i = whole; i < n; i++) sum += divergence_of(at_least(p[i] - log_p, least), q[i] - log_q);
    for (size_t j = 0; j < LANES; j++) sum += part[j];
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
