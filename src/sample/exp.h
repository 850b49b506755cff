/* The sampler's own exponential: the same bits on every machine, which libm does not promise. */
#ifndef ACC_SAMPLE_EXP_H
#define ACC_SAMPLE_EXP_H

#include <stdint.h>
#include <string.h>

extern const double acc_sample_exp2_table[64];

/* e^x for -700 <= x <= 0 in double, relative error below 1e-15; e^-700 below that and for NaN. x = n ln 2 / 64 + r with
 * |r| below 0.0055: e^r by its Taylor polynomial of degree 5 (the next term is below 4e-17), 2^(n / 64) by table and
 * exponent bits. ln 2 / 64 is in two parts, the first with trailing zero bits, so that n * hi is exact. */
static inline double acc_sample_exp(double x)
{
    const double shift = 0x1.8p52; /* adding it rounds to an integer, ties to even */
    x = x > -700.0 ? x : -700.0;   /* keeps 2^k a normal number */
    double n = (x * 0x1.71547652b82fep+6 + shift) - shift;
    double r = (x - n * 0x1.62e42fee00000p-7) - n * 0x1.a39ef35793c76p-39;
    int32_t k = (int32_t)n;
    double t = acc_sample_exp2_table[k & 63];
    double e = t + t * (r + (r * r) * ((0.5 + r * (1.0 / 6)) + (r * r) * (1.0 / 24 + r * (1.0 / 120))));
    uint64_t bits = (uint64_t)(1023 + (k >> 6)) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return e * power;
}

#endif
