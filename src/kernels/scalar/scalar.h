/* Pieces of the scalar kernel set: each fills its own part of the table. acc_kernels_init_scalar() calls them all. */
#ifndef ACC_KERNELS_SCALAR_SCALAR_H
#define ACC_KERNELS_SCALAR_SCALAR_H

#include "kernels/kernels.h"

void acc_kernels_init_scalar_attn(acc_kernels *k);   /* attn4, attn8, attn_query */
void acc_kernels_init_scalar_linear(acc_kernels *k); /* w[]: matvec, matmul */
void acc_kernels_init_scalar_vector(acc_kernels *k); /* a8, norm_a8, silu_mul, scale, kv_turn, kv4, kv4_key, kv8 */

#endif
