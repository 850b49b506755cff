/* The attention entries of the AVX-512 set. */
#ifndef ACC_KERNELS_AVX512_ATTN_H
#define ACC_KERNELS_AVX512_ATTN_H

#include "kernels/avx512/common.h"

void acc_attn4_avx512(const acc_attn_segment *g, void *scratch);
void acc_attn8_avx512(const acc_attn_segment *g, void *scratch);
acc_attn_query_fn acc_attn_query_avx512;
acc_kv_turn_fn acc_kv_turn_avx512;
acc_kv4_fn acc_kv4_avx512;
acc_kv4_key_fn acc_kv4_key_avx512;
acc_kv8_fn acc_kv8_avx512;

#endif
