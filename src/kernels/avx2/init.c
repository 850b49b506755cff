/* The two sets enter the table. */
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/linear.h"

void acc_kernels_init_avx2(acc_kernels *k)
{
    acc_kernels_init_avx2_linear(k);
    acc_kernels_init_avx2_attn(k);
    acc_kernels_init_avx2_kv(k);
    acc_kernels_init_avx2_vector(k);
    k->name = "avx2";
}

void acc_kernels_init_avxvnni(acc_kernels *k)
{
    k->w[ACC_FMT_W2S].pack = acc_avxvnni_w2s_pack;
    k->w[ACC_FMT_W2S].matmul = acc_avxvnni_w2s_matmul;
    k->w[ACC_FMT_W2].pack = acc_avxvnni_w2_pack;
    k->w[ACC_FMT_W2].matvec = acc_avxvnni_w2_matvec;
    k->w[ACC_FMT_W2].matmul = acc_avxvnni_w2_matmul;
    k->w[ACC_FMT_W4].pack = acc_avxvnni_w4_pack;
    k->w[ACC_FMT_W4].matvec = acc_avxvnni_w4_matvec;
    k->w[ACC_FMT_W4].matmul = acc_avxvnni_w4_matmul;
    k->w[ACC_FMT_W8].pack = acc_avxvnni_w8_pack;
    k->w[ACC_FMT_W8].matvec = acc_avxvnni_w8_matvec;
    k->w[ACC_FMT_W8].matmul = acc_avxvnni_w8_matmul;
    k->attn4 = acc_avxvnni_attn4;
    k->attn8 = acc_avxvnni_attn8;
    k->name = "avxvnni";
}
