/* The AVX-512 set. */
#include "kernels/avx512/avx512.h"

void acc_kernels_init_avx512(acc_kernels *k)
{
    acc_kernels_init_avx512_linear(k);
    acc_kernels_init_avx512_attn(k);
    acc_kernels_init_avx512_vector(k);
    k->name = "avx512";
}
