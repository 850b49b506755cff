/*
 * The AMX set: prefill by tile products of bytes (TDPBSSD) where a tile of tokens is full enough; all else is the
 * AVX-512 set's, on top of which it stands.
 */
#ifndef ACC_KERNELS_AMX_AMX_H
#define ACC_KERNELS_AMX_AMX_H

#include "kernels/kernels.h"

acc_pack_fn acc_amx_w2s_pack, acc_amx_w2_pack, acc_amx_w4_pack, acc_amx_w8_pack;
acc_matmul_fn acc_amx_w2s_matmul, acc_amx_w2_matmul, acc_amx_w4_matmul, acc_amx_w8_matmul;

#endif
