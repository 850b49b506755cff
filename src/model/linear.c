/* Linear layers over the worker pool: who takes which rows, and the calls of the integer kernels. */
#include "model/batch.h"

/* Where in w, rounded to units, the boundary lies that is `at` into the whole list. */
static uint32_t boundary(uint64_t at, uint64_t before, uint64_t each, const acc_weight *w, uint32_t unit)
{
    if (at <= before) return 0;
    const uint64_t b = (at - before + each * unit / 2) / (each * unit) * unit;
    return b >= w->row_blocks || at - before >= each * w->row_blocks ? w->row_blocks : (uint32_t)b;
}

void acc_linear_share(uint64_t total, uint64_t before, uint64_t each, const acc_weight *w, uint32_t unit,
                      uint32_t worker, uint32_t n_workers, uint32_t *rb0, uint32_t *rb1)
{
    *rb0 = boundary(total * worker / n_workers, before, each, w, unit);
    *rb1 = boundary(total * (worker + 1) / n_workers, before, each, w, unit);
}

void acc_linear_run(acc_batch *b, acc_worker *wk, const acc_weight *w, const acc_input *in, uint32_t rb0, uint32_t rb1,
                    uint32_t unit, acc_sink *sink)
{
    uint32_t step = acc_blocks_per_call(in->n, unit);
    for (uint32_t rb = rb0, next; rb < rb1; rb = next) {
        next = rb1 - rb > step ? rb + step : rb1;
        size_t ldi = (size_t)(next - rb) * ACC_TILE_ROWS;
        if (in->n == 1)
            b->k->w[w->format].matvec(w, in->a, wk->isum, rb, next, wk->scratch);
        else
            b->k->w[w->format].matmul(w, in->a, in->lda, in->n, wk->isum, ldi, rb, next, wk->scratch);
        uint32_t row = rb * ACC_TILE_ROWS, n = w->rows - row < ldi ? w->rows - row : (uint32_t)ldi;
        for (uint32_t t = 0; t < in->n; t++) sink(b, wk, w, t, row, n, wk->isum + t * ldi, in->scale[t]);
    }
}
