/* SiLU by a table of the logistic function: docs/numerics.md "SiLU, residual, output". */
#include "numerics/numerics.h"

float acc_sigmoid(float x)
{
    if (x < -16.0f) return 0;
    if (!(x < 16.0f)) return 1; /* and NaN, which x * 1 keeps */
    float g = (x + 16.0f) * 32.0f;
    int32_t i = (int32_t)g;
    if (i > 1023) i = 1023;
    float low = acc_sigmoid_table[i];
    return low + (acc_sigmoid_table[i + 1] - low) * (g - (float)i);
}

void acc_silu_mul(const float *gate, const float *up, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) y[i] = (gate[i] * acc_sigmoid(gate[i])) * up[i];
}
