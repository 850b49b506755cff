/* The AVX2 set. */
#include "kernels/avx2/avx2.h"

void acc_kernels_init_avx2(acc_kernels *k)
{
    acc_kernels_init_avx2_linear(k);
    acc_kernels_init_avx2_attn(k);
    acc_kernels_init_avx2_vector(k);
    k->name = "avx2";
}
