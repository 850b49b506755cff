/*
 * Matrix products over the pool, for calibration, solvers and training. Every piece is one single-threaded BLAS call of
 * a size that depends on the shape alone, so the result is the same for every number of threads.
 */
#ifndef ACC_GEMM_GEMM_H
#define ACC_GEMM_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/threads.h"

/* c [m][n] (row stride ldc) = beta c + alpha op(a) op(b), all row-major, inner size k; op(x) is x^T if trans_x. */
typedef struct acc_gemm {
    bool trans_a, trans_b;
    uint32_t m, n, k;
    float alpha, beta;
    const float *a, *b;
    float *c;
    uint32_t lda, ldb, ldc;
} acc_gemm;

/* c [m][n] = op(a) op(b), or that added to it, where all three stand without gaps. */
static inline acc_gemm acc_gemm_dense(uint32_t m, uint32_t n, uint32_t k, const float *a, bool trans_a, const float *b,
                                      bool trans_b, float *c, bool add)
{
    return (acc_gemm){.trans_a = trans_a,
                      .trans_b = trans_b,
                      .m = m,
                      .n = n,
                      .k = k,
                      .alpha = 1,
                      .beta = add ? 1.0f : 0.0f,
                      .a = a,
                      .b = b,
                      .c = c,
                      .lda = trans_a ? m : k,
                      .ldb = trans_b ? k : n,
                      .ldc = n};
}

void acc_gemm_run(acc_pool *pool, const acc_gemm *g);
/* The same by the calling thread alone: inside a job. */
void acc_gemm_one(const acc_gemm *g);

/* sum [n][n] += x^T x on and above the diagonal, x [k][n]; chunk [n][n] is scratch. */
void acc_gram_add(acc_pool *pool, const float *x, uint32_t k, uint32_t n, float *chunk, double *sum);

#endif
