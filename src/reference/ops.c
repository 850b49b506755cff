/* Row operations of the float reference. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/clones.h"
#include "reference/internal.h"

/* Sixteen floats: a register of AVX-512, or several of a narrower CPU, with the same results. None crosses a call. */
#define LANES 16
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t int_lanes __attribute__((vector_size(4 * LANES)));
typedef float half_lanes __attribute__((vector_size(2 * LANES)));
typedef float quarter_lanes __attribute__((vector_size(LANES)));
#define INLINE static inline __attribute__((always_inline))

INLINE lanes load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, lanes v)
{
    memcpy(p, &v, sizeof v);
}

INLINE lanes choose(int_lanes mask, lanes a, lanes b)
{
    return (lanes)(((int_lanes)a & mask) | ((int_lanes)b & ~mask));
}

INLINE lanes all(float x)
{
    return x - (lanes){0};
}

/* exp by 2^n * p(r), |r| <= ln 2 / 2, Taylor's polynomial of degree 7 (truncation below 3e-9); below -87 the result
 * stays at exp(-87), above 88 at exp(88). A NaN comes out as a NaN. */
INLINE lanes exp_lanes(lanes x)
{
    x = choose(x < -87.0f, all(-87.0f), x);
    x = choose(x > 88.0f, all(88.0f), x);
    const float magic = 0x1.8p23f;
    lanes t = x * 0x1.715476p+0f + magic; /* the integer n stands in the low bits */
    lanes n = t - magic;
    lanes r = x - n * 0x1.62e4p-1f - n * 0x1.7f7d1cp-20f;
    const lanes r2 = r * r, high = r * (1.0f / 5040) + 1.0f / 720, middle = r * (1.0f / 120) + 1.0f / 24;
    const lanes low = r * (1.0f / 6) + 0.5f; /* pairs of terms: they need not wait for one another */
    const lanes p = ((high * r2 + middle) * r2 + low) * r2 + r + 1.0f;
    return p * (lanes)(((int_lanes)t + (127 - 0x4b400000)) << 23);
}

/* A last register that is not full is read again from LANES before the end: no values one by one. */

ACC_CLONES float acc_ref_max(const float *x, uint32_t n, float start)
{
    float best = start;
    if (n < LANES) {
        for (uint32_t i = 0; i < n; i++) best = x[i] > best ? x[i] : best;
        return best;
    }
    lanes m = all(start);
    for (uint32_t i = 0; i < n; i += LANES) {
        const lanes v = load(x + (i + LANES <= n ? i : n - LANES));
        m = choose(v > m, v, m);
    }
    for (int j = 0; j < LANES; j++) best = m[j] > best ? m[j] : best;
    return best;
}

/* By halves: few sums wait for one another. */
INLINE float add_lanes(lanes sum)
{
    half_lanes half[2];
    quarter_lanes quarter[2];
    memcpy(half, &sum, sizeof half);
    half[0] += half[1];
    memcpy(quarter, half, sizeof quarter);
    quarter[0] += quarter[1];
    return (quarter[0][0] + quarter[0][2]) + (quarter[0][1] + quarter[0][3]);
}

/* The lanes from k on, 0 in those before. */
INLINE lanes from_lane(lanes v, uint32_t k)
{
    const int_lanes index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return choose(index >= (int32_t)k, v, all(0));
}

ACC_CLONES float acc_ref_exp_row(float *x, uint32_t n, float max)
{
    const uint32_t rest = n % LANES;
    lanes sum = all(0), last;
    if (n >= LANES) {
        last = load(x + n - LANES); /* before the loop changes some of it */
    } else {
        float few[LANES] = {0};
        memcpy(few + LANES - n, x, n * sizeof *x);
        last = load(few);
    }
    for (uint32_t i = 0; i + LANES <= n; i += LANES) {
        const lanes e = exp_lanes(load(x + i) - max);
        store(x + i, e);
        sum += e;
    }
    if (rest == 0) return add_lanes(sum);
    last = exp_lanes(last - max);
    if (n >= LANES) {
        store(x + n - LANES, last); /* what was done already comes out the same */
    } else {
        float few[LANES];
        store(few, last);
        memcpy(x, few + LANES - n, n * sizeof *x);
    }
    return add_lanes(sum + from_lane(last, LANES - rest));
}

ACC_CLONES float acc_ref_dot(const float *x, const float *y, uint32_t n)
{
    lanes sum = all(0);
    float s = 0;
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) sum += load(x + i) * load(y + i);
    for (; i < n; i++) s += x[i] * y[i];
    return s + add_lanes(sum);
}

typedef struct silu_job {
    float *gate;
    const float *up;
    size_t n;
} silu_job;

ACC_CLONES static void silu_mul(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes g = load(gate + i);
        store(gate + i, g / (1.0f + exp_lanes(-g)) * load(up + i));
    }
    for (; i < n; i++) gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void silu_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    silu_job *j = ctx;
    size_t share = acc_round_up((j->n + n_workers - 1) / n_workers, LANES), at = share * worker;
    if (at < j->n) silu_mul(j->gate + at, j->up + at, j->n - at < share ? j->n - at : share);
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
