/* Row operations of the training pass, forward with simulated 8-bit inputs and backward. */
#include <math.h>
#include <string.h>

#include "core/clones.h"
#include "numerics/numerics.h"
#include "reference/internal.h"
#include "reference/tape.h"

#define TINY 0x1p-100f /* below this largest value all codes are zero (docs/numerics.md, "Activations") */

typedef struct rows_job {
    const float *x, *g, *dy;
    float *y, *dx, *dg, *inverse;
    uint32_t n, cols;
    float eps;
    bool a8;
    atomic_bool bad;
} rows_job;

/* The largest magnitude is found among integers: compilers make no vector code of a maximum of floats. */
ACC_CLONES static void a8_row(float *x, uint32_t n)
{
    uint32_t bits = 0;
    float max;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        u &= 0x7fffffff;
        bits = u > bits ? u : bits;
    }
    memcpy(&max, &bits, sizeof max);
    const float inverse = max < TINY ? 0 : 127 / max, scale = max / 127;
    for (uint32_t i = 0; i < n; i++) x[i] = acc_round_even(x[i] * inverse) * scale;
}

static void a8_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    rows_job *j = ctx;
    uint32_t begin, end;
    acc_share(j->n, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) a8_row(j->y + (size_t)i * j->cols, j->cols);
}

void acc_tape_a8(accllm_runtime *rt, float *x, uint32_t n, uint32_t cols)
{
    rows_job j = {.y = x, .n = n, .cols = cols};
    acc_pool_run(rt->pool, a8_worker, &j);
}

static void norm_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    rows_job *j = ctx;
    uint32_t begin, end;
    acc_share(j->n, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        float *y = j->y + (size_t)i * j->cols;
        if (!acc_ref_norm(j->x + (size_t)i * j->cols, j->g, j->cols, j->eps, y)) atomic_store(&j->bad, true);
        if (j->a8) a8_row(y, j->cols);
    }
}

bool acc_tape_norm(accllm_runtime *rt, const float *x, const float *g, uint32_t n, uint32_t cols, float eps, bool a8,
                   float *y)
{
    rows_job j = {.x = x, .g = g, .y = y, .n = n, .cols = cols, .eps = eps, .a8 = a8};
    acc_pool_run(rt->pool, norm_worker, &j);
    return !atomic_load(&j.bad);
}

/* y = x r g with r = (mean(x^2) + eps)^-1/2: dx = r g dy - x r^3 / n sum(x g dy). */
ACC_CLONES static void norm_back_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    rows_job *j = ctx;
    uint32_t begin, end;
    acc_share(j->n, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        const size_t at = (size_t)i * j->cols;
        const float *x = j->x + at, *dy = j->dy + at;
        double squares = 0, product = 0;
        for (uint32_t c = 0; c < j->cols; c++) {
            squares += (double)x[c] * (double)x[c];
            product += (double)x[c] * (double)(j->g[c] * dy[c]);
        }
        const double r = 1 / sqrt(squares / j->cols + (double)j->eps);
        const float inverse = (float)r, pull = (float)(r * r * r / j->cols * product);
        for (uint32_t c = 0; c < j->cols; c++) j->dx[at + c] += inverse * j->g[c] * dy[c] - pull * x[c];
        j->inverse[i] = inverse;
    }
}

ACC_CLONES static void norm_gain_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    rows_job *j = ctx;
    uint32_t begin, end;
    acc_share(j->cols, worker, n_workers, &begin, &end);
    memset(j->dg + begin, 0, (end - begin) * sizeof *j->dg);
    for (uint32_t i = 0; i < j->n; i++) {
        const float *x = j->x + (size_t)i * j->cols, *dy = j->dy + (size_t)i * j->cols, r = j->inverse[i];
        for (uint32_t c = begin; c < end; c++) j->dg[c] += dy[c] * x[c] * r;
    }
}

void acc_tape_norm_back(accllm_runtime *rt, const float *x, const float *g, const float *dy, uint32_t n, uint32_t cols,
                        float eps, float *dx, float *dg, float *inverse)
{
    rows_job j = {.x = x, .g = g, .dy = dy, .dx = dx, .dg = dg, .inverse = inverse, .n = n, .cols = cols, .eps = eps};
    acc_pool_run(rt->pool, norm_back_worker, &j);
    acc_pool_run(rt->pool, norm_gain_worker, &j);
}

typedef struct silu_back_job {
    const float *gate, *up, *dy;
    size_t n;
    float *dgate, *dup;
} silu_back_job;

#define STRIP 256

ACC_CLONES static void silu_back_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    silu_back_job *j = ctx;
    const size_t strips = (j->n + STRIP - 1) / STRIP;
    float e[STRIP], dup[STRIP]; /* the job's dup may be its dy */
    for (size_t s = strips * worker / n_workers; s < strips * (worker + 1) / n_workers; s++) {
        const size_t at = s * STRIP, n = j->n - at < STRIP ? j->n - at : STRIP;
        const float *gate = j->gate + at, *up = j->up + at, *dy = j->dy + at;
        for (size_t i = 0; i < n; i++) e[i] = -gate[i];
        (void)acc_ref_exp_row(e, (uint32_t)n, 0);
        for (size_t i = 0; i < n; i++) {
            const float sigmoid = 1 / (1 + e[i]), d = dy[i];
            j->dgate[at + i] = d * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid));
            dup[i] = d * gate[i] * sigmoid;
        }
        memcpy(j->dup + at, dup, n * sizeof *dup);
    }
}

void acc_tape_silu_back(accllm_runtime *rt, const float *gate, const float *up, const float *dy, size_t n, float *dgate,
                        float *dup)
{
    silu_back_job j = {gate, up, dy, n, dgate, dup};
    acc_pool_run(rt->pool, silu_back_worker, &j);
}
