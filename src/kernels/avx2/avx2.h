/* Pieces of the AVX2 set: each overrides its own part of the table. acc_kernels_init_avx2() calls them all. */
#ifndef ACC_KERNELS_AVX2_AVX2_H
#define ACC_KERNELS_AVX2_AVX2_H

#include "kernels/kernels.h"

void acc_kernels_init_avx2_linear(acc_kernels *k); /* w[] */
void acc_kernels_init_avx2_attn(acc_kernels *k);   /* attn4, attn8, attn_query */
void acc_kernels_init_avx2_vector(acc_kernels *k); /* a8, norm_a8, silu_mul, scale */

#endif
