/* Row operations of the float reference. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/clones.h"
#include "core/exp.h"
#include "core/inline.h"
#include "reference/internal.h"

/* Floats side by side: a register of AVX-512, or several of a narrower CPU, with the same results. */
#define LANES 16
/* Half of them: gcc moves vectors that are wider than the CPU's registers by way of memory, in small pieces. */
typedef float half_lanes __attribute__((vector_size(2 * LANES)));
typedef float quarter_lanes __attribute__((vector_size(LANES)));

ACC_INLINE half_lanes load_half(const float *p)
{
    half_lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* By halves: few sums wait for one another. */
ACC_INLINE float add_halves(half_lanes low, half_lanes high)
{
    const half_lanes half = low + high;
    quarter_lanes quarter[2];
    memcpy(quarter, &half, sizeof quarter);
    quarter[0] += quarter[1];
    return (quarter[0][0] + quarter[0][2]) + (quarter[0][1] + quarter[0][3]);
}

ACC_INLINE float add_lanes(const float sum[LANES])
{
    return add_halves(load_half(sum), load_half(sum + LANES / 2));
}

typedef struct exp_limits {
    float least, most;
} exp_limits;

/* What exp takes; from memory, see core/exp.h. */
static const volatile exp_limits exp_range = {-87, 88};

/* exp that stays at its limits outside of them. */
ACC_INLINE float exp_of(float x, exp_limits l)
{
    x = x < l.least ? l.least : x;
    x = x > l.most ? l.most : x;
    return acc_expf(x);
}

/* A float's bits as an integer in the floats' order, and back. */
ACC_INLINE int32_t ordered(int32_t bits)
{
    return bits ^ ((bits >> 31) & INT32_MAX);
}

/* Among integers, of whose maximum compilers make vector code. */
ACC_CLONES float acc_ref_max(const float *x, uint32_t n, float start)
{
    int32_t best, bits;
    float max;
    memcpy(&bits, &start, sizeof bits);
    best = ordered(bits);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(&bits, x + i, sizeof bits);
        bits = ordered(bits);
        best = bits > best ? bits : best;
    }
    bits = ordered(best);
    memcpy(&max, &bits, sizeof max);
    return max;
}

/* y = exp(x - max), added to sum; no y may be an x that is still to be read. */
ACC_INLINE void exp_block(const float *x, float max, exp_limits l, float y[restrict LANES], float sum[restrict LANES])
{
    for (int j = 0; j < LANES; j++) {
        y[j] = exp_of(x[j] - max, l);
        sum[j] += y[j];
    }
}

ACC_CLONES float acc_ref_exp_row(float *x, uint32_t n, float max)
{
    const exp_limits limits = exp_range;
    const uint32_t rest = n % LANES;
    float sum[LANES] = {0}, none[LANES] = {0}, last[LANES] = {0}, y[LANES];
    for (uint32_t i = 0; i + LANES <= n; i += LANES) {
        exp_block(x + i, max, limits, y, sum);
        memcpy(x + i, y, sizeof y);
    }
    if (rest == 0) return add_lanes(sum);
    memcpy(last, x + n - rest, rest * sizeof *x);
    exp_block(last, max, limits, y, none);
    memcpy(x + n - rest, y, rest * sizeof *x);
    for (uint32_t j = 0; j < rest; j++) sum[j] += y[j];
    return add_lanes(sum);
}

ACC_CLONES float acc_ref_dot(const float *x, const float *y, uint32_t n)
{
    const uint32_t half = LANES / 2;
    half_lanes low = {0}, high = {0};
    float s = 0;
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        low += load_half(x + i) * load_half(y + i);
        high += load_half(x + i + half) * load_half(y + i + half);
    }
    for (; i < n; i++) s += x[i] * y[i];
    return s + add_halves(low, high);
}

typedef struct silu_job {
    const float *gate, *up;
    float *y;
    size_t n;
} silu_job;

/* y may be gate. */
ACC_INLINE void silu_block(const float *gate, const float *up, exp_limits l, float *y)
{
    float v[LANES];
    for (int j = 0; j < LANES; j++) v[j] = gate[j] / (1.0f + exp_of(-gate[j], l)) * up[j];
    memcpy(y, v, sizeof v);
}

ACC_CLONES static void silu_mul(const float *gate, const float *up, size_t n, float *y)
{
    const exp_limits limits = exp_range;
    const size_t rest = n % LANES, whole = n - rest;
    float g[LANES] = {0}, u[LANES] = {0};
    for (size_t i = 0; i < whole; i += LANES) silu_block(gate + i, up + i, limits, y + i);
    memcpy(g, gate + whole, rest * sizeof *g);
    memcpy(u, up + whole, rest * sizeof *u);
    silu_block(g, u, limits, g);
    memcpy(y + whole, g, rest * sizeof *g);
}

static void silu_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    silu_job *j = ctx;
    size_t share = acc_round_up((j->n + n_workers - 1) / n_workers, LANES), at = share * worker;
    if (at < j->n) silu_mul(j->gate + at, j->up + at, j->n - at < share ? j->n - at : share, j->y + at);
}

void acc_ref_silu_mul(accllm_runtime *rt, const float *gate, const float *up, size_t n, float *y)
{
    silu_job j = {gate, up, y, n};
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
    float *y = m->y + r0;
    acc_gemm g = acc_gemm_dense(j->n, rows, j->cols, j->x, false, w, true, y, j->add);
    g.ldc = m->rows;
    acc_gemm_one(&g);
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
