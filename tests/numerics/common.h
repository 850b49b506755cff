/* Shared by the tests of src/numerics: bits, and reproducible random floats. */
#ifndef ACC_TESTS_NUMERICS_COMMON_H
#define ACC_TESTS_NUMERICS_COMMON_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "numerics/numerics.h"

static inline uint32_t bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Roughly normal, variance 1. */
static inline float normal(uint64_t key, uint64_t i)
{
    double sum = 0;
    for (uint64_t k = 0; k < 12; k++) sum += acc_random_unit(key, 12 * i + k);
    return (float)(sum - 6);
}

static inline float *random_vector(uint64_t key, uint32_t n, float scale)
{
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (uint32_t i = 0; i < n; i++) x[i] = normal(key, i) * scale;
    return x;
}

#endif
