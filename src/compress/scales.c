/*
 * Static scales, chosen before any code: per row and group the grid point that loses least over round-to-nearest with
 * each column weighted by the cost of changing it. They are put on the stored grid (uint8 m x float rscale) at once, so
 * that the sweep compensates for the real scales.
 */
#include <math.h>
#include <string.h>

#include "compress/solver.h"
#include "core/clones.h"
#include "core/inline.h"
#include "core/memory.h"

#define COARSE 20
#define FINE 6
#define LEVEL_SAMPLE 16 /* strips that the choice of levels looks at */

typedef struct scale_job {
    acc_codes *c;
    const float *wt, *d;
    uint32_t stride; /* take every stride-th strip (level choice samples) */
    double *error;   /* of each strip taken; NULL: not wanted */
} scale_job;

static inline float largest(float a, float b)
{
    return a > b ? a : b;
}

static inline float least(float a, float b)
{
    return a < b ? a : b;
}

/* Gain of rounding one group of dense codes with the scales s: sum of d (w^2 - (w - s q)^2) / s^2. */
ACC_INLINE void gain_dense(const float *wt, size_t stride, const float *d, uint32_t n, const float *inv, acc_grid grid,
                           float *gain)
{
    for (uint32_t j = 0; j < n; j++) {
        const float *w = wt + j * stride;
        float dj = d ? d[j] : 1;
        for (int l = 0; l < ACC_LANES; l++) {
            float u = w[l] * inv[l], q = acc_grid_round(grid, u);
            gain[l] += dj * (q * (u + u - q));
        }
    }
}

/* The same for quads: the two largest gains of a pair, or one single weight, or nothing. n is a multiple of 4 or ends
 * with the matrix; missing columns count as zero weights. */
ACC_INLINE void gain_w2s(const float *wt, size_t stride, const float *d, uint32_t n, const float *inv, float l1,
                         float l2, float *gain)
{
    const float s1 = l2 - l1, s2 = 2 * l1, s3 = l1 + l2;
    for (uint32_t j = 0; j < n; j += 4) {
        float pair[4][ACC_LANES] = {{0}}, single[ACC_LANES] = {0};
        for (uint32_t k = 0; k < 4 && j + k < n; k++) {
            const float *w = wt + (j + k) * stride;
            float dj = d ? d[j + k] : 1;
            for (int l = 0; l < ACC_LANES; l++) {
                float u = 2 * fabsf(w[l]) * inv[l];
                pair[k][l] = dj * largest(l1 * (u - l1), l2 * (u - l2));
                single[l] = largest(single[l], dj * largest(largest(s1 * (u - s1), s2 * (u - s2)), s3 * (u - s3)));
            }
        }
        for (int l = 0; l < ACC_LANES; l++) {
            float a = largest(pair[0][l], pair[1][l]), b = least(pair[0][l], pair[1][l]);
            float e = largest(pair[2][l], pair[3][l]), f = least(pair[2][l], pair[3][l]);
            float both = largest(a, e) + largest(least(a, e), largest(b, f));
            gain[l] += largest(both, single[l]);
        }
    }
}

/* Adds up for the scales s what rounding gains, in the weights' own units. */
ACC_CLONES static void group_gain(const acc_codes *c, const float *wt, const float *d, uint32_t n, const float *s,
                                  float *gain)
{
    float inv[ACC_LANES], sum[ACC_LANES] = {0};
    for (int l = 0; l < ACC_LANES; l++) inv[l] = s[l] > 0 ? 1 / s[l] : 0;
    if (c->format == ACC_FMT_W2S)
        gain_w2s(wt, c->rows_pad, d, n, inv, (float)c->level1, (float)c->level2, sum);
    else
        gain_dense(wt, c->rows_pad, d, n, inv, acc_grid_of(c->format), sum);
    for (int l = 0; l < ACC_LANES; l++) gain[l] = sum[l] * s[l] * s[l];
}

/* The grid of a group's scales: from first on in COARSE - 1 steps by a factor. Multiples of the RMS (W2S, W2) or of the
 * scale that clips nothing. */
static void search_grid(const acc_codes *c, const float *wt, uint32_t n, float *first, float *step)
{
    float square[ACC_LANES] = {0}, low[ACC_LANES] = {0}, high[ACC_LANES] = {0};
    for (uint32_t j = 0; j < n; j++) {
        const float *w = wt + (size_t)j * c->rows_pad;
        for (int l = 0; l < ACC_LANES; l++) {
            square[l] += w[l] * w[l];
            low[l] = largest(low[l], -w[l]);
            high[l] = largest(high[l], w[l]);
        }
    }
    for (int l = 0; l < ACC_LANES; l++) {
        const float rms = sqrtf(square[l] / (float)n), most = largest(low[l], high[l]);
        float base, from = 0.45f, to = 1.05f;
        if (c->format == ACC_FMT_W2S) {
            base = rms / (float)c->level1;
            from = 0.3f, to = 2.0f;
        } else if (c->format == ACC_FMT_W2) { /* all weights alike, or one that alone counts */
            base = rms;
            from = 0.15f, to = 1.05f * (rms > 0 ? largest(1, most / (3 * rms)) : 1);
        } else if (c->format == ACC_FMT_W4) {
            base = largest(low[l] / 8, high[l] / 7);
        } else {
            base = most / 127;
            from = 0.7f;
        }
        first[l] = base * from;
        step[l] = powf(to / from, 1.0f / (COARSE - 1));
    }
}

/* Best scale per lane of one group of n columns: a geometric grid, then a finer one around its best point. */
static void search_group(const acc_codes *c, const float *wt, const float *d, uint32_t n, float *best, float *best_gain)
{
    float s[ACC_LANES], step[ACC_LANES], fine[ACC_LANES], gain[ACC_LANES];
    search_grid(c, wt, n, s, step);
    for (int l = 0; l < ACC_LANES; l++) {
        best[l] = 0;
        best_gain[l] = 0;
    }
    for (int k = 0; k < COARSE; k++) {
        group_gain(c, wt, d, n, s, gain);
        for (int l = 0; l < ACC_LANES; l++) {
            if (gain[l] > best_gain[l]) best[l] = s[l];
            best_gain[l] = largest(best_gain[l], gain[l]);
            s[l] *= step[l];
        }
    }
    for (int l = 0; l < ACC_LANES; l++) {
        fine[l] = powf(step[l], 1.0f / (FINE / 2 + 1));
        s[l] = best[l] * powf(fine[l], -FINE / 2);
    }
    for (int k = -FINE / 2; k <= FINE / 2; k++) {
        group_gain(c, wt, d, n, s, gain);
        for (int l = 0; l < ACC_LANES; l++) {
            if (gain[l] > best_gain[l]) best[l] = s[l];
            best_gain[l] = largest(best_gain[l], gain[l]);
            s[l] *= fine[l];
        }
    }
}

static uint32_t group_columns(const acc_codes *c, uint32_t g)
{
    uint32_t begin = g * c->group, end = begin + c->group;
    if (end > c->cols) end = c->cols;
    return end > begin ? end - begin : 0;
}

static double weighted_square(const float *wt, size_t stride, const float *d, uint32_t n)
{
    double sum = 0;
    for (uint32_t j = 0; j < n; j++)
        for (int l = 0; l < ACC_LANES; l++)
            sum += (d ? (double)d[j] : 1.0) * (double)wt[j * stride + (size_t)l] * (double)wt[j * stride + (size_t)l];
    return sum;
}

/* Puts the scales of one row on the stored grid. */
static void store_row(acc_codes *c, uint32_t r)
{
    float top = 0;
    for (uint32_t g = 0; g < (c->mmax ? c->n_groups : 1); g++)
        top = largest(top, c->scale[(size_t)g * c->rows_pad + r]);
    float rscale = c->mmax ? top / (float)c->mmax : top;
    c->rscale[r] = rscale;
    for (uint32_t g = 0; g < c->n_groups; g++) {
        float *s = &c->scale[(size_t)g * c->rows_pad + r];
        if (!c->mmax) {
            *s = rscale;
            continue;
        }
        float m = rscale > 0 ? acc_round_even(*s / rscale) : 0;
        /* A small group keeps something; without a zero code not where nothing is nearer than the least step. */
        if (*s > (c->format == ACC_FMT_W2 ? rscale / 3 : 0)) m = largest(m, 1);
        m = least(m, (float)c->mmax);
        c->m[(size_t)r * c->n_groups + g] = (uint8_t)m;
        *s = m * rscale;
    }
}

/* All groups of one strip; W8 has one scale for the whole row. Returns the weighted error. */
static double strip_scales(acc_codes *c, const float *wt, const float *d, uint32_t r0)
{
    double error = 0;
    uint32_t n_parts = c->mmax ? c->n_groups : 1;
    for (uint32_t g = 0; g < n_parts; g++) {
        uint32_t n = c->mmax ? group_columns(c, g) : c->cols, col = g * c->group;
        const float *w = wt + (size_t)col * c->rows_pad + r0, *dg = d ? d + col : NULL;
        float gain[ACC_LANES];
        if (n == 0) continue;
        search_group(c, w, dg, n, &c->scale[(size_t)g * c->rows_pad + r0], gain);
        error += weighted_square(w, c->rows_pad, dg, n);
        for (int l = 0; l < ACC_LANES; l++) error -= (double)gain[l];
    }
    for (uint32_t r = r0; r < r0 + ACC_LANES; r++) store_row(c, r);
    return error;
}

static void scales_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    scale_job *j = ctx;
    uint32_t begin, end, n = j->c->rows_pad / ACC_LANES;
    acc_share((n + j->stride - 1) / j->stride, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        double error = strip_scales(j->c, j->wt, j->d, i * j->stride * ACC_LANES);
        if (j->error) j->error[i] = error;
    }
}

void acc_choose_scales(acc_pool *pool, acc_codes *c, const float *wt, const float *d)
{
    scale_job j = {.c = c, .wt = wt, .d = d, .stride = 1};
    acc_pool_run(pool, scales_worker, &j);
}

/* The weighted error of every stride-th strip, added in order: the same for every number of threads. */
static double sample_error(acc_pool *pool, acc_codes *c, const float *wt, const float *d)
{
    double each[LEVEL_SAMPLE] = {0}, sum = 0;
    const uint32_t strips = c->rows_pad / ACC_LANES, stride = (strips + LEVEL_SAMPLE - 1) / LEVEL_SAMPLE;
    scale_job j = {.c = c, .wt = wt, .d = d, .stride = stride, .error = each};
    acc_pool_run(pool, scales_worker, &j);
    for (uint32_t i = 0; i < LEVEL_SAMPLE; i++) sum += each[i];
    return sum;
}

static void set_levels(acc_codes *c, int level1, int level2)
{
    const acc_weight w = {.format = c->format, .cols = c->cols, .level1 = (uint8_t)level1, .level2 = (uint8_t)level2};
    c->level1 = level1;
    c->level2 = level2;
    c->mmax = acc_weight_mmax(&w);
}

void acc_choose_levels(acc_pool *pool, acc_codes *c, const float *wt, const float *d)
{
    static const int pairs[3][2] = {{1, 2}, {1, 3}, {2, 5}};
    int best = 0;
    double best_error = INFINITY;
    for (int p = 0; p < 3; p++) {
        if (2 * pairs[p][1] * (int64_t)c->group > 1024) continue;
        set_levels(c, pairs[p][0], pairs[p][1]);
        double error = sample_error(pool, c, wt, d);
        if (error < best_error) {
            best_error = error;
            best = p;
        }
    }
    set_levels(c, pairs[best][0], pairs[best][1]);
}
