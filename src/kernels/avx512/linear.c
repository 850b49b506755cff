/* The linear kernels of the AVX-512 set enter the table; they read the file's layout, nothing is repacked. */
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/linear.h"

void acc_kernels_init_avx512_linear(acc_kernels *k)
{
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        k->w[f].repack_bytes = NULL;
        k->w[f].repack = NULL;
    }
    k->w[ACC_FMT_W2S].pack = acc_avx512_w2s_pack;
    k->w[ACC_FMT_W2S].matvec = acc_avx512_w2s_matvec;
    k->w[ACC_FMT_W2S].matmul = acc_avx512_w2s_matmul;
    k->w[ACC_FMT_W2S].run = 128; /* tables cost as many instructions as three row blocks */
    const bool far = __builtin_cpu_is("intel");
    k->w[ACC_FMT_W2].pack = acc_avx512_w2_pack;
    k->w[ACC_FMT_W2].matvec = far ? acc_avx512_w2_matvec_far : acc_avx512_w2_matvec;
    k->w[ACC_FMT_W2].matmul = acc_avx512_w2_matmul;
    k->w[ACC_FMT_W4].pack = acc_avx512_w4_pack;
    k->w[ACC_FMT_W4].matvec = far ? acc_avx512_w4_matvec_far : acc_avx512_w4_matvec;
    k->w[ACC_FMT_W4].matmul = acc_avx512_w4_matmul;
    k->w[ACC_FMT_W8].pack = acc_avx512_w8_pack;
    k->w[ACC_FMT_W8].matvec = far ? acc_avx512_w8_matvec_far : acc_avx512_w8_matvec;
    k->w[ACC_FMT_W8].matmul = acc_avx512_w8_matmul;
}
