/* Rows of logits in double: the log of their sum, the divergence between two. */
#include "reference/logits.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/clones.h"

/* e^x for x <= 0 without calls, tables or branches, so that loops of it become vectors; relative error below 1e-15, NaN
 * for NaN. x = n ln 2 + r: e^r by its Taylor polynomial, 2^n from the integer that adding `shift` leaves in the low
 * bits. */
static inline double exp_of(double x)
{
    const double shift = 0x1.8p52, low = x < -700.0 ? -700.0 : x, t = low * 0x1.71547652b82fep+0 + shift, n = t - shift;
    const double r = (low - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
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

#define LANES 256 /* partial results side by side: plain loops, one order on every machine */

ACC_CLONES double acc_log_sum_exp(const float *x, size_t n)
{
    float top[LANES], max = x[0];
    double part[LANES] = {0}, sum = 0;
    const size_t whole = n / LANES * LANES;
    for (size_t j = 0; j < LANES; j++) top[j] = max;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) top[j] = x[i + j] > top[j] ? x[i + j] : top[j];
    for (size_t j = 0; j < LANES; j++) max = top[j] > max ? top[j] : max;
    for (size_t i = whole; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) part[j] += exp_of((double)x[i + j] - (double)max);
    for (size_t i = whole; i < n; i++) sum += exp_of((double)x[i] - (double)max);
    for (size_t j = 0; j < LANES; j++) sum += part[j];
    return (double)max + log(sum);
}

double acc_divergence(const float *p, const float *q, size_t n)
{
    const double log_p = acc_log_sum_exp(p, n), log_q = acc_log_sum_exp(q, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double lp = (double)p[i] - log_p;
        if (lp > -700) sum += exp(lp) * (lp - ((double)q[i] - log_q));
    }
    return sum;
}
