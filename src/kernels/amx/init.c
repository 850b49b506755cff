/* The AMX set. */
#include "kernels/amx/amx.h"

void acc_kernels_init_amx(acc_kernels *k)
{
    k->w[ACC_FMT_W2S].pack = acc_amx_w2s_pack;
    k->w[ACC_FMT_W2S].matmul = acc_amx_w2s_matmul;
    k->w[ACC_FMT_W2].pack = acc_amx_w2_pack;
    k->w[ACC_FMT_W2].matmul = acc_amx_w2_matmul;
    k->w[ACC_FMT_W4].pack = acc_amx_w4_pack;
    k->w[ACC_FMT_W4].matmul = acc_amx_w4_matmul;
    k->w[ACC_FMT_W8].pack = acc_amx_w8_pack;
    k->w[ACC_FMT_W8].matmul = acc_amx_w8_matmul;
    k->name = "amx";
}
