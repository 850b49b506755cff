/* Products by OpenBLAS, in float32 alone: for builds without oneDNN, of which Debian has no static library. */
#include <cblas.h>

#include "gemm/one.h"

void acc_gemm_one(const acc_gemm *g)
{
    if (g->m == 0 || g->n == 0) return;
    if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans, g->trans_b ? CblasTrans : CblasNoTrans,
                (blasint)g->m, (blasint)g->n, (blasint)g->k, g->alpha, g->a, (blasint)g->lda, g->b, (blasint)g->ldb,
                g->beta, g->c, (blasint)g->ldc);
}

void acc_gemm_load(acc_pool *pool, const acc_gemm *g)
{
    (void)pool; /* operands are used as they are */
    (void)g;
}

void acc_gemm_piece(const acc_gemm *whole, const acc_gemm *part, uint32_t worker)
{
    (void)whole;
    (void)worker;
    acc_gemm_one(part);
}

const char *acc_gemm_kind(void)
{
    return "float32 (OpenBLAS)";
}

uint64_t acc_gemm_bf16_bytes(size_t floats)
{
    (void)floats;
    return 0;
}

accllm_status acc_gemm_bf16_create(acc_gemm_bf16 **out, acc_pool *pool, size_t floats, accllm_error *err)
{
    (void)pool;
    (void)floats;
    (void)err;
    *out = NULL; /* no instructions for bfloat16 are used */
    return ACCLLM_OK;
}

void acc_gemm_bf16_free(acc_gemm_bf16 **b)
{
    *b = NULL;
}
