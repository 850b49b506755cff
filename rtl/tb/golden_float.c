/* Binary32 for the benches: the operations of C themselves and the library's pieces. Floats travel as their bits. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "numerics/numerics.h"
#include "svdpi.h"

static float f(int u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Every NaN is the hardware's one. */
static int bits(float x)
{
    int u;
    memcpy(&u, &x, sizeof u);
    return isnan(x) ? 0x7fc00000 : u;
}

int golden_add(int a, int b)
{
    return bits(f(a) + f(b));
}

int golden_mul(int a, int b)
{
    return bits(f(a) * f(b));
}

int golden_div(int a, int b)
{
    return bits(f(a) / f(b));
}

int golden_sqrt(int a)
{
    return bits(__builtin_sqrtf(f(a)));
}

int golden_from_int(int a)
{
    return bits((float)a);
}

int golden_to_int(int a)
{
    return fabsf(f(a)) < 0x1p+31f ? acc_rne(f(a)) : INT32_MIN;
}

int golden_greater(int a, int b)
{
    return f(a) > f(b);
}

int golden_from_half(int h)
{
    return bits(acc_f16_to_f32((uint16_t)h));
}

int golden_to_half(int a)
{
    return acc_f32_to_f16(f(a));
}

int golden_exp2_weight(int d)
{
    return (int)acc_exp2_u16(f(d));
}

int golden_exp2_factor(int d)
{
    return bits(acc_exp2_merge(f(d)));
}

static float vector[4096];

void golden_sum_put(int i, int x)
{
    vector[i] = f(x);
}

int golden_sum(int n)
{
    return bits(acc_sum(vector, (uint32_t)n));
}
