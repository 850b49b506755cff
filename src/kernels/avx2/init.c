/* The AVX2 set. */
#include "kernels/avx2/avx2.h"

void acc_kernels_init_avx2(acc_kernels *k)
{
    k->name = "avx2";
}
