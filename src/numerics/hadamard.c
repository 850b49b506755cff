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
            for (uint32_t i = 0; i < block; i++) {
                if (i & stride) continue;
                float *p = x + base + i, a = p[0], b = p[stride];
                p[0] = a + b;
                p[stride] = a - b;
            }
}
