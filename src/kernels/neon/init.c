/* The AArch64 sets enter the table. */
#include "kernels/neon/neon.h"

void acc_kernels_init_neon(acc_kernels *k)
{
    k->w[ACC_FMT_W2S].matvec = acc_neon_w2s_matvec;
    k->w[ACC_FMT_W2S].pack = acc_neon_w2s_pack;
    k->w[ACC_FMT_W2S].matmul = acc_neon_w2s_matmul;
    k->w[ACC_FMT_W2S].repack_bytes = acc_neon_w2s_repack_bytes;
    k->w[ACC_FMT_W2S].repack = acc_neon_w2s_repack;
    k->w[ACC_FMT_W2S].run = 1;
    k->w[ACC_FMT_W2].matvec = acc_neon_w2_matvec;
    k->w[ACC_FMT_W2].pack = acc_neon_w2_pack;
    k->w[ACC_FMT_W2].matmul = acc_neon_w2_matmul;
    k->w[ACC_FMT_W4].matvec = acc_neon_w4_matvec;
    k->w[ACC_FMT_W4].pack = acc_neon_w4_pack;
    k->w[ACC_FMT_W4].matmul = acc_neon_w4_matmul;
    k->w[ACC_FMT_W8].matvec = acc_neon_w8_matvec;
    k->w[ACC_FMT_W8].pack = acc_neon_w8_pack;
    k->w[ACC_FMT_W8].matmul = acc_neon_w8_matmul;
    k->attn4 = acc_neon_attn4;
    k->attn8 = acc_neon_attn8;
    k->attn_query = acc_neon_attn_query;
    k->kv_turn = acc_neon_kv_turn;
    k->kv4 = acc_neon_kv4;
    k->kv4_key = acc_neon_kv4_key;
    k->kv8 = acc_neon_kv8;
    k->a8 = acc_neon_a8;
    k->norm_a8 = acc_neon_norm_a8;
    k->silu_mul = acc_neon_silu_mul;
    k->scale = acc_neon_scale;
    k->name = "neon";
}

void acc_kernels_init_dotprod(acc_kernels *k)
{
    k->w[ACC_FMT_W2S].pack = acc_dotprod_w2s_pack;
    k->w[ACC_FMT_W2S].matmul = acc_dotprod_w2s_matmul;
    k->w[ACC_FMT_W2].matvec = acc_dotprod_w2_matvec;
    k->w[ACC_FMT_W2].pack = acc_dotprod_w2_pack;
    k->w[ACC_FMT_W2].matmul = acc_dotprod_w2_matmul;
    k->w[ACC_FMT_W4].matvec = acc_dotprod_w4_matvec;
    k->w[ACC_FMT_W4].pack = acc_dotprod_w4_pack;
    k->w[ACC_FMT_W4].matmul = acc_dotprod_w4_matmul;
    k->w[ACC_FMT_W8].matvec = acc_dotprod_w8_matvec;
    k->w[ACC_FMT_W8].pack = acc_dotprod_w8_pack;
    k->w[ACC_FMT_W8].matmul = acc_dotprod_w8_matmul;
    k->attn4 = acc_dotprod_attn4;
    k->attn8 = acc_dotprod_attn8;
    k->name = "dotprod";
}

void acc_kernels_init_i8mm(acc_kernels *k)
{
    k->w[ACC_FMT_W2S].pack = acc_i8mm_w2s_pack;
    k->w[ACC_FMT_W2S].matmul = acc_i8mm_w2s_matmul;
    k->w[ACC_FMT_W2].pack = acc_i8mm_w2_pack;
    k->w[ACC_FMT_W2].matmul = acc_i8mm_w2_matmul;
    k->w[ACC_FMT_W4].pack = acc_i8mm_w4_pack;
    k->w[ACC_FMT_W4].matmul = acc_i8mm_w4_matmul;
    k->w[ACC_FMT_W8].pack = acc_i8mm_w8_pack;
    k->w[ACC_FMT_W8].matmul = acc_i8mm_w8_matmul;
    k->name = "i8mm";
}
