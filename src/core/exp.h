/*
 * Exponentials without calls, tables or branches, so that loops of them become vectors. Each operation is rounded by
 * itself (no multiply-adds: meson.build), so the bits are the same on every machine. A NaN comes out as a NaN.
 *
 * Compilers make a branch of a limit that they know, and no vectors of branches: who clamps x before takes the limit
 * from a volatile object.
 */
#ifndef ACC_CORE_EXP_H
#define ACC_CORE_EXP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/inline.h"

/* e^x for -87 <= x <= 88 by 2^n * p(r), |r| <= ln 2 / 2, Taylor's polynomial of degree 7 (truncation below 3e-9). */
ACC_INLINE float acc_expf(float x)
{
    const float shift = 0x1.8p23f, t = x * 0x1.715476p+0f + shift; /* the integer n stands in the low bits */
    const float n = t - shift;
    const float r = x - n * 0x1.62e4p-1f - n * 0x1.7f7d1cp-20f;
    const float r2 = r * r, high = r * (1.0f / 5040) + 1.0f / 720, middle = r * (1.0f / 120) + 1.0f / 24;
    const float low = r * (1.0f / 6) + 0.5f; /* pairs of terms: they need not wait for one another */
    const float p = ((high * r2 + middle) * r2 + low) * r2 + r + 1.0f;
    uint32_t bits;
    float power;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits + (127 - 0x4b400000)) << 23;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* e^x for -700 <= x <= 700, relative error below 1e-15: degree 12. */
ACC_INLINE double acc_exp(double x)
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

/* e^x of what is not below `least`, else e^least; of a NaN a NaN, or with skip_nan (constant) e^least. */
ACC_INLINE double acc_exp_from(double x, double least, const bool skip_nan)
{
    return acc_exp(skip_nan ? (x > least ? x : least) : (x < least ? least : x));
}

#define ACC_EXP_LANES 64 /* partial sums side by side: plain loops, one order on every machine */

/* The sum of acc_exp_from(x - max, least, skip_nan) over x [n], none of which is above max. least: -700, from a
 * volatile object. For functions under ACC_CLONES. */
ACC_INLINE double acc_exp_sum(const float *x, size_t n, double max, double least, const bool skip_nan)
{
    double part[ACC_EXP_LANES] = {0}, sum = 0;
    const size_t whole = n / ACC_EXP_LANES * ACC_EXP_LANES;
    for (size_t i = 0; i < whole; i += ACC_EXP_LANES)
        for (size_t j = 0; j < ACC_EXP_LANES; j++) part[j] += acc_exp_from(x[i + j] - max, least, skip_nan);
    for (size_t i = whole; i < n; i++) sum += acc_exp_from(x[i] - max, least, skip_nan);
    for (size_t j = 0; j < ACC_EXP_LANES; j++) sum += part[j];
    return sum;
}

#endif
