/*
 * Two sets: "avx2", and "avxvnni", which takes byte dot products (VPDPBUSD) where those pay and the rest from avx2.
 * Files with such variants are compiled once for each (meson.build); ACC_AVX2 names what they export.
 */
#ifndef ACC_KERNELS_AVX2_AVX2_H
#define ACC_KERNELS_AVX2_AVX2_H

#include "kernels/kernels.h"

#ifdef ACC_AVXVNNI
#define ACC_AVX2(name) acc_avxvnni_##name
#else
#define ACC_AVX2(name) acc_avx2_##name
#endif

acc_attn_fn acc_avx2_attn4, acc_avx2_attn8, acc_avxvnni_attn4, acc_avxvnni_attn8;

/* Pieces of "avx2": each overrides its own part of the table. acc_kernels_init_avx2() calls them all. */
void acc_kernels_init_avx2_linear(acc_kernels *k); /* w[] */
void acc_kernels_init_avx2_attn(acc_kernels *k);   /* attn4, attn8, attn_query, kv_turn */
void acc_kernels_init_avx2_kv(acc_kernels *k);     /* kv4, kv4_key, kv8 */
void acc_kernels_init_avx2_vector(acc_kernels *k); /* a8, norm_a8, silu_mul, scale */

#endif
