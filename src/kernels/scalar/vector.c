/* Vector operations of the scalar set: the functions of src/numerics themselves. */
#include "kernels/scalar/scalar.h"
#include "numerics/numerics.h"

static void scale(const int32_t *isum, const float *rscale, float s, const float *bias, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        float v = (float)isum[i] * (rscale[i] * s);
        y[i] = bias ? v + bias[i] : v;
    }
}

void acc_kernels_init_scalar_vector(acc_kernels *k)
{
    k->a8 = acc_a8;
    k->norm_a8 = acc_norm_a8;
    k->silu_mul = acc_silu_mul;
    k->scale = scale;
}
