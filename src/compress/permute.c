/*
 * Two orders inside a layer are free: that of the feed-forward part's hidden units (rows of gate and up, columns of
 * down) and that of the channels of each KV head (rows of v, columns of out, the same for all query heads of the head's
 * group). They decide which columns share a code and a scale, so they are chosen by the weights of down and out:
 *
 *   one weight a code   columns by falling energy, so that those of one scale are alike;
 *   2:4                 columns exchanged between quads until these keep the most energy (channel permutation, Pool and
 *                       Yu 2021), then quads by falling energy.
 *
 * Plain energies: weighing them by the inputs' gained less (docs/quality.md, "The solver's steps").
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/pipeline.h"
#include "core/clones.h"
#include "core/hash.h"
#include "core/memory.h"

#define ROUNDS 40 /* of exchanges; each quad meets one other in every round */
/* An exchange has to gain more than rounding could. */
#define LEAST_GAIN 1e-6f

/* Columns of a matrix that move: item i stands at first + i + k * n for every copy k. */
typedef struct items {
    const float *w; /* [rows][cols] */
    uint32_t rows, cols, first, n, copies;
} items;

/* ---- energies ---- */

/* squares [n][stride]: of all weights of each item, padded with zeros. */
static void square_items(const items *t, float *squares, size_t stride)
{
    for (uint32_t k = 0; k < t->copies; k++)
        for (uint32_t r = 0; r < t->rows; r++) {
            const float *w = t->w + (size_t)r * t->cols + t->first + k * t->n;
            for (uint32_t i = 0; i < t->n; i++) squares[i * stride + (size_t)k * t->rows + r] = w[i] * w[i];
        }
}

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

static inline float smaller(float a, float b)
{
    return a < b ? a : b;
}

/* What a quad keeps: the two largest of each row. */
ACC_CLONES static float kept(const float *squares, size_t stride, const uint32_t *quad)
{
    const float *a = squares + quad[0] * stride, *b = squares + quad[1] * stride, *c = squares + quad[2] * stride,
                *d = squares + quad[3] * stride;
    float lanes[ACC_LANES] = {0}, sum = 0;
    for (size_t i = 0; i < stride; i += ACC_LANES)
        for (size_t l = i; l < i + ACC_LANES; l++) {
            const float ab = larger(a[l], b[l]), cd = larger(c[l], d[l]);
            const float rest = larger(smaller(a[l], b[l]), smaller(c[l], d[l]));
            lanes[l - i] += larger(ab, cd) + larger(smaller(ab, cd), rest);
        }
    for (int l = 0; l < ACC_LANES; l++) sum += lanes[l];
    return sum;
}

/* ---- sorting ---- */

typedef struct unit_key {
    double energy;
    uint32_t unit;
} unit_key;

/* Falling energy; ties by place, so that the order is the same everywhere. */
static int compare_units(const void *a, const void *b)
{
    const unit_key *x = a, *y = b;
    if (x->energy != y->energy) return x->energy > y->energy ? -1 : 1;
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

/* Units of `size` items in order [n] by falling energy; keys [n], old [n]: scratch. */
static void sort_units(const float *squares, size_t stride, uint32_t n, uint32_t size, uint32_t *order, unit_key *keys,
                       uint32_t *old)
{
    memcpy(old, order, n * sizeof *old);
    for (uint32_t u = 0; u < n / size; u++) {
        keys[u] = (unit_key){.unit = u};
        if (size == 4)
            keys[u].energy = (double)kept(squares, stride, old + (size_t)u * 4);
        else
            for (size_t i = 0; i < stride; i++) keys[u].energy += (double)squares[old[u] * stride + i];
        if (!isfinite(keys[u].energy)) keys[u].energy = 0; /* the solver will say so */
    }
    qsort(keys, n / size, sizeof *keys, compare_units);
    for (uint32_t u = 0; u < n / size; u++)
        memcpy(order + (size_t)u * size, old + (size_t)keys[u].unit * size, size * sizeof *old);
}

/* ---- exchanges between quads ---- */

typedef struct exchange {
    const float *squares;
    size_t stride;
    uint32_t n_quads;
    uint32_t *order;       /* [4 n_quads] */
    const uint32_t *meets; /* [n_quads]: quads 2 i and 2 i + 1 of it meet */
} exchange;

/* Eight columns in two quads: x has the first and those of bcd. */
static void split(const uint32_t all[8], const uint32_t bcd[3], uint32_t x[4], uint32_t y[4])
{
    uint32_t nx = 0, ny = 0;
    for (uint32_t i = 0; i < 8; i++) {
        if (i == 0 || i == bcd[0] || i == bcd[1] || i == bcd[2])
            x[nx++] = all[i];
        else
            y[ny++] = all[i];
    }
}

/* Two quads that meet part as those two of their eight columns that keep most. */
static void exchange_columns(const exchange *e, uint32_t *p, uint32_t *q)
{
    uint32_t all[8], x[4], y[4], best[8], s[3];
    memcpy(all, p, sizeof x);
    memcpy(all + 4, q, sizeof y);
    memcpy(best, all, sizeof best);
    float most = (kept(e->squares, e->stride, p) + kept(e->squares, e->stride, q)) * (1 + LEAST_GAIN);
    for (s[0] = 1; s[0] < 6; s[0]++)
        for (s[1] = s[0] + 1; s[1] < 7; s[1]++)
            for (s[2] = s[1] + 1; s[2] < 8; s[2]++) {
                split(all, s, x, y);
                const float now = kept(e->squares, e->stride, x) + kept(e->squares, e->stride, y);
                if (now <= most) continue;
                most = now;
                memcpy(best, x, sizeof x);
                memcpy(best + 4, y, sizeof y);
            }
    memcpy(p, best, sizeof x);
    memcpy(q, best + 4, sizeof y);
}

static void exchange_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const exchange *e = ctx;
    uint32_t begin, end;
    acc_share(e->n_quads / 2, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++)
        exchange_columns(e, e->order + (size_t)e->meets[2 * i] * 4, e->order + (size_t)e->meets[2 * i + 1] * 4);
}

static void shuffle(uint32_t *x, uint32_t n, uint64_t key)
{
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = (uint32_t)(acc_random_unit(key, i) * i), t = x[i - 1];
        x[i - 1] = x[j];
        x[j] = t;
    }
}

/* meets [n / 4]: scratch. */
static void exchange_rounds(acc_pool *pool, const float *squares, size_t stride, uint32_t n, uint32_t *order,
                            uint32_t *meets)
{
    exchange e = {.squares = squares, .stride = stride, .n_quads = n / 4, .order = order, .meets = meets};
    for (uint32_t i = 0; i < e.n_quads; i++) meets[i] = i;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        shuffle(meets, e.n_quads, round);
        acc_pool_run(pool, exchange_worker, &e);
    }
}

/* ---- the order of one set of items ---- */

/* False where every order gives the same groups of the same codes. */
static bool order_matters(const acc_weight *shape, uint32_t n)
{
    if (shape->format == ACC_FMT_W8) return false; /* one scale for the row */
    return shape->format == ACC_FMT_W2S ? n % 4 == 0 : n > shape->group;
}

/* order [n]: which item comes to which place. */
static accllm_status best_order(acc_pool *pool, const items *t, const acc_weight *shape, uint32_t *order,
                                accllm_error *err)
{
    accllm_status status;
    const size_t stride = acc_round_up((size_t)t->rows * t->copies, ACC_LANES);
    void *squares = NULL, *keys = NULL, *scratch = NULL;
    for (uint32_t i = 0; i < t->n; i++) order[i] = i;
    if (!order_matters(shape, t->n)) return ACCLLM_OK;
    ACC_TRY_GOTO(acc_alloc(&squares, t->n, stride * sizeof(float), "energies of columns", err));
    ACC_TRY_GOTO(acc_alloc(&keys, t->n, sizeof(unit_key), "order of columns", err));
    ACC_TRY_GOTO(acc_alloc(&scratch, t->n, sizeof(uint32_t), "order of columns", err));
    square_items(t, squares, stride);
    if (shape->format == ACC_FMT_W2S) exchange_rounds(pool, squares, stride, t->n, order, scratch);
    sort_units(squares, stride, t->n, acc_code_unit(shape->format), order, keys, scratch);
    status = ACCLLM_OK;
fail:
    acc_free(squares);
    acc_free(keys);
    acc_free(scratch);
    return status;
}

/* ---- putting it in force ---- */

/* Rows of any kind: row i becomes row order[i]. */
static accllm_status permute_rows(void *m, size_t bytes, const uint32_t *order, uint32_t n, accllm_error *err)
{
    void *old;
    ACC_TRY(acc_alloc(&old, n, bytes, "rows in their old order", err));
    memcpy(old, m, n * bytes);
    for (uint32_t i = 0; i < n; i++) memcpy((char *)m + i * bytes, (const char *)old + order[i] * bytes, bytes);
    acc_free(old);
    return ACCLLM_OK;
}

static accllm_status permute_columns(float *m, uint32_t rows, const uint32_t *order, uint32_t n, accllm_error *err)
{
    void *p;
    ACC_TRY(acc_alloc(&p, n, sizeof *m, "a row in its old order", err));
    float *old = p;
    for (uint32_t r = 0; r < rows; r++) {
        float *row = m + (size_t)r * n;
        memcpy(old, row, n * sizeof *old);
        for (uint32_t j = 0; j < n; j++) row[j] = old[order[j]];
    }
    acc_free(p);
    return ACCLLM_OK;
}

/* Only the upper triangle counts. */
static accllm_status permute_hessian(acc_hessian *h, const uint32_t *order, accllm_error *err)
{
    const size_t n = h->cols;
    void *p;
    ACC_TRY(acc_alloc(&p, n, n * sizeof *h->sum, "Hessian in its old order", err));
    double *old = p;
    memcpy(old, h->sum, n * n * sizeof *old);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            const size_t a = order[i], b = order[j];
            h->sum[i * n + j] = a < b ? old[a * n + b] : old[b * n + a];
        }
    acc_free(p);
    return ACCLLM_OK;
}

static accllm_status permute_hidden(acc_pool *pool, acc_ref_layer *l, const acc_hparams *hp, const acc_weight *down,
                                    acc_hessian *h, uint32_t *order, accllm_error *err)
{
    const uint32_t n = hp->n_ff;
    const size_t row = hp->n_embd * sizeof(float);
    const items t = {.w = l->down, .rows = hp->n_embd, .cols = n, .n = n, .copies = 1};
    ACC_TRY(best_order(pool, &t, down, order, err));
    ACC_TRY(permute_rows(l->gate, row, order, n, err));
    ACC_TRY(permute_rows(l->up, row, order, n, err));
    ACC_TRY(permute_columns(l->down, hp->n_embd, order, n, err));
    return permute_hessian(h, order, err);
}

/* values [KV width], columns [query width]: the orders of v's rows and of out's columns. */
static accllm_status permute_values(acc_pool *pool, acc_ref_layer *l, const acc_hparams *hp, const acc_weight *out,
                                    acc_hessian *h, uint32_t *values, uint32_t *columns, accllm_error *err)
{
    const uint32_t hd = hp->head_dim, group = hp->n_heads / hp->n_kv_heads, q = hp->n_heads * hd;
    for (uint32_t head = 0; head < hp->n_kv_heads; head++) {
        uint32_t *order = values + (size_t)head * hd;
        const uint32_t first = head * group * hd;
        const items t = {.w = l->o, .rows = hp->n_embd, .cols = q, .first = first, .n = hd, .copies = group};
        ACC_TRY(best_order(pool, &t, out, order, err));
        for (uint32_t i = 0; i < group * hd; i++) columns[first + i] = first + i / hd * hd + order[i % hd];
        for (uint32_t i = 0; i < hd; i++) order[i] += head * hd;
    }
    const uint32_t kv = hp->n_kv_heads * hd;
    ACC_TRY(permute_rows(l->v, hp->n_embd * sizeof(float), values, kv, err));
    if (l->v_bias) ACC_TRY(permute_rows(l->v_bias, sizeof(float), values, kv, err));
    ACC_TRY(permute_columns(l->o, hp->n_embd, columns, q, err));
    return permute_hessian(h, columns, err);
}

accllm_status acc_permute_layer(acc_pool *pool, acc_ref_layer *l, const acc_hparams *hp,
                                const acc_weight shapes[ACC_N_LINEAR], acc_collector *col, accllm_error *err)
{
    const uint32_t q = hp->n_heads * hp->head_dim, kv = hp->n_kv_heads * hp->head_dim;
    void *p;
    ACC_TRY(acc_alloc(&p, (size_t)hp->n_ff + q + kv, sizeof(uint32_t), "orders of channels", err));
    uint32_t *order = p;
    accllm_status s = permute_hidden(pool, l, hp, &shapes[6], &col->hessian[3], order, err);
    if (s == ACCLLM_OK)
        s = permute_values(pool, l, hp, &shapes[3], &col->hessian[1], order + hp->n_ff, order + hp->n_ff + kv, err);
    acc_free(p);
    return s;
}
