/* The scalar set: every entry of the table. */
#include "kernels/scalar/scalar.h"

void acc_kernels_init_scalar(acc_kernels *k)
{
    acc_kernels_init_scalar_attn(k);
    acc_kernels_init_scalar_linear(k);
    acc_kernels_init_scalar_vector(k);
    k->name = "scalar";
}
