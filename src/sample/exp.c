#include "sample/exp.h"

#include <stdint.h>
#include <string.h>

/* x = k ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 13 (the next term is below 5e-18), 2^k by
 * the exponent's bits. ln 2 in two parts (the first with 21 trailing zero bits) makes k * hi exact. */
double acc_sample_exp(double x)
{
    static const double log2e = 0x1.71547652b82fep+0, ln2_hi = 0x1.62e42feep-1, ln2_lo = 0x1.a39ef35793c76p-33;
    static const double inverse_factorial[] = {
        1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
        1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0,
    };
    if (x < -708.0) return 0.0; /* keeps 2^k a normal number */
    if (x > 0.0) x = 0.0;
    int32_t k = (int32_t)(x * log2e - 0.5);
    double r = (x - (double)k * ln2_hi) - (double)k * ln2_lo;
    double e = inverse_factorial[13];
    for (int i = 12; i >= 0; i--) e = e * r + inverse_factorial[i];
    uint64_t bits = (uint64_t)(1023 + k) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return e * power;
}
