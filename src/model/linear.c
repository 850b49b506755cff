/* Linear layers: the calls of the integer kernels for the work that a worker took. */
#include "model/batch.h"

acc_tile acc_next_tile(uint32_t cuts, uint32_t n_tokens, uint32_t *i, uint32_t end)
{
    const uint32_t first = *i % cuts, n = end - *i;
    acc_tile t = {.rb0 = *i / cuts, .rb1 = *i / cuts + 1, .t1 = n_tokens};
    if (first == 0 && n >= cuts) {
        t.rb1 = t.rb0 + n / cuts;
        *i = t.rb1 * cuts;
        return t;
    }
    const uint32_t last = n < cuts - first ? first + n : cuts;
    t.t0 = (uint32_t)((uint64_t)n_tokens * first / cuts);
    t.t1 = (uint32_t)((uint64_t)n_tokens * last / cuts);
    *i += last - first;
    return t;
}

/* Has the kernels make of the tile's tokens what they read, unless they did so for the last tile. */
static void pack(const acc_batch *b, acc_worker *wk, const acc_weight *w, const acc_input *in, const acc_tile *tile)
{
    acc_pack_fn *f = b->k->w[w->format].pack;
    const uint32_t cols = w->col_groups * w->group;
    if (!f || (wk->packed.t1 == tile->t1 && wk->packed.t0 == tile->t0 && wk->packed.format == w->format &&
               wk->packed.group == w->group && wk->packed.cols == cols))
        return;
    f(w, in->a + tile->t0 * in->lda, in->lda, tile->t1 - tile->t0, wk->scratch);
    wk->packed.format = w->format;
    wk->packed.group = w->group;
    wk->packed.cols = cols;
    wk->packed.t0 = tile->t0;
    wk->packed.t1 = tile->t1;
}

void acc_linear_run(acc_batch *b, acc_worker *wk, const acc_weight *w, const acc_input *in, const acc_tile *tile,
                    uint32_t unit, acc_sink *sink)
{
    const uint32_t step = acc_blocks_per_call(in->n, unit), n_tokens = tile->t1 - tile->t0;
    const int8_t *a = in->a + tile->t0 * in->lda;
    pack(b, wk, w, in, tile);
    for (uint32_t rb = tile->rb0, next; rb < tile->rb1; rb = next) {
        next = tile->rb1 - rb > step ? rb + step : tile->rb1;
        size_t ldi = (size_t)(next - rb) * ACC_TILE_ROWS;
        if (n_tokens == 1)
            b->k->w[w->format].matvec(w, a, wk->isum, rb, next, wk->scratch);
        else
            b->k->w[w->format].matmul(w, a, in->lda, n_tokens, wk->isum, ldi, rb, next, wk->scratch);
        uint32_t row = rb * ACC_TILE_ROWS, n = w->rows - row < ldi ? w->rows - row : (uint32_t)ldi;
        for (uint32_t t = tile->t0; t < tile->t1; t++)
            sink(b, wk, w, t, row, n, wk->isum + (t - tile->t0) * ldi, in->scale[t]);
    }
}
