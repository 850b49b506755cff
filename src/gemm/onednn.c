/* Products by oneDNN. */
#include "gemm/onednn.h"

#include <dnnl.h>

#include "gemm/one.h"

void acc_gemm_one(const acc_gemm *g)
{
    if (g->m == 0 || g->n == 0) return;
    const acc_onednn_scope scope = acc_onednn_enter();
    const dnnl_status_t s = dnnl_sgemm(g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N', g->m, g->n, g->k, g->alpha, g->a,
                                       g->lda, g->b, g->ldb, g->beta, g->c, g->ldc);
    acc_onednn_leave(&scope);
    if (s != dnnl_success) acc_gemm_plain(g);
}

void acc_gemm_load(acc_pool *pool, const acc_gemm *g)
{
    if (g->bf16) acc_onednn_bf16_load(pool, g);
}

void acc_gemm_piece(const acc_gemm *whole, const acc_gemm *part, uint32_t worker)
{
    if (part->bf16)
        acc_onednn_bf16_piece(whole, part, worker);
    else
        acc_gemm_one(part);
}
