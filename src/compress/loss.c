/* The quadratic loss of a layer's codes, and the closed-form factor of each row's scale. */
#include <math.h>

#include "gemm/gemm.h"
#include "compress/solver.h"
#include "core/memory.h"

#define BLOCK_ROWS 256 /* rows per GEMM: bounds the scratch */

static double dot(const float *a, const float *b, uint32_t n)
{
    double s = 0;
    for (uint32_t i = 0; i < n; i++) s += (double)a[i] * (double)b[i];
    return s;
}

/*
 * With e = q - w: c = w H w, x = e H w, y = e H e. Scaling the row by t costs t^2 (c + 2x + y) - 2t (c + x) + c, least
 * at t = (c + x) / (c + 2x + y), where y falls by (x + y)^2 / (c + 2x + y).
 */
static double refit_row(acc_codes *c, uint32_t r, double signal, double x, double y)
{
    double a = signal + 2 * x + y, t = (signal + x) / a;
    if (!(a > 0) || !(t > 0.5 && t < 2)) return y;
    float rscale = (float)((double)c->rscale[r] * t);
    if (!isfinite(rscale)) return y;
    c->rscale[r] = rscale;
    for (uint32_t g = 0; g < c->n_groups; g++)
        c->scale[(size_t)g * c->rows_pad + r] = c->mmax ? (float)c->m[(size_t)r * c->n_groups + g] * rscale : rscale;
    double better = y - (x + y) * (x + y) / a;
    return better > 0 ? better : 0;
}

static void block_loss(acc_pool *pool, acc_codes *c, const float *w, const float *h, bool refit, uint32_t r0,
                       uint32_t n, float *diff, float *product, acc_loss *loss)
{
    double signal[BLOCK_ROWS];
    const float *wb = w + (size_t)r0 * c->cols;
    acc_gemm g = {.m = n, .n = c->cols, .k = c->cols, .alpha = 1, .a = wb, .b = h, .c = product};
    g.lda = g.ldb = g.ldc = c->cols;
    acc_gemm_run(pool, &g);
    for (uint32_t i = 0; i < n; i++) signal[i] = dot(wb + (size_t)i * c->cols, product + (size_t)i * c->cols, c->cols);
    for (uint32_t i = 0; i < n; i++) {
        float *row = diff + (size_t)i * c->cols;
        acc_codes_dequant_row(c, r0 + i, row);
        for (uint32_t j = 0; j < c->cols; j++) row[j] -= wb[(size_t)i * c->cols + j];
    }
    g.a = diff;
    acc_gemm_run(pool, &g);
    for (uint32_t i = 0; i < n; i++) {
        const float *eh = product + (size_t)i * c->cols;
        double y = dot(eh, diff + (size_t)i * c->cols, c->cols);
        if (refit) y = refit_row(c, r0 + i, signal[i], dot(eh, wb + (size_t)i * c->cols, c->cols), y);
        loss->error += y;
        loss->signal += signal[i];
    }
}

accllm_status acc_codes_loss(acc_pool *pool, acc_codes *c, const float *w, const float *h, bool refit, acc_loss *loss,
                             accllm_error *err)
{
    void *diff, *product;
    *loss = (acc_loss){0};
    ACC_TRY(acc_alloc(&diff, (size_t)BLOCK_ROWS * c->cols, sizeof(float), "errors of weights", err));
    accllm_status s = acc_alloc(&product, (size_t)BLOCK_ROWS * c->cols, sizeof(float), "errors of weights", err);
    for (uint32_t r = 0; s == ACCLLM_OK && r < c->rows; r += BLOCK_ROWS) {
        uint32_t n = c->rows - r < BLOCK_ROWS ? c->rows - r : BLOCK_ROWS;
        block_loss(pool, c, w, h, refit, r, n, diff, product, loss);
    }
    acc_free(diff);
    acc_free(product);
    return s;
}
