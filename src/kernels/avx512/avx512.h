/* Pieces of the AVX-512 set: each overrides its own part of the table. acc_kernels_init_avx512() calls them all. */
#ifndef ACC_KERNELS_AVX512_AVX512_H
#define ACC_KERNELS_AVX512_AVX512_H

#include "kernels/kernels.h"

void acc_kernels_init_avx512_linear(acc_kernels *k); /* w[] */
void acc_kernels_init_avx512_attn(acc_kernels *k);   /* attn4, attn8, attn_query, kv_turn, kv4, kv4_key, kv8 */
void acc_kernels_init_avx512_vector(acc_kernels *k); /* a8, norm_a8, silu_mul, scale */

#endif
