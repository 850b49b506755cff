/*
 * The three AArch64 sets: "neon" needs nothing beyond ARMv8.0; "dotprod" takes byte dot products (SDOT, UDOT), "i8mm"
 * byte matrix products (SMMLA) where those pay, and the rest from the set below. Files with such variants are compiled
 * once for each set (meson.build); ACC_NEON names what they export.
 */
#ifndef ACC_KERNELS_NEON_NEON_H
#define ACC_KERNELS_NEON_NEON_H

#include "kernels/kernels.h"

#if defined(ACC_NEON_I8MM)
#define ACC_NEON(name) acc_i8mm_##name
#elif defined(ACC_NEON_DOTPROD)
#define ACC_NEON(name) acc_dotprod_##name
#else
#define ACC_NEON(name) acc_neon_##name
#endif

/* w2s.c */
size_t acc_neon_w2s_repack_bytes(const acc_weight *w);
void acc_neon_w2s_repack(const acc_weight *w, uint8_t *dst);
/* For few tokens: the activations that picks find, and those tokens' rows. */
acc_pack_fn acc_neon_w2s_pack_few;
acc_matmul_fn acc_neon_w2s_few;
acc_matvec_fn acc_neon_w2s_matvec;

/* matvec.c */
acc_matvec_fn acc_neon_w2_matvec, acc_neon_w4_matvec, acc_neon_w8_matvec;
acc_matvec_fn acc_dotprod_w2_matvec, acc_dotprod_w4_matvec, acc_dotprod_w8_matvec;

/* matmul.c */
acc_pack_fn acc_neon_w2s_pack, acc_neon_w2_pack, acc_neon_w4_pack, acc_neon_w8_pack;
acc_pack_fn acc_dotprod_w2s_pack, acc_dotprod_w2_pack, acc_dotprod_w4_pack, acc_dotprod_w8_pack;
acc_pack_fn acc_i8mm_w2s_pack, acc_i8mm_w2_pack, acc_i8mm_w4_pack, acc_i8mm_w8_pack;
acc_matmul_fn acc_neon_w2s_matmul, acc_neon_w2_matmul, acc_neon_w4_matmul, acc_neon_w8_matmul;
acc_matmul_fn acc_dotprod_w2s_matmul, acc_dotprod_w2_matmul, acc_dotprod_w4_matmul, acc_dotprod_w8_matmul;
acc_matmul_fn acc_i8mm_w2s_matmul, acc_i8mm_w2_matmul, acc_i8mm_w4_matmul, acc_i8mm_w8_matmul;

/* attention.c */
acc_attn_fn acc_neon_attn4, acc_neon_attn8, acc_dotprod_attn4, acc_dotprod_attn8;

/* query.c, kv.c */
acc_attn_query_fn acc_neon_attn_query;
acc_kv_turn_fn acc_neon_kv_turn;
acc_kv4_fn acc_neon_kv4;
acc_kv4_key_fn acc_neon_kv4_key;
acc_kv8_fn acc_neon_kv8;

/* vector.c */
acc_a8_fn acc_neon_a8;
acc_norm_a8_fn acc_neon_norm_a8;
acc_silu_mul_fn acc_neon_silu_mul;
acc_scale_fn acc_neon_scale;

#endif
