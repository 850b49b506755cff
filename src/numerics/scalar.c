/* Conversions, rounding and sums: the small pieces of docs/numerics.md "Floats". */
#include <string.h>

#include "core/inline.h"
#include "numerics/numerics.h"

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

float acc_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent == 0) {
        float x = (float)fraction * 0x1p-24f; /* exact */
        return sign ? -x : x;
    }
    if (exponent == 31) return float_of(sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0));
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t acc_f32_to_f16(float x)
{
    uint32_t u = bits_of(x), sign = (u >> 16) & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | ((a >> 13) & 1023));
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* from 65520 on */
    if (a < 0x38800000) {
        /* Below 2^-14 results are multiples of 2^-24: the addition of 1/2 rounds to one, ties to even. */
        return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - 0x3f000000));
    }
    uint32_t odd = (a >> 13) & 1;
    return (uint16_t)(sign | ((a - (112u << 23) + 0xfff + odd) >> 13));
}

int32_t acc_rne(float x)
{
    const float magic = 0x1p+23f; /* from here on a float has no fraction bits */
    if (!(x < magic && x > -magic)) return (int32_t)x;
    return x < 0 ? -(int32_t)((magic - x) - magic) : (int32_t)((x + magic) - magic);
}

/* p[j] += p[j + half] for all j < half. */
ACC_INLINE void halve(float p[64], const uint32_t half)
{
    for (uint32_t j = 0; j < half; j++) p[j] += p[j + half];
}

/* One loop for each half, so that each is compiled for its length. */
ACC_INLINE float fold(float p[64])
{
    halve(p, 32);
    halve(p, 16);
    halve(p, 8);
    halve(p, 4);
    halve(p, 2);
    return p[0] + p[1];
}

float acc_sum(const float *x, uint32_t n)
{
    float p[64] = {0};
    for (; n >= 64; n -= 64, x += 64)
        for (uint32_t j = 0; j < 64; j++) p[j] += x[j];
    for (uint32_t j = 0; j < n; j++) p[j] += x[j];
    return fold(p);
}

float acc_sum_squares(const float *x, uint32_t n)
{
    return acc_sum_products(x, x, n);
}

float acc_sum_products(const float *x, const float *y, uint32_t n)
{
    float p[64] = {0};
    for (; n >= 64; n -= 64, x += 64, y += 64)
        for (uint32_t j = 0; j < 64; j++) p[j] += x[j] * y[j];
    for (uint32_t j = 0; j < n; j++) p[j] += x[j] * y[j];
    return fold(p);
}
