/* Linear layers over the worker pool: who takes which rows, and the calls of the integer kernels. */
#include "model/batch.h"

/* Where in w, rounded to units, the boundary lies that is `at` row blocks into the whole list. */
static uint32_t boundary(uint64_t at, uint32_t before, const acc_weight *w, uint32_t unit)
{
    if (at <= before) return 0;
    uint64_t b = (at - before + unit / 2) / unit * unit;
    return at - before >= w->row_blocks || b >= w->row_blocks ? w->row_blocks : (uint32_t)b;
}

void acc_linear_share(acc_part *parts, uint32_t n_parts, uint32_t worker, uint32_t n_workers)
{
    uint64_t total = 0;
    uint32_t before = 0;
    for (uint32_t i = 0; i < n_parts; i++) total += parts[i].w->row_blocks;
    for (acc_part *p = parts; p < parts + n_parts; before += p->w->row_blocks, p++) {
        p->rb0 = boundary(total * worker / n_workers, before, p->w, p->unit);
        p->rb1 = boundary(total * (worker + 1) / n_workers, before, p->w, p->unit);
    }
}

static uint32_t rows_of(const acc_weight *w, uint32_t rb0, uint32_t rb1)
{
    const uint32_t row = rb0 * ACC_TILE_ROWS, n = (rb1 - rb0) * ACC_TILE_ROWS;
    return w->rows - row < n ? w->rows - row : n;
}

static void run_part(acc_batch *b, acc_worker *wk, const acc_part *p, const acc_input *in)
{
    const acc_weight *w = p->w;
    const uint32_t step = acc_blocks_per_call(in->n, p->unit);
    for (uint32_t rb = p->rb0, next; rb < p->rb1; rb = next) {
        next = p->rb1 - rb > step ? rb + step : p->rb1;
        const size_t ldi = (size_t)(next - rb) * ACC_TILE_ROWS;
        if (in->n == 1)
            b->k->w[w->format].matvec(w, in->a, wk->isum, rb, next, wk->scratch);
        else
            b->k->w[w->format].matmul(w, in->a, in->lda, in->n, wk->isum, ldi, rb, next, wk->scratch);
        for (uint32_t t = 0; t < in->n; t++)
            p->sink(b, wk, w, t, rb * ACC_TILE_ROWS, rows_of(w, rb, next), wk->isum + t * ldi, in->scale[t]);
    }
}

/* One token, and parts that fit one call. */
static bool run_alike(acc_batch *b, acc_worker *wk, const acc_part *parts, uint32_t n_parts, const acc_input *in)
{
    const acc_weight *w = parts->w;
    acc_rows rows[ACC_PARTS_MAX];
    uint32_t blocks = 0;
    if (in->n != 1 || !b->k->w[w->format].matvec_alike) return false;
    for (uint32_t i = 0; i < n_parts; i++) {
        if (!acc_weight_alike(w, parts[i].w)) return false;
        rows[i] = (acc_rows){parts[i].w, parts[i].rb0, parts[i].rb1, wk->isum + (size_t)blocks * ACC_TILE_ROWS};
        blocks += parts[i].rb1 - parts[i].rb0;
    }
    if (blocks > acc_blocks_per_call(1, 1)) return false;
    if (blocks == 0) return true;
    b->k->w[w->format].matvec_alike(rows, n_parts, in->a, wk->scratch);
    for (uint32_t i = 0; i < n_parts; i++) {
        const acc_rows *r = &rows[i];
        if (r->rb0 < r->rb1)
            parts[i].sink(b, wk, r->w, 0, r->rb0 * ACC_TILE_ROWS, rows_of(r->w, r->rb0, r->rb1), r->isum, in->scale[0]);
    }
    return true;
}

void acc_linear_run(acc_batch *b, acc_worker *wk, const acc_part *parts, uint32_t n_parts, const acc_input *in)
{
    if (run_alike(b, wk, parts, n_parts, in)) return;
    for (uint32_t i = 0; i < n_parts; i++) run_part(b, wk, &parts[i], in);
}
