/* The sweep over batches of columns: strips of rows in parallel inside a batch, one GEMM for all columns after it. */
#include <math.h>
#include <string.h>

#include "gemm/gemm.h"
#include "compress/solver.h"
#include "core/memory.h"

/* a = (U4^T U4)^-1 for the quad's block of the factor: the cost of its errors when all later columns compensate. */
static void quad_cost(const acc_factor *f, uint32_t at, double a[4][4])
{
    double inv[4][4] = {{0}}; /* U4^-1, upper triangular */
    for (int j = 0; j < 4; j++) {
        inv[j][j] = 1 / (double)f->u[(size_t)(at + (uint32_t)j) * f->n + at + (uint32_t)j];
        for (int i = j - 1; i >= 0; i--) {
            double sum = 0;
            for (int k = i + 1; k <= j; k++)
                sum += (double)f->u[(size_t)(at + (uint32_t)i) * f->n + at + (uint32_t)k] * inv[k][j];
            inv[i][j] = -sum * inv[i][i];
        }
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            a[i][j] = 0;
            for (int k = 0; k < 4; k++) a[i][j] += inv[i][k] * inv[j][k];
        }
}

static void sweep_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const acc_sweep *s = ctx;
    const size_t stride = s->c->rows_pad;
    float w[ACC_SOLVE_BATCH][ACC_LANES], e[ACC_SOLVE_BATCH][ACC_LANES];
    uint32_t begin, end;
    acc_share(s->c->rows_pad / ACC_LANES, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t r0 = i * ACC_LANES;
        for (uint32_t j = 0; j < s->count; j++) memcpy(w[j], s->wt + (s->begin + j) * stride + r0, sizeof w[j]);
        if (s->c->format == ACC_FMT_W2S)
            acc_sweep_w2s(s, r0, w, e);
        else
            acc_sweep_dense(s, r0, w, e);
        for (uint32_t j = 0; j < s->count; j++) memcpy(s->e + j * stride + r0, e[j], sizeof e[j]);
    }
}

/* Rows of wt into the factor's order, in place through scratch of the same size. */
static void reorder(const acc_factor *f, float *wt, float *scratch, uint32_t rows_pad)
{
    memcpy(scratch, wt, (size_t)f->n * rows_pad * sizeof *wt);
    for (uint32_t t = 0; t < f->n / f->unit; t++)
        memcpy(wt + (size_t)t * f->unit * rows_pad, scratch + (size_t)f->order[t] * f->unit * rows_pad,
               (size_t)f->unit * rows_pad * sizeof *wt);
}

static void run_batches(acc_pool *pool, acc_sweep *s)
{
    const uint32_t rows = s->c->rows_pad;
    for (uint32_t begin = 0; begin < s->f->n; begin += ACC_SOLVE_BATCH) {
        s->begin = begin;
        s->count = s->f->n - begin < ACC_SOLVE_BATCH ? s->f->n - begin : ACC_SOLVE_BATCH;
        acc_pool_run(pool, sweep_worker, s);
        const uint32_t next = begin + s->count;
        const acc_gemm g = {.trans_a = true,
                            .m = s->f->n - next,
                            .n = rows,
                            .k = s->count,
                            .alpha = -1,
                            .beta = 1,
                            .a = s->f->u + (size_t)begin * s->f->n + next,
                            .b = s->e,
                            .c = s->wt + (size_t)next * rows,
                            .lda = s->f->n,
                            .ldb = rows,
                            .ldc = rows};
        if (g.m > 0) acc_gemm_run(pool, &g);
    }
}

accllm_status acc_solve_obs(acc_pool *pool, acc_codes *c, float *wt, const acc_factor *f, accllm_error *err)
{
    accllm_status status;
    void *e = NULL, *forms = NULL, *scratch = NULL;
    acc_w2s_book book;
    ACC_TRY_GOTO(acc_alloc(&e, (size_t)ACC_SOLVE_BATCH * c->rows_pad, sizeof(float), "errors of a batch", err));
    ACC_TRY_GOTO(acc_alloc(&scratch, (size_t)f->n * c->rows_pad, sizeof(float), "reordered weights", err));
    if (c->format == ACC_FMT_W2S) {
        ACC_TRY_GOTO(acc_alloc(&forms, f->n / 4, sizeof(acc_quad_form), "costs of code words", err));
        acc_w2s_book_init(&book, c->level1, c->level2);
        for (uint32_t t = 0; t < f->n / 4; t++) {
            double a[4][4];
            quad_cost(f, t * 4, a);
            acc_quad_form_init((acc_quad_form *)forms + t, a, &book);
        }
    }
    reorder(f, wt, scratch, c->rows_pad);
    acc_sweep s = {.c = c, .f = f, .book = &book, .forms = forms, .wt = wt, .e = e};
    run_batches(pool, &s);
    status = ACCLLM_OK;
fail:
    acc_free(e);
    acc_free(forms);
    acc_free(scratch);
    return status;
}
