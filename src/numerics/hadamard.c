/* Unnormalised Walsh-Hadamard transform: spreads outlier channels before 4-bit rounding (QuaRot, arXiv 2404.00456). */
#include "numerics/numerics.h"

uint32_t acc_hadamard_block(uint32_t head_dim)
{
    return head_dim & (0u - head_dim);
}

void acc_hadamard(float *x, uint32_t n, uint32_t block)
{
    for (uint32_t base = 0; base + block <= n; base += block)
        for (uint32_t stride = 1; stride < block; stride *= 2)
            for (uint32_t i = base; i < base + block; i += 2 * stride)
                for (uint32_t j = i; j < i + stride; j++) {
                    const float a = x[j], b = x[j + stride];
                    x[j] = a + b;
                    x[j + stride] = a - b;
                }
}
