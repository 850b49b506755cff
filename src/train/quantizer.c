/*
 * Latent weights to codes, row by row, by nearest code word without enumeration; the gradient's way back is straight
 * through. The best quad of W2S under plain squared error: see acc_train_quad().
 */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/memory.h"
#include "train/internal.h"

/* What a code word q of magnitude |q| takes off the squared error of u, in units of the scale: |q| (2|u| - |q|). */
static inline float gain(float q, float u)
{
    return q * (2 * u - q);
}

static inline int signed_int(float q, float u)
{
    return u < 0 ? -(int)q : (int)q;
}

void acc_train_quad(const float u[4], float l1, float l2, int8_t q[4])
{
    float size[4], pick[4], pair_gain[4], best_single = 0, single_size = 0;
    int first = -1, second = -1, single = -1;
    for (int i = 0; i < 4; i++) {
        size[i] = fabsf(u[i]);
        pick[i] = size[i] < (l1 + l2) / 2 ? l1 : l2;
        pair_gain[i] = gain(pick[i], size[i]);
        if (first < 0 || pair_gain[i] > pair_gain[first]) {
            second = first;
            first = i;
        } else if (second < 0 || pair_gain[i] > pair_gain[second]) {
            second = i;
        }
        const float singles[3] = {l2 - l1, 2 * l1, l1 + l2};
        for (int k = 0; k < 3; k++) {
            const float g = gain(singles[k], size[i]);
            if (g > best_single) best_single = g, single = i, single_size = singles[k];
        }
    }
    memset(q, 0, 4);
    const float pair = pair_gain[first] + pair_gain[second];
    if (pair > best_single) {
        q[first] = (int8_t)signed_int(pick[first], u[first]);
        q[second] = (int8_t)signed_int(pick[second], u[second]);
    } else if (single >= 0) {
        q[single] = (int8_t)signed_int(single_size, u[single]);
    }
}

/* u = w * inverse, rounded to the nearest of W2's levels -3, -1, 1, 3. */
static void w2_group(const float *w, uint32_t n, float inverse, int8_t *ints)
{
    for (uint32_t i = 0; i < n; i++) {
        float u = w[i] * inverse;
        u = u < -3 ? -3 : u > 3 ? 3 : u;
        ints[i] = (int8_t)(2 * (int)acc_tape_nearest((u - 1) * 0.5f) + 1);
    }
}

/* u = w * inverse, rounded to nearest into [lo, hi]. */
static void dense_group(const float *w, uint32_t n, float inverse, float lo, float hi, int8_t *ints)
{
    for (uint32_t i = 0; i < n; i++) {
        float u = w[i] * inverse;
        u = u < lo ? lo : u > hi ? hi : u;
        ints[i] = (int8_t)(int)acc_tape_nearest(u);
    }
}

static void group_codes(const acc_weight *s, const float *w, uint32_t n, float scale, int8_t *ints)
{
    const float inverse = scale > 0x1p-100f ? 1 / scale : 0;
    if (s->format == ACC_FMT_W2) {
        w2_group(w, n, inverse, ints);
        return;
    }
    if (s->format != ACC_FMT_W2S) {
        dense_group(w, n, inverse, s->format == ACC_FMT_W4 ? -8 : -127, s->format == ACC_FMT_W4 ? 7 : 127, ints);
        return;
    }
    for (uint32_t i = 0; i < n; i += 4) {
        float u[4] = {0};
        for (uint32_t k = 0; k < 4 && i + k < n; k++) u[k] = w[i + k] * inverse;
        int8_t q[4];
        acc_train_quad(u, s->level1, s->level2, q);
        memcpy(ints + i, q, n - i < 4 ? n - i : 4);
    }
}

/* A row's scales: rscale, and what m follows from. */
typedef struct row_scale {
    float rscale, max, mmax;
} row_scale;

/* W8 takes its scale from the weights, the others the largest group's. */
static row_scale scale_of_row(const acc_train_tensor *t, uint32_t row)
{
    const acc_weight *s = &t->shape;
    row_scale r = {0};
    if (!t->log_scale) {
        const float *w = t->latent + (size_t)row * s->cols;
        for (uint32_t i = 0; i < s->cols; i++) r.max = fabsf(w[i]) > r.max ? fabsf(w[i]) : r.max;
        r.rscale = r.max / 127;
        return r;
    }
    const float *log_scale = t->log_scale + (size_t)row * s->col_groups;
    r.max = log_scale[0];
    for (uint32_t g = 1; g < s->col_groups; g++) r.max = log_scale[g] > r.max ? log_scale[g] : r.max;
    r.mmax = (float)acc_weight_mmax(s);
    r.rscale = expf(r.max) / r.mmax;
    return r;
}

/* The integers of one group; returns its m. */
static uint32_t group_of_row(const acc_train_tensor *t, const row_scale *r, uint32_t row, uint32_t g, uint32_t n,
                             int8_t *ints)
{
    const acc_weight *s = &t->shape;
    uint32_t m = 1;
    if (t->log_scale) {
        const float ratio = expf(t->log_scale[(size_t)row * s->col_groups + g] - r->max) * r->mmax;
        m = ratio < 1 ? 1 : (uint32_t)(ratio + 0.5f);
    }
    group_codes(s, t->latent + (size_t)row * s->cols + (size_t)g * s->group, n, r->rscale * (float)m, ints);
    return m;
}

void acc_train_row_codes(const acc_train_tensor *t, uint32_t row, int8_t *ints, uint8_t *m, float *rscale)
{
    const acc_weight *s = &t->shape;
    const row_scale r = scale_of_row(t, row);
    memset(ints, 0, (size_t)s->col_groups * s->group);
    for (uint32_t g = 0; g < s->col_groups; g++)
        m[g] = (uint8_t)group_of_row(t, &r, row, g, acc_train_group(s, g), ints + (size_t)g * s->group);
    *rscale = r.rscale;
}

typedef struct quantize_job {
    acc_train_tensor *t;
    atomic_uint next;
} quantize_job;

#define ROWS_AT_ONCE 16

static void quantize_row(acc_train_tensor *t, uint32_t row)
{
    const acc_weight *s = &t->shape;
    const row_scale r = scale_of_row(t, row);
    int8_t ints[ACC_TRAIN_MAX_GROUP];
    for (uint32_t g = 0; g < s->col_groups; g++) {
        const uint32_t n = acc_train_group(s, g);
        float *out = t->value + (size_t)row * s->cols + (size_t)g * s->group;
        const float scale = r.rscale * (float)group_of_row(t, &r, row, g, n, ints);
        for (uint32_t i = 0; i < n; i++) out[i] = (float)ints[i] * scale;
    }
}

static void quantize_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)worker;
    (void)n_workers;
    quantize_job *j = ctx;
    const uint32_t rows = j->t->shape.rows;
    for (;;) {
        const uint32_t row = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed) * ROWS_AT_ONCE;
        if (row >= rows) return;
        for (uint32_t r = row; r < row + ROWS_AT_ONCE && r < rows; r++) quantize_row(j->t, r);
    }
}

void acc_train_quantize(acc_pool *pool, acc_train_tensor *t)
{
    quantize_job j = {.t = t};
    if (t->coded) acc_pool_run(pool, quantize_worker, &j);
}
