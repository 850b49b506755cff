/* What a library for products gives (onednn.c and bf16.c, or openblas.c), beside acc_gemm_one(). */
#ifndef ACC_GEMM_ONE_H
#define ACC_GEMM_ONE_H

#include "gemm/gemm.h"

/* Readies g's operands by the pool's threads; then pieces of it may be run. */
void acc_gemm_load(acc_pool *pool, const acc_gemm *g);
/* One piece of a product by the calling thread, which is the pool's `worker`. */
void acc_gemm_piece(const acc_gemm *whole, const acc_gemm *part, uint32_t worker);

#endif
