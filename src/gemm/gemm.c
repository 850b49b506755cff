/* Products in pieces: see gemm.h. */
#include <cblas.h>
#include <stdatomic.h>

#include "gemm/gemm.h"

#define PIECE 96       /* rows of a Gram matrix at a time */
#define MOST_ROWS 192u /* of a product's piece: BLAS packs the other operand once per piece */

typedef struct gemm_job {
    const acc_gemm *g;
    uint32_t rows; /* of a piece */
    atomic_uint next;
} gemm_job;

static void gemm_rows(const acc_gemm *g, uint32_t row, uint32_t rows)
{
    const float *a = g->trans_a ? g->a + row : g->a + (size_t)row * g->lda;
    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans, g->trans_b ? CblasTrans : CblasNoTrans,
                (blasint)rows, (blasint)g->n, (blasint)g->k, g->alpha, a, (blasint)g->lda, g->b, (blasint)g->ldb,
                g->beta, g->c + (size_t)row * g->ldc, (blasint)g->ldc);
}

void acc_gemm_one(const acc_gemm *g)
{
    gemm_rows(g, 0, g->m);
}

static void gemm_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)worker;
    (void)n_workers;
    gemm_job *j = ctx;
    for (;;) {
        const uint32_t row = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed) * j->rows;
        if (row >= j->g->m) return;
        gemm_rows(j->g, row, j->g->m - row < j->rows ? j->g->m - row : j->rows);
    }
}

/* Pieces come in fours, so that two or four threads end together. */
static uint32_t piece_rows(uint32_t m)
{
    const uint32_t pieces = ((m + MOST_ROWS - 1) / MOST_ROWS + 3) / 4 * 4;
    return ((m + pieces - 1) / pieces + 15) / 16 * 16;
}

void acc_gemm_run(acc_pool *pool, const acc_gemm *g)
{
    gemm_job j = {.g = g, .rows = piece_rows(g->m)};
    openblas_set_num_threads(1); /* the number is the whole process's */
    acc_pool_run(pool, gemm_worker, &j);
}

typedef struct gram_job {
    const float *x;
    uint32_t k, n;
    float *chunk;
    double *sum;
    atomic_uint next;
} gram_job;

static void gram_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)worker;
    (void)n_workers;
    gram_job *g = ctx;
    const size_t n = g->n;
    for (;;) {
        const uint32_t row = atomic_fetch_add_explicit(&g->next, 1, memory_order_relaxed) * PIECE;
        if (row >= g->n) return;
        const uint32_t rows = g->n - row < PIECE ? g->n - row : PIECE;
        float *c = g->chunk + row * n + row;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)rows, (blasint)(g->n - row), (blasint)g->k, 1.0f,
                    g->x + row, (blasint)n, g->x + row, (blasint)n, 0.0f, c, (blasint)n);
        for (size_t i = row; i < row + rows; i++)
            for (size_t j = i; j < n; j++) g->sum[i * n + j] += (double)g->chunk[i * n + j];
    }
}

void acc_gram_add(acc_pool *pool, const float *x, uint32_t k, uint32_t n, float *chunk, double *sum)
{
    gram_job g = {.x = x, .k = k, .n = n, .chunk = chunk, .sum = sum};
    openblas_set_num_threads(1);
    acc_pool_run(pool, gram_worker, &g);
}
