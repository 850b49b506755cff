/* Vector operations of the scalar set, and the coding of keys and values: the functions of src/numerics themselves. */
#include "kernels/scalar/scalar.h"
#include "numerics/numerics.h"

static void scale(const int32_t *isum, const float *rscale, float s, const float *bias, float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        float v = (float)isum[i] * (rscale[i] * s);
        y[i] = bias ? v + bias[i] : v;
    }
}

static void kv_turn(const float *key, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                    uint32_t block, float *x)
{
    for (uint32_t i = 0; i < head_dim; i++) x[i] = key[i];
    acc_rope_rotate(x, cos, sin, head_dim);
    for (uint32_t i = 0; mu && i < head_dim; i++) x[i] -= mu[i];
    acc_hadamard(x, head_dim, block);
}

void acc_kernels_init_scalar_vector(acc_kernels *k)
{
    k->a8 = acc_a8;
    k->norm_a8 = acc_norm_a8;
    k->silu_mul = acc_silu_mul;
    k->scale = scale;
    k->kv_turn = kv_turn;
    k->kv4 = acc_kv4;
    k->kv4_key = acc_kv4_key;
    k->kv8 = acc_kv8;
}
