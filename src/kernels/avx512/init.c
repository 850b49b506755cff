/* The AVX-512 set. */
#include "kernels/avx512/avx512.h"

void acc_kernels_init_avx512(acc_kernels *k)
{
    acc_kernels_init_avx512_linear(k);
    k->name = "avx512";
}
