/*
 * Matrix products over the pool, for calibration, solvers, training and the float reference. Every piece is one
 * single-threaded call of oneDNN (without it: of OpenBLAS), of a size that depends on the shape alone, so the result is
 * the same for every number of threads.
 */
#ifndef ACC_GEMM_GEMM_H
#define ACC_GEMM_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/threads.h"

typedef struct acc_gemm_bf16 acc_gemm_bf16;

/* c [m][n] (row stride ldc) = beta c + alpha op(a) op(b), all row-major, inner size k; op(x) is x^T if trans_x. */
typedef struct acc_gemm {
    bool trans_a, trans_b;
    uint32_t m, n, k;
    float alpha, beta;
    const float *a, *b;
    float *c;
    uint32_t lda, ldb, ldc;
    acc_gemm_bf16 *bf16; /* acc_gemm_run(): the operands rounded to bfloat16, sums in float32; alpha 1, beta 0 or 1.
                            NULL: float32 */
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
/* The same by the calling thread alone, in float32: inside a job. */
void acc_gemm_one(const acc_gemm *g);
/* The same by three loops: what the others are tested against, and what they do where oneDNN has no memory left. */
void acc_gemm_plain(const acc_gemm *g);

/* Room for both operands of products whose op(a) and op(b) have at most `floats` numbers each, used by one product at a
 * time. *out is NULL, which means float32, where the CPU has no instructions for bfloat16, or the build no oneDNN. */
accllm_status acc_gemm_bf16_create(acc_gemm_bf16 **out, acc_pool *pool, size_t floats,
                                   accllm_error *err) ACC_MUST_CHECK;
void acc_gemm_bf16_free(acc_gemm_bf16 **b);
/* Bytes that it would take. */
uint64_t acc_gemm_bf16_bytes(size_t floats);
/* "float32 (avx2)", "bfloat16 (amx)": the type and the instructions of products that are given a `bf16`. */
const char *acc_gemm_kind(void);

/* Operations a second that the pool reaches on a product of a model's size now (two for each multiplication); bf16:
 * with operands in bfloat16 where the CPU has it. Takes about a tenth of a second. 0: no memory. */
double acc_gemm_rate(acc_pool *pool, bool bf16);

/* sum [n][n] += x^T x on and above the diagonal, x [k][n]; chunk [n][n] is scratch. */
void acc_gram_add(acc_pool *pool, const float *x, uint32_t k, uint32_t n, float *chunk, double *sum);

#endif
