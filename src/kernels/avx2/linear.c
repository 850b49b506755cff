/* The linear kernels of the AVX2 set enter the table. */
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/linear.h"

void acc_kernels_init_avx2_linear(acc_kernels *k)
{
    k->w[ACC_FMT_W2S].pack = acc_avx2_w2s_pack;
    k->w[ACC_FMT_W2S].matvec = acc_avx2_w2s_matvec;
    k->w[ACC_FMT_W2S].matmul = acc_avx2_w2s_matmul;
    k->w[ACC_FMT_W2S].repack_bytes = acc_avx2_w2s_repack_bytes;
    k->w[ACC_FMT_W2S].repack = acc_avx2_w2s_repack;
    k->w[ACC_FMT_W2S].run = 1;
    k->w[ACC_FMT_W2].pack = acc_avx2_w2_pack;
    k->w[ACC_FMT_W2].matvec = acc_avx2_w2_matvec;
    k->w[ACC_FMT_W2].matmul = acc_avx2_w2_matmul;
    k->w[ACC_FMT_W4].pack = acc_avx2_w4_pack;
    k->w[ACC_FMT_W4].matvec = acc_avx2_w4_matvec;
    k->w[ACC_FMT_W4].matmul = acc_avx2_w4_matmul;
    k->w[ACC_FMT_W8].pack = acc_avx2_w8_pack;
    k->w[ACC_FMT_W8].matvec = acc_avx2_w8_matvec;
    k->w[ACC_FMT_W8].matmul = acc_avx2_w8_matmul;
}
