/*
 * Coordinate descent after the sweep: code by code, then scale by scale, each set to its best value with all others
 * held, under the damped Hessian (the idea of QuantEase, Behdin et al. 2023, and CDQuant, Nair & Suggala 2024). Each
 * step can only lower the loss.
 *
 * Per row, with e = (codes' floats - w) and r = e H: changing columns J by d costs 2 d r_J + d H_JJ d^T, so the best
 * code is the one nearest, under H_JJ, to the present value less r_J H_JJ^-1; afterwards r += d H_J. The columns are
 * walked in blocks: what a block changes outside of itself is one matrix product when it is done.
 */
#include <math.h>
#include <string.h>

#include "gemm/gemm.h"
#include "compress/solver.h"
#include "core/clones.h"
#include "core/memory.h"

typedef float lanes[ACC_LANES];

/* One code's columns: inverse of its block of the Hessian, and for W2S the costs of all words. */
typedef struct block {
    float inverse[4][4];
    acc_quad_form form;
} block;

typedef struct descent {
    acc_codes *c;
    const acc_factor *f;
    const acc_w2s_book *book;
    const block *blocks; /* [ceil(cols / unit)] */
    float *r;            /* [f->n][rows_pad] */
    lanes **scratch;     /* per worker: r and values of a strip, [2 n], and BLOCK changes */
    uint32_t sweeps;
} descent;

#define BLOCK 64u /* columns; a multiple of 4 */

/* ACC_LANES rows on their way through the columns. */
typedef struct strip {
    lanes *r, *v, *d;    /* [cols]: r, present values; d [BLOCK]: what the present block changed */
    uint32_t begin, end; /* the block's columns */
    uint32_t r0;
} strip;

/* r += d H within the block, for `count` columns from j on (at most 4); the damping sits on the diagonal. */
ACC_CLONES static void apply(const descent *t, const strip *s, uint32_t j, uint32_t count, const lanes *d)
{
    for (uint32_t k = 0; k < count; k++) {
        const float *h = t->f->h + (size_t)(j + k) * t->f->cols;
        for (uint32_t i = s->begin; i < s->end; i++)
            for (int l = 0; l < ACC_LANES; l++) s->r[i][l] += h[i] * d[k][l];
        for (int l = 0; l < ACC_LANES; l++) {
            s->r[j + k][l] += t->f->lambda * d[k][l];
            s->d[j + k - s->begin][l] += d[k][l];
        }
    }
}

static void open_block(strip *s, uint32_t begin, uint32_t cols)
{
    s->begin = begin;
    s->end = cols - begin < BLOCK ? cols : begin + BLOCK;
    memset(s->d, 0, (s->end - begin) * sizeof *s->d);
}

/* r += d H outside of the block. */
static void close_block(const descent *t, const strip *s)
{
    const uint32_t n = t->f->cols;
    const uint32_t from[2] = {0, s->end}, to[2] = {s->begin, n};
    for (int i = 0; i < 2; i++) {
        if (from[i] == to[i]) continue;
        const acc_gemm g = {.m = to[i] - from[i],
                            .n = ACC_LANES,
                            .k = s->end - s->begin,
                            .alpha = 1,
                            .beta = 1,
                            .a = t->f->h + (size_t)from[i] * n + s->begin,
                            .b = s->d[0],
                            .c = s->r[from[i]],
                            .lda = n,
                            .ldb = ACC_LANES,
                            .ldc = ACC_LANES};
        acc_gemm_one(&g);
    }
}

static bool any(const lanes *d, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        for (int l = 0; l < ACC_LANES; l++)
            if (d[k][l] != 0) return true;
    return false;
}

ACC_CLONES static void step_w2s(const descent *t, const strip *s, uint32_t quad)
{
    acc_codes *c = t->c;
    lanes *r = s->r, *v = s->v;
    const uint32_t r0 = s->r0;
    const block *b = &t->blocks[quad];
    const uint32_t j = quad * 4, count = c->cols - j < 4 ? c->cols - j : 4;
    const float *scale = c->scale + (size_t)(j / c->group) * c->rows_pad + r0;
    lanes target[4] = {{0}}, q[4], d[4];
    uint8_t code[ACC_LANES];
    for (uint32_t k = 0; k < count; k++)
        for (int l = 0; l < ACC_LANES; l++) {
            target[k][l] = v[j + k][l];
            for (uint32_t i = 0; i < count; i++) target[k][l] -= b->inverse[k][i] * r[j + i][l];
        }
    acc_w2s_choose(t->book, &b->form, (const float(*)[ACC_LANES])target, scale, code, q);
    for (uint32_t k = 0; k < count; k++)
        for (int l = 0; l < ACC_LANES; l++) {
            float now = scale[l] * q[k][l];
            d[k][l] = now - v[j + k][l];
            v[j + k][l] = now;
        }
    for (uint32_t l = 0; l < ACC_LANES; l++) c->codes[(size_t)(r0 + l) * c->n_units + quad] = (int8_t)code[l];
    if (any(d, count)) apply(t, s, j, count, d);
}

ACC_CLONES static void step_dense(const descent *t, const strip *s, uint32_t col)
{
    acc_codes *c = t->c;
    lanes *r = s->r, *v = s->v;
    const uint32_t r0 = s->r0;
    const float *scale = c->scale + (size_t)(col / c->group) * c->rows_pad + r0, inv = t->blocks[col].inverse[0][0];
    const acc_grid grid = acc_grid_of(c->format);
    lanes d, q;
    for (int l = 0; l < ACC_LANES; l++) {
        q[l] = acc_grid_round(grid, scale[l] > 0 ? (v[col][l] - r[col][l] * inv) / scale[l] : 0);
        d[l] = scale[l] * q[l] - v[col][l];
        v[col][l] = scale[l] * q[l];
    }
    for (uint32_t l = 0; l < ACC_LANES; l++) c->codes[(size_t)(r0 + l) * c->n_units + col] = (int8_t)q[l];
    if (any((const lanes *)&d, 1)) apply(t, s, col, 1, (const lanes *)&d);
}

/* The scale of one group, on the stored grid: the factor that is best for its codes, q r + t q H q^T = 0. */
ACC_CLONES static void step_scale(const descent *t, strip *s, uint32_t g)
{
    acc_codes *c = t->c;
    lanes *r = s->r, *v = s->v;
    const uint32_t r0 = s->r0;
    const uint32_t j0 = g * c->group, end = j0 + c->group < c->cols ? j0 + c->group : c->cols;
    float *scale = c->scale + (size_t)g * c->rows_pad + r0;
    lanes slope = {0}, curve = {0}, factor;
    for (uint32_t j = j0; j < end; j++) {
        lanes vh = {0};
        const float *h = t->f->h + (size_t)j * t->f->cols;
        for (uint32_t i = j0; i < end; i++)
            for (int l = 0; l < ACC_LANES; l++) vh[l] += h[i] * v[i][l];
        for (int l = 0; l < ACC_LANES; l++) {
            slope[l] += v[j][l] * r[j][l];
            curve[l] += v[j][l] * (vh[l] + t->f->lambda * v[j][l]);
        }
    }
    for (uint32_t l = 0; l < ACC_LANES; l++) {
        const size_t at = (size_t)(r0 + l) * c->n_groups + g;
        const float rscale = c->rscale[r0 + l];
        factor[l] = 0;
        if (!(curve[l] > 0) || !(rscale > 0) || !(scale[l] > 0)) continue;
        float m = rintf(scale[l] * (1 - slope[l] / curve[l]) / rscale);
        m = m < 1 ? 1 : m > (float)c->mmax ? (float)c->mmax : m;
        float change = m * rscale / scale[l] - 1;
        if (!(2 * change * slope[l] + change * change * curve[l] < 0)) continue;
        c->m[at] = (uint8_t)m;
        scale[l] = m * rscale;
        factor[l] = change;
    }
    for (uint32_t begin = j0; begin < end; begin += BLOCK) {
        open_block(s, begin, end);
        for (uint32_t j = begin; j < s->end; j++) {
            lanes d;
            for (int l = 0; l < ACC_LANES; l++) {
                d[l] = factor[l] * v[j][l];
                v[j][l] += d[l];
            }
            if (any((const lanes *)&d, 1)) apply(t, s, j, 1, (const lanes *)&d);
        }
        close_block(t, s);
    }
}

static void load_values(const descent *t, lanes *v, uint32_t r0)
{
    const acc_codes *c = t->c;
    for (uint32_t u = 0; u * c->unit < c->cols; u++)
        for (uint32_t l = 0; l < ACC_LANES; l++) {
            const int8_t code = c->codes[(size_t)(r0 + l) * c->n_units + u];
            int8_t q[4] = {code};
            if (c->format == ACC_FMT_W2S) acc_w2s_quad((uint8_t)code, c->level1, c->level2, q);
            for (uint32_t k = 0; k < c->unit && u * c->unit + k < c->cols; k++)
                v[u * c->unit + k][l] = (float)q[k] * c->scale[(size_t)(u * c->unit / c->group) * c->rows_pad + r0 + l];
        }
}

static void sweep_block(const descent *t, strip *s, uint32_t begin)
{
    const acc_codes *c = t->c;
    open_block(s, begin, c->cols);
    for (uint32_t u = begin / c->unit; u * c->unit < s->end; u++) {
        if (c->format == ACC_FMT_W2S)
            step_w2s(t, s, u);
        else
            step_dense(t, s, u);
    }
    close_block(t, s);
}

static void descent_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const descent *t = ctx;
    const acc_codes *c = t->c;
    strip s = {.r = t->scratch[worker]};
    uint32_t begin, end;
    s.v = s.r + t->f->n;
    s.d = s.v + t->f->n;
    acc_share(c->rows_pad / ACC_LANES, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        s.r0 = i * ACC_LANES;
        for (uint32_t j = 0; j < c->cols; j++) memcpy(s.r[j], t->r + (size_t)j * c->rows_pad + s.r0, sizeof s.r[j]);
        load_values(t, s.v, s.r0);
        for (uint32_t k = 0; k < t->sweeps; k++) {
            for (uint32_t j = 0; j < c->cols; j += BLOCK) sweep_block(t, &s, j);
            for (uint32_t g = 0; c->mmax && g * c->group < c->cols; g++) step_scale(t, &s, g);
        }
    }
}

/* The inverse of the leading count x count part of a symmetric positive a, by Gauss-Jordan; zero elsewhere. */
static void invert(double a[4][4], uint32_t count, float out[4][4])
{
    double inv[4][4] = {{0}};
    for (uint32_t i = 0; i < count; i++) inv[i][i] = 1;
    for (uint32_t p = 0; p < count; p++) {
        const double pivot = 1 / a[p][p];
        for (uint32_t k = 0; k < count; k++) {
            a[p][k] *= pivot;
            inv[p][k] *= pivot;
        }
        for (uint32_t i = 0; i < count; i++) {
            const double x = i == p ? 0 : a[i][p];
            for (uint32_t k = 0; k < count; k++) {
                a[i][k] -= x * a[p][k];
                inv[i][k] -= x * inv[p][k];
            }
        }
    }
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) out[i][k] = (float)inv[i][k];
}

static void fill_block(const descent *t, block *b, uint32_t u)
{
    const uint32_t unit = t->c->unit, j = u * unit, count = t->f->cols - j < unit ? t->f->cols - j : unit;
    double a[4][4] = {{0}};
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < count; k++) a[i][k] = (double)t->f->h[(size_t)(j + i) * t->f->cols + j + k];
        a[i][i] += (double)t->f->lambda;
    }
    for (uint32_t i = count; i < 4; i++) a[i][i] = 1e12; /* beyond the matrix: stays zero */
    if (t->c->format == ACC_FMT_W2S) acc_quad_form_init(&b->form, a, t->book);
    invert(a, count, b->inverse);
}

/* r = e H over all rows, transposed: H e^T, with the damping added. wt [f->n][rows_pad]: the weights, made e. */
static void residuals(acc_pool *pool, const descent *t, float *wt)
{
    const acc_codes *c = t->c;
    const uint32_t n = t->f->cols, rows = c->rows_pad;
    lanes *v = t->scratch[0] + t->f->n;
    for (uint32_t r0 = 0; r0 < rows; r0 += ACC_LANES) {
        load_values(t, v, r0);
        for (uint32_t j = 0; j < n; j++)
            for (uint32_t l = 0; l < ACC_LANES; l++) {
                float *e = &wt[(size_t)j * rows + r0 + l];
                *e = v[j][l] - *e;
            }
    }
    const acc_gemm g = {.m = n,
                        .n = rows,
                        .k = n,
                        .alpha = 1,
                        .beta = 0,
                        .a = t->f->h,
                        .b = wt,
                        .c = t->r,
                        .lda = n,
                        .ldb = rows,
                        .ldc = rows};
    acc_gemm_run(pool, &g);
    for (size_t i = 0; i < (size_t)n * rows; i++) t->r[i] += t->f->lambda * wt[i];
}

accllm_status acc_solve_descent(acc_pool *pool, acc_codes *c, float *wt, const acc_factor *f, uint32_t sweeps,
                                accllm_error *err)
{
    accllm_status status;
    acc_w2s_book book;
    void *blocks = NULL, *r = NULL, *all = NULL;
    lanes *scratch[1024]; /* a pool has at most 1024 */
    const uint32_t n_blocks = f->n / f->unit, workers = acc_pool_size(pool);
    ACC_TRY_GOTO(acc_alloc(&blocks, n_blocks, sizeof(block), "blocks of the Hessian", err));
    ACC_TRY_GOTO(acc_alloc(&r, (size_t)f->n * c->rows_pad, sizeof(float), "residuals", err));
    ACC_TRY_GOTO(acc_alloc(&all, workers * (2 * (size_t)f->n + BLOCK), sizeof(lanes), "residuals of a strip", err));
    for (uint32_t w = 0; w < workers; w++) scratch[w] = (lanes *)all + w * (2 * (size_t)f->n + BLOCK);
    descent t = {.c = c, .f = f, .book = &book, .blocks = blocks, .r = r, .scratch = scratch, .sweeps = sweeps};
    if (c->format == ACC_FMT_W2S) acc_w2s_book_init(&book, c->level1, c->level2);
    for (uint32_t u = 0; u < n_blocks; u++) fill_block(&t, (block *)blocks + u, u);
    residuals(pool, &t, wt);
    acc_pool_run(pool, descent_worker, &t);
    status = ACCLLM_OK;
fail:
    acc_free(blocks);
    acc_free(r);
    acc_free(all);
    return status;
}
