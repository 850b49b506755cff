/* The working memory of a forward pass: all of it is planned and taken at creation; a step allocates nothing. */
#include "model/batch.h"

#include "core/arena.h"
#include "kernels/kv_layout.h"
#include "numerics/numerics.h"

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t columns_padded(const acc_weight *w)
{
    return (size_t)w->col_groups * w->group;
}

acc_dims acc_dims_of(const acc_packed *m)
{
    const acc_hparams *hp = &m->hp;
    acc_dims d = {
        .q_dim = hp->n_heads * hp->head_dim,
        .kv_dim = hp->n_kv_heads * hp->head_dim,
        .group = hp->n_heads / hp->n_kv_heads,
        .x_stride = (uint32_t)acc_round_up(hp->n_embd, 16),
        .ff_stride = (uint32_t)acc_round_up(hp->n_ff, 16),
        .a8_stride = columns_padded(&m->output),
        .q8_stride = acc_round_up(acc_kv_dims(hp->head_dim), 64),
        .kv_unit = hp->head_dim / gcd(hp->head_dim, ACC_TILE_ROWS),
        .block = acc_hadamard_block(hp->head_dim),
    };
    d.q_stride = (uint32_t)acc_round_up(d.q_dim, 16);
    d.part_stride = acc_round_up((size_t)d.group * hp->head_dim, 16);
    for (uint32_t l = 0; l < hp->n_layers; l++) {
        const acc_weight *w = m->layers[l].linear;
        for (int i = 0; i < ACC_N_LINEAR; i++) d.a8_stride = max_size(d.a8_stride, columns_padded(&w[i]));
    }
    d.a8_stride = acc_round_up(d.a8_stride, 64);
    uint32_t blocks = (d.kv_dim + ACC_TILE_ROWS - 1) / ACC_TILE_ROWS;
    if (d.kv_unit > blocks) d.kv_unit = blocks;
    return d;
}

static void plan_worker(const acc_batch *b, acc_arena *a, uint32_t index, acc_worker *wk)
{
    const acc_dims *d = &b->d;
    size_t one = acc_blocks_per_call(1, d->kv_unit), many = acc_blocks_per_call(2, d->kv_unit);
    size_t scratch = acc_kernel_scratch_bytes((uint32_t)d->a8_stride, b->max_rows);
    acc_worker w = {
        .index = index,
        .a8 = acc_arena_take(a, d->a8_stride, 1),
        .isum = acc_arena_take(a, b->isum_size, sizeof(int32_t)),
        .rows = acc_arena_take(a, max_size(one, many) * ACC_TILE_ROWS, sizeof(float)),
        .gate = acc_arena_take(a, b->isum_size, sizeof(float)),
        .scratch = acc_arena_take(a, 1, scratch),
        .failed = acc_arena_take(a, b->max_rows, sizeof(const char *)),
    };
    if (wk) *wk = w;
}

static void plan_memory(acc_batch *b, acc_arena *a)
{
    const acc_dims *d = &b->d;
    b->x = acc_arena_take(a, b->max_rows, d->x_stride * sizeof(float));
    b->q = acc_arena_take(a, b->max_rows, d->q_stride * sizeof(float));
    b->att = acc_arena_take(a, b->max_rows, d->q_stride * sizeof(float));
    b->ff = acc_arena_take(a, b->max_rows, d->ff_stride * sizeof(float));
    b->a8 = acc_arena_take(a, b->max_rows, d->a8_stride);
    b->a8_scale = acc_arena_take(a, b->max_rows, sizeof(float));
    b->rows = acc_arena_take(a, b->max_rows, sizeof(acc_row));
    b->seen = acc_arena_take(a, (size_t)b->max_rows + 1, sizeof(uint64_t));
    b->logit_rows = acc_arena_take(a, b->max_rows, sizeof(uint32_t));
    b->logits = acc_arena_take(a, b->max_rows, sizeof(float *));
    b->workers = acc_arena_take(a, b->n_workers, sizeof(acc_worker));
    b->left = acc_arena_take(a, b->n_workers, sizeof(acc_items));
    for (uint32_t w = 0; w < b->n_workers; w++) plan_worker(b, a, w, b->workers ? &b->workers[w] : NULL);
}

static accllm_status take_memory(acc_batch *b, accllm_error *err)
{
    acc_arena a = {0};
    plan_memory(b, &a);
    b->memory_bytes = a.used;
    b->memory = a.overflow ? NULL : acc_pages_alloc(a.used);
    if (!b->memory)
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: buffers for %u tokens together (%.1f MB)", b->max_rows,
                        (double)a.used / 1e6);
    a = (acc_arena){.base = b->memory};
    plan_memory(b, &a);
    return ACCLLM_OK;
}

accllm_status acc_batch_create(acc_batch **out, acc_packed *m, accllm_runtime *rt, uint32_t max_rows, accllm_error *err)
{
    *out = NULL;
    if (max_rows == 0 || max_rows > ACC_MAX_ROWS)
        return acc_fail(err, ACCLLM_E_ARG, "%u tokens in one pass; 1 to %u are supported", max_rows, ACC_MAX_ROWS);
    acc_batch *b = acc_calloc(1, sizeof *b);
    if (!b) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: batch");
    b->m = m;
    b->rt = rt;
    b->k = rt->kernels;
    b->d = acc_dims_of(m);
    b->max_rows = max_rows;
    b->n_workers = acc_pool_size(rt->pool);
    b->isum_size =
        max_size(acc_blocks_per_call(1, b->d.kv_unit), (size_t)max_rows * acc_blocks_per_call(2, b->d.kv_unit)) *
        ACC_TILE_ROWS;
    accllm_status status = take_memory(b, err);
    if (status != ACCLLM_OK)
        acc_batch_free(&b);
    else
        *out = b;
    return status;
}

void acc_batch_free(acc_batch **b)
{
    if (!*b) return;
    acc_pages_free((*b)->memory, (*b)->memory_bytes);
    acc_free(*b);
    *b = NULL;
}

uint64_t acc_batch_bytes(const acc_batch *b)
{
    return sizeof *b + b->memory_bytes;
}
