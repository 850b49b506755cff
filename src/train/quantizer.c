/*
 * Latent weights to codes, row by row, by nearest code word without enumeration; the gradient's way back is straight
 * through. The best quad of W2S under plain squared error: see acc_train_quads().
 */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/clones.h"
#include "core/memory.h"
#include "train/internal.h"

#define LANES 16 /* quads side by side */

/* Quads element by element: [4][LANES]. */
typedef struct quads {
    float u[4][LANES], size[4][LANES], pick[4][LANES];
    float gain[4][LANES]; /* what an element's level in a pair takes off the squared error: q (2|u| - q) */
} quads;

static inline void measure(quads *q, const float *w, float inverse, float l1, float l2)
{
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < LANES; k++) {
            const float u = w[4 * k + i] * inverse, size = fabsf(u), pick = size < (l1 + l2) / 2 ? l1 : l2;
            q->u[i][k] = u;
            q->size[i][k] = size;
            q->pick[i][k] = pick;
            q->gain[i][k] = pick * (2 * size - pick);
        }
}

/* The two largest gains of each quad, the earlier element first where they are equal. */
static inline void best_pair(const quads *q, int32_t first[LANES], int32_t second[LANES], float gain[LANES])
{
    float g1[LANES], g2[LANES];
    for (int k = 0; k < LANES; k++) g1[k] = q->gain[0][k], g2[k] = -INFINITY, first[k] = 0, second[k] = -1;
    for (int i = 1; i < 4; i++)
        for (int k = 0; k < LANES; k++) {
            const float g = q->gain[i][k];
            const bool higher = g > g1[k], middle = !higher && g > g2[k];
            g2[k] = higher ? g1[k] : middle ? g : g2[k];
            second[k] = higher ? first[k] : middle ? i : second[k];
            g1[k] = higher ? g : g1[k];
            first[k] = higher ? i : first[k];
        }
    for (int k = 0; k < LANES; k++) gain[k] = g1[k] + g2[k];
}

/* The best of one element alone, which has three levels; single -1: zero is better. */
static inline void best_single(const quads *q, float l1, float l2, int32_t single[LANES], float size[LANES],
                               float gain[LANES])
{
    const float levels[3] = {l2 - l1, 2 * l1, l1 + l2};
    for (int k = 0; k < LANES; k++) gain[k] = 0, size[k] = 0, single[k] = -1;
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < 3; l++)
            for (int k = 0; k < LANES; k++) {
                const float g = levels[l] * (2 * q->size[i][k] - levels[l]);
                const bool better = g > gain[k];
                gain[k] = better ? g : gain[k];
                size[k] = better ? levels[l] : size[k];
                single[k] = better ? i : single[k];
            }
}

/* Codes of LANES quads. */
ACC_CLONES static void nearest_quads(const float *w, float inverse, float l1, float l2, int8_t *out)
{
    quads q;
    int32_t first[LANES], second[LANES], single[LANES];
    float pair_gain[LANES], single_gain[LANES], size[LANES];
    measure(&q, w, inverse, l1, l2);
    best_pair(&q, first, second, pair_gain);
    best_single(&q, l1, l2, single, size, single_gain);
    uint32_t word[LANES] = {0}; /* a quad's four codes, the first one lowest */
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < LANES; k++) {
            const float pair = first[k] == i || second[k] == i ? q.pick[i][k] : 0, one = single[k] == i ? size[k] : 0;
            const float magnitude = pair_gain[k] > single_gain[k] ? pair : one;
            const int32_t code = (int32_t)(q.u[i][k] < 0 ? -magnitude : magnitude);
            word[k] |= ((uint32_t)code & 0xff) << 8 * i;
        }
    memcpy(out, word, sizeof word);
}

void acc_train_quads(const float *w, uint32_t n, float inverse, float l1, float l2, int8_t *q)
{
    for (uint32_t at = 0; at < n; at += 4 * LANES) {
        const uint32_t here = n - at < 4 * LANES ? n - at : 4 * LANES;
        if (here == 4 * LANES) {
            nearest_quads(w + at, inverse, l1, l2, q + at);
            continue;
        }
        float some[4 * LANES] = {0};
        int8_t codes[4 * LANES];
        memcpy(some, w + at, here * sizeof *w);
        nearest_quads(some, inverse, l1, l2, codes);
        memcpy(q + at, codes, here);
    }
}

/* u = w * inverse, rounded to the nearest of W2's levels -3, -1, 1, 3. */
ACC_CLONES static void w2_group(const float *w, uint32_t n, float inverse, int8_t *ints)
{
    for (uint32_t i = 0; i < n; i++) {
        float u = w[i] * inverse;
        u = u < -3 ? -3 : u > 3 ? 3 : u;
        ints[i] = (int8_t)(2 * (int)acc_tape_nearest((u - 1) * 0.5f) + 1);
    }
}

/* u = w * inverse, rounded to nearest into [lo, hi]. */
ACC_CLONES static void dense_group(const float *w, uint32_t n, float inverse, float lo, float hi, int8_t *ints)
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
    acc_train_quads(w, n, inverse, s->level1, s->level2, ints);
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

ACC_CLONES static void to_values(const int8_t *ints, uint32_t n, float scale, float *out)
{
    for (uint32_t i = 0; i < n; i++) out[i] = (float)ints[i] * scale;
}

static void quantize_row(acc_train_tensor *t, uint32_t row)
{
    const acc_weight *s = &t->shape;
    const row_scale r = scale_of_row(t, row);
    int8_t ints[ACC_TRAIN_MAX_GROUP];
    for (uint32_t g = 0; g < s->col_groups; g++) {
        const uint32_t n = acc_train_group(s, g);
        float *out = t->value + (size_t)row * s->cols + (size_t)g * s->group;
        const float scale = r.rscale * (float)group_of_row(t, &r, row, g, n, ints);
        to_values(ints, n, scale, out);
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
