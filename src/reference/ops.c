/* Row operations of the float reference. Vectors of four floats are native on every CPU that we build for. */
#include <cblas.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "reference/internal.h"

typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));

static inline f4 load4(const float *p)
{
    f4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store4(float *p, f4 v)
{
    memcpy(p, &v, sizeof v);
}

static inline f4 select4(i4 mask, f4 a, f4 b)
{
    return (f4)(((i4)a & mask) | ((i4)b & ~mask));
}

static inline f4 all4(float x)
{
    return (f4){x, x, x, x};
}

/* exp by 2^n * p(r), |r| <= ln 2 / 2, Taylor's polynomial of degree 7 (truncation below 3e-9); below -87 the result
 * stays at exp(-87), above 88 at exp(88). A NaN comes out as a NaN. */
static inline f4 exp4(f4 x)
{
    x = select4(x < all4(-87.0f), all4(-87.0f), x);
    x = select4(x > all4(88.0f), all4(88.0f), x);
    const f4 magic = all4(0x1.8p23f);
    f4 t = x * all4(0x1.715476p+0f) + magic; /* the integer n stands in the low bits */
    f4 n = t - magic;
    f4 r = x - n * all4(0x1.62e4p-1f) - n * all4(0x1.7f7d1cp-20f);
    f4 p = all4(1.0f / 5040);
    p = p * r + all4(1.0f / 720);
    p = p * r + all4(1.0f / 120);
    p = p * r + all4(1.0f / 24);
    p = p * r + all4(1.0f / 6);
    p = p * r + all4(0.5f);
    p = p * r * r + r + all4(1.0f);
    const i4 bias = {127 - 0x4b400000, 127 - 0x4b400000, 127 - 0x4b400000, 127 - 0x4b400000};
    return p * (f4)(((i4)t + bias) << 23);
}

float acc_ref_max(const float *x, uint32_t n, float start)
{
    f4 m = all4(start);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        f4 v = load4(x + i);
        m = select4(v > m, v, m);
    }
    float best = start;
    for (int j = 0; j < 4; j++) best = m[j] > best ? m[j] : best;
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

float acc_ref_exp_row(float *x, uint32_t n, float max)
{
    f4 sum = all4(0);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        f4 e = exp4(load4(x + i) - all4(max));
        store4(x + i, e);
        sum += e;
    }
    float s = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    if (i < n) {
        float tail[4] = {max, max, max, max};
        memcpy(tail, x + i, (n - i) * sizeof *x);
        store4(tail, exp4(load4(tail) - all4(max)));
        for (uint32_t j = 0; i < n; i++, j++) s += x[i] = tail[j];
    }
    return s;
}

typedef struct silu_job {
    float *gate;
    const float *up;
    size_t n;
} silu_job;

static void silu_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    silu_job *j = ctx;
    size_t share = acc_round_up((j->n + n_workers - 1) / n_workers, 4), i = share * worker, end = i + share;
    if (end > j->n) end = j->n;
    for (; i + 4 <= end; i += 4) {
        f4 g = load4(j->gate + i);
        store4(j->gate + i, g / (all4(1) + exp4(-g)) * load4(j->up + i));
    }
    for (; i < end; i++) j->gate[i] = j->gate[i] / (1.0f + expf(-j->gate[i])) * j->up[i];
}

void acc_ref_silu_mul(accllm_runtime *rt, float *gate, const float *up, size_t n)
{
    silu_job j = {gate, up, n};
    acc_pool_run(rt->pool, silu_worker, &j);
}

bool acc_ref_norm(const float *x, const float *g, uint32_t n, float eps, float *y)
{
    double part[4] = {0};
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (uint32_t j = 0; j < 4; j++) part[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++) part[0] += (double)x[i] * (double)x[i];
    double sum = (part[0] + part[1]) + (part[2] + part[3]);
    float r = (float)(1.0 / sqrt(sum / n + (double)eps));
    for (i = 0; i < n; i++) y[i] = x[i] * r * g[i];
    return isfinite(sum);
}

typedef struct linear_job {
    const acc_ref_matrix *m;
    uint32_t n_matrices, n, cols;
    const float *x;
    bool add;
    uint32_t piece; /* rows per item */
    atomic_uint next;
} linear_job;

static void linear_rows(const linear_job *j, const acc_ref_matrix *m, uint32_t r0, uint32_t rows)
{
    const float *w = m->w + (size_t)r0 * j->cols;
    float *y = m->y + r0, beta = j->add ? 1.0f : 0.0f;
    blasint cols = (blasint)j->cols;
    if (j->n == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)rows, cols, 1.0f, w, cols, j->x, 1, beta, y, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)j->n, (blasint)rows, cols, 1.0f, j->x, cols, w,
                    cols, beta, y, (blasint)m->rows);
    if (!m->bias) return;
    for (uint32_t t = 0; t < j->n; t++)
        for (uint32_t r = 0; r < rows; r++) y[(size_t)t * m->rows + r] += m->bias[r0 + r];
}

static void linear_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)worker;
    (void)n_workers;
    linear_job *j = ctx;
    for (;;) {
        uint32_t item = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed), i = 0;
        for (; i < j->n_matrices; i++) {
            uint32_t items = (j->m[i].rows + j->piece - 1) / j->piece;
            if (item < items) break;
            item -= items;
        }
        if (i == j->n_matrices) return;
        uint32_t r0 = item * j->piece, left = j->m[i].rows - r0;
        linear_rows(j, &j->m[i], r0, left < j->piece ? left : j->piece);
    }
}

void acc_ref_linear(accllm_runtime *rt, const acc_ref_matrix *m, uint32_t n_matrices, const float *x, uint32_t n,
                    uint32_t cols, bool add)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < n_matrices; i++) rows = m[i].rows > rows ? m[i].rows : rows;
    uint32_t piece = (rows / (4 * acc_pool_size(rt->pool)) + 31) / 32 * 32;
    linear_job j = {m, n_matrices, n, cols, x, add, piece < 64 ? 64 : piece, 0};
    acc_pool_run(rt->pool, linear_worker, &j);
}

/* The phase is position * step modulo one turn in 64-bit fractions (docs/numerics.md, "RoPE"), so an angle is as right
 * at position 10^12 as at 1; the rest is double. */
void acc_ref_angles(const acc_hparams *hp, uint64_t position, float *c, float *s)
{
    for (uint32_t i = 0; i < hp->head_dim / 2; i++) {
        double angle = (double)(int64_t)(position * hp->rope_steps[i]) * (0x1p-64 * 6.283185307179586476925);
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
}

void acc_ref_rotate(const float *x, const float *c, const float *s, uint32_t head_dim, float *y)
{
    uint32_t half = head_dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        y[i] = a * c[i] - b * s[i];
        y[i + half] = b * c[i] + a * s[i];
    }
}
