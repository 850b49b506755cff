/* Hessians of linear inputs, their damped factorisation and the order of the sweep. */
#include <f77blas.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "gemm/gemm.h"
#include "compress/solver.h"
#include "core/memory.h"

accllm_status acc_hessian_create(acc_hessian *h, uint32_t cols, accllm_error *err)
{
    *h = (acc_hessian){.cols = cols};
    void *p;
    size_t n;
    if (!acc_mul(cols, cols, &n)) return acc_fail(err, ACCLLM_E_LIMIT, "%u columns are too many for a Hessian", cols);
    ACC_TRY(acc_alloc(&p, n, sizeof(double), "Hessian", err));
    h->sum = p;
    accllm_status s = acc_alloc(&p, n, sizeof(float), "Hessian", err);
    h->chunk = p;
    if (s != ACCLLM_OK) acc_hessian_free(h);
    return s;
}

void acc_hessian_free(acc_hessian *h)
{
    acc_free(h->sum);
    acc_free(h->chunk);
    *h = (acc_hessian){0};
}

void acc_hessian_reset(acc_hessian *h)
{
    h->tokens = 0;
    for (size_t i = 0; i < (size_t)h->cols * h->cols; i++) h->sum[i] = 0;
}

void acc_hessian_add(acc_pool *pool, acc_hessian *h, const float *x, uint32_t n_tokens)
{
    acc_gram_add(pool, x, n_tokens, h->cols, h->chunk, h->sum);
    h->tokens += n_tokens;
}

void acc_factor_free(acc_factor *f)
{
    acc_free(f->order);
    acc_free(f->u);
    acc_free(f->d);
    acc_free(f->h);
    *f = (acc_factor){0};
}

static accllm_status factor_alloc(acc_factor *f, accllm_error *err)
{
    void *p;
    ACC_TRY(acc_alloc(&p, f->n / f->unit, sizeof *f->order, "order of columns", err));
    f->order = p;
    ACC_TRY(acc_alloc(&p, (size_t)f->n * f->n, sizeof *f->u, "factor of the Hessian", err));
    f->u = p;
    ACC_TRY(acc_alloc(&p, f->n, sizeof *f->d, "factor of the Hessian", err));
    f->d = p;
    ACC_TRY(acc_alloc(&p, (size_t)f->cols * f->cols, sizeof *f->h, "mean Hessian", err));
    f->h = p;
    return ACCLLM_OK;
}

/* The mean Hessian as a full float matrix; returns the mean of its diagonal, NaN where an entry is not finite. */
static double mean_hessian(acc_factor *f, const acc_hessian *h)
{
    size_t n = f->cols;
    double inv = h->tokens ? 1.0 / (double)h->tokens : 0, trace = 0, check = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i; j < n; j++) {
            double v = h->sum[i * n + j] * inv;
            f->h[i * n + j] = f->h[j * n + i] = (float)v;
            check += 0 * v;
        }
        trace += h->sum[i * n + i] * inv;
        if (h->sum[i * n + i] == 0) f->dead++;
    }
    return (check == 0 ? trace : NAN) / (double)n;
}

typedef struct unit_key {
    double weight;
    uint32_t unit;
} unit_key;

/* Falling weight; ties by place, so that the order is the same everywhere. */
static int compare_units(const void *a, const void *b)
{
    const unit_key *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return x->unit < y->unit ? -1 : 1;
}

static accllm_status order_units(acc_factor *f, accllm_error *err)
{
    uint32_t n_units = f->n / f->unit;
    void *p;
    ACC_TRY(acc_alloc(&p, n_units, sizeof(unit_key), "order of columns", err));
    unit_key *k = p;
    for (uint32_t t = 0; t < n_units; t++) {
        k[t].unit = t;
        for (uint32_t j = t * f->unit; j < (t + 1) * f->unit && j < f->cols; j++)
            k[t].weight += (double)f->h[(size_t)j * f->cols + j];
    }
    qsort(k, n_units, sizeof *k, compare_units);
    for (uint32_t t = 0; t < n_units; t++) f->order[t] = k[t].unit;
    acc_free(k);
    return ACCLLM_OK;
}

static uint32_t original_column(const acc_factor *f, uint32_t place)
{
    return f->order[place / f->unit] * f->unit + place % f->unit;
}

/* Fills a (row-major, lower triangle) with the reordered, damped Hessian, last column first. A column of padding gets a
 * large diagonal of its own: any code but zero there would cost too much. */
static void fill_reversed(const acc_factor *f, double *a, double mean, double lambda)
{
    size_t n = f->n;
    for (size_t i = 0; i < n; i++) {
        uint32_t ci = original_column(f, (uint32_t)(n - 1 - i));
        for (size_t j = 0; j <= i; j++) {
            uint32_t cj = original_column(f, (uint32_t)(n - 1 - j));
            double v = ci < f->cols && cj < f->cols ? (double)f->h[(size_t)ci * f->cols + cj] : 0;
            if (i == j) v = ci < f->cols ? v + lambda : 1e9 * mean;
            a[i * n + j] = v;
        }
    }
}

/*
 * With J the reversal, J H J = L L^T gives H^-1 = U^T U for the upper triangular U = J L^-1 J: one factorisation and
 * one triangular inverse, and H^-1 itself is never formed. LAPACK's upper column-major triangle is our lower row-major
 * one.
 */
static bool factor_reversed(double *a, uint32_t size)
{
    char uplo[] = "U", diag[] = "N";
    blasint n = (blasint)size, info = 0;
    dpotrf_(uplo, &n, a, &n, &info);
    if (info != 0) return false;
    dtrtri_(uplo, diag, &n, a, &n, &info);
    return info == 0;
}

static bool take_factor(acc_factor *f, const double *a)
{
    size_t n = f->n;
    bool finite = true;
    for (size_t j = 0; j < n; j++) {
        double inverse = 0; /* [H^-1]_jj = sum over i <= j of U_ij^2 */
        for (size_t i = 0; i <= j; i++) {
            double v = a[(n - 1 - i) * n + (n - 1 - j)];
            f->u[i * n + j] = (float)v;
            inverse += v * v;
        }
        f->d[original_column(f, (uint32_t)j)] = (float)(1 / inverse);
        finite = finite && isfinite((float)(1 / inverse)) && f->u[j * n + j] > 0 && isfinite(f->u[j * n + j]);
    }
    return finite;
}

static accllm_status factorise(acc_factor *f, double mean, const char *what, accllm_error *err)
{
    void *p;
    ACC_TRY(acc_alloc(&p, (size_t)f->n * f->n, sizeof(double), "factor of the Hessian", err));
    bool ok = false;
    double damping = f->damping;
    for (int attempt = 0; attempt < 14 && !ok; attempt++, damping *= 10) {
        f->damping = damping;
        fill_reversed(f, p, mean, damping * mean);
        f->lambda = (float)(damping * mean);
        ok = factor_reversed(p, f->n) && take_factor(f, p);
    }
    acc_free(p);
    if (ok) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_NUMERIC, "%s: the Hessian of its inputs cannot be factored", what);
}

accllm_status acc_factor_create(acc_factor *f, const acc_hessian *h, uint32_t unit, double damping, const char *what,
                                accllm_error *err)
{
    *f = (acc_factor){.cols = h->cols, .unit = unit, .damping = damping};
    f->n = (uint32_t)acc_round_up(h->cols, unit);
    if (f->n > INT_MAX / 2) return acc_fail(err, ACCLLM_E_LIMIT, "%s: too many columns", what);
    accllm_status s = factor_alloc(f, err);
    if (s == ACCLLM_OK) {
        double mean = mean_hessian(f, h);
        if (!isfinite((float)mean)) s = acc_fail(err, ACCLLM_E_NUMERIC, "%s: inputs are not finite", what);
        if (s == ACCLLM_OK) s = order_units(f, err);
        /* No input at all: every column counts the same. */
        if (s == ACCLLM_OK) s = factorise(f, mean > 1e-30 ? mean : 1, what, err);
    }
    if (s != ACCLLM_OK) acc_factor_free(f);
    return s;
}

accllm_status acc_factor_for(acc_factor *f, const acc_hessian *h, acc_format format, double damping, const char *what,
                             accllm_error *err)
{
    const uint32_t unit = acc_code_unit(format);
    if (f->unit == unit) return ACCLLM_OK;
    acc_factor_free(f);
    return acc_factor_create(f, h, unit, damping, what, err);
}
