/* Products in pieces: see gemm.h. */
#include <stdatomic.h>

#include "gemm/one.h"

#define SMALL (1u << 25) /* multiplications; below, more pieces cost more than they share out */
#define PIECE 96         /* rows of a Gram matrix at a time */

/* A product is cut along its longer side: each piece reads the whole other operand. */
typedef struct gemm_job {
    const acc_gemm *g;
    uint32_t piece; /* rows or columns of one */
    bool by_columns;
    atomic_uint next;
} gemm_job;

void acc_gemm_plain(const acc_gemm *g)
{
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            float sum = 0, *c = g->c + i * g->ldc + j;
            for (size_t l = 0; l < g->k; l++)
                sum += g->a[g->trans_a ? l * g->lda + i : i * g->lda + l] *
                       g->b[g->trans_b ? j * g->ldb + l : l * g->ldb + j];
            *c = g->alpha * sum + (g->beta != 0 ? g->beta * *c : 0);
        }
}

static void gemm_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)n_workers;
    gemm_job *j = ctx;
    const uint32_t whole = j->by_columns ? j->g->n : j->g->m;
    for (;;) {
        const uint32_t at = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed) * j->piece;
        if (at >= whole) return;
        const uint32_t here = whole - at < j->piece ? whole - at : j->piece;
        acc_gemm part = *j->g;
        if (j->by_columns) {
            part.n = here;
            part.b += part.trans_b ? (size_t)at * part.ldb : at;
            part.c += at;
        } else {
            part.m = here;
            part.a += part.trans_a ? at : (size_t)at * part.lda;
            part.c += (size_t)at * part.ldc;
        }
        acc_gemm_piece(j->g, &part, worker);
    }
}

void acc_gemm_run(acc_pool *pool, const acc_gemm *g)
{
    gemm_job j = {.g = g, .by_columns = g->n > g->m};
    const uint32_t whole = j.by_columns ? g->n : g->m;
    const uint32_t pieces = whole < 1024 || (uint64_t)g->m * g->n * g->k < SMALL ? 4 : whole < 8192 ? 8 : 16;
    j.piece = ((whole + pieces - 1) / pieces + 15) / 16 * 16;
    acc_gemm_load(pool, g);
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
        acc_gemm_one(&(acc_gemm){.trans_a = true,
                                 .m = rows,
                                 .n = g->n - row,
                                 .k = g->k,
                                 .alpha = 1,
                                 .a = g->x + row,
                                 .b = g->x + row,
                                 .c = g->chunk + row * n + row,
                                 .lda = g->n,
                                 .ldb = g->n,
                                 .ldc = g->n});
        for (size_t i = row; i < row + rows; i++)
            for (size_t j = i; j < n; j++) g->sum[i * n + j] += (double)g->chunk[i * n + j];
    }
}

void acc_gram_add(acc_pool *pool, const float *x, uint32_t k, uint32_t n, float *chunk, double *sum)
{
    gram_job g = {.x = x, .k = k, .n = n, .chunk = chunk, .sum = sum};
    acc_pool_run(pool, gram_worker, &g);
}
