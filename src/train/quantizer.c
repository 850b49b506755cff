/*
 * Latent weights to codes, row by row, by nearest code word without enumeration; the gradient's way back is straight
 * through. The best quad of W2S under plain squared error: see acc_train_quads().
 */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/clones.h"
#include "core/inline.h"
#include "core/memory.h"
#include "train/internal.h"
#include "weights/grid.h"

#define LANES 16 /* quads side by side */

/* |x| as an integer that is larger where |x| is, its two lowest bits in favour of the earlier of four elements: no two
 * of a quad are the same. */
ACC_INLINE int32_t rank_of(float x, int element)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7ffffffc) | (3 - element);
}

ACC_INLINE float size_of_rank(int32_t rank)
{
    float size;
    memcpy(&size, &rank, sizeof size);
    return size;
}

/* What level q takes off the squared error of an element of that size. */
ACC_INLINE float gain_of(float q, float size)
{
    return q * (2 * size - q);
}

ACC_INLINE int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

ACC_INLINE int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* An element's code as a byte. */
ACC_INLINE uint32_t code_of(float u, int32_t rank, int32_t least, float middle, float low, float high)
{
    float level = fabsf(u) < middle ? low : high;
    level = rank < least ? 0 : level;
    return (uint32_t)(int32_t)(u < 0 ? -level : level) & 0xff;
}

/* Codes of LANES quads. Gains grow with an element's size, so a pair is best of the two largest, a single of the
 * largest. One loop of selections alone: the compiler makes vectors of it. */
ACC_CLONES static void nearest_quads(const float *w, float inverse, float l1, float l2, int8_t *out)
{
    const float middle = (l1 + l2) / 2, s1 = l2 - l1, s2 = 2 * l1, s3 = l1 + l2;
    uint32_t word[LANES]; /* a quad's four codes, the first one lowest */
    for (int k = 0; k < LANES; k++) {
        const float u0 = w[4 * k] * inverse, u1 = w[4 * k + 1] * inverse;
        const float u2 = w[4 * k + 2] * inverse, u3 = w[4 * k + 3] * inverse;
        const int32_t r0 = rank_of(u0, 0), r1 = rank_of(u1, 1), r2 = rank_of(u2, 2), r3 = rank_of(u3, 3);
        const int32_t high01 = larger(r0, r1), high23 = larger(r2, r3), low = larger(smaller(r0, r1), smaller(r2, r3));
        const int32_t first = larger(high01, high23), second = larger(smaller(high01, high23), low);
        const float a = size_of_rank(first), b = size_of_rank(second);
        const float pair = gain_of(a < middle ? l1 : l2, a) + gain_of(b < middle ? l1 : l2, b);
        float single = gain_of(s1, a), level = s1, gain = gain_of(s2, a);
        level = gain > single ? s2 : level;
        single = gain > single ? gain : single;
        gain = gain_of(s3, a);
        level = gain > single ? s3 : level;
        single = gain > single ? gain : single;
        level = single > 0 ? level : 0;
        single = single > 0 ? single : 0;
        const bool both = pair > single;
        const int32_t least = both ? second : first; /* ranks below it have no level */
        const float low_level = both ? l1 : level, high_level = both ? l2 : level;
        word[k] = code_of(u0, r0, least, middle, low_level, high_level) |
                  code_of(u1, r1, least, middle, low_level, high_level) << 8 |
                  code_of(u2, r2, least, middle, low_level, high_level) << 16 |
                  code_of(u3, r3, least, middle, low_level, high_level) << 24;
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

ACC_CLONES static void dense_group(const float *w, uint32_t n, float inverse, acc_grid grid, int8_t *ints)
{
    for (uint32_t i = 0; i < n; i++) ints[i] = (int8_t)acc_grid_round(grid, w[i] * inverse);
}

static void group_codes(const acc_weight *s, const float *w, uint32_t n, float scale, int8_t *ints)
{
    const float inverse = scale > 0x1p-100f ? 1 / scale : 0;
    if (s->format == ACC_FMT_W2S) {
        acc_train_quads(w, n, inverse, s->level1, s->level2, ints);
        return;
    }
    dense_group(w, n, inverse, acc_grid_of(s->format), ints);
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
