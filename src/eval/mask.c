#include "eval/mask.h"

#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "model/packed_internal.h"

/* Linear matrix i, counted over all layers; the look-ups are not const, and nothing is changed here. */
static acc_weight *linear_at(const acc_packed *m, uint32_t i)
{
    return acc_packed_weight((acc_packed *)(uintptr_t)m, (acc_tensor_id)(ACC_T_ATTN_Q + i % ACC_N_LINEAR),
                             i / ACC_N_LINEAR);
}

uint32_t acc_mask_count(const acc_packed *model, uint32_t *all)
{
    uint32_t n = 0;
    *all = model->hp.n_layers * ACC_N_LINEAR;
    for (uint32_t i = 0; i < *all; i++) n += linear_at(model, i)->format == ACC_FMT_W2S;
    return n;
}

static size_t padded_columns(const acc_weight *w)
{
    return (size_t)w->col_groups * w->group;
}

/* One matrix: blob, a copy of w's, gets zeros where `mask` has them. ints, keep: room for 64 padded rows of each. */
static void mask_matrix(const acc_weight *w, const acc_weight *mask, uint8_t *blob, int8_t *ints, int8_t *keep)
{
    const size_t stride = padded_columns(w), from = padded_columns(mask);
    for (uint32_t rb = 0; rb < w->row_blocks; rb++) {
        acc_weight_unpack_block(w, rb, ints, NULL);
        acc_weight_unpack_block(mask, rb, keep, NULL);
        for (size_t r = 0; r < ACC_TILE_ROWS; r++)
            for (size_t c = 0; c < w->cols; c++)
                if (keep[r * from + c] == 0) ints[r * stride + c] = 0;
        acc_weight_pack_block(w, blob, rb, ints, NULL);
    }
}

/* Checks the shapes; *bytes: of all masked blobs, *columns: of the widest matrix. */
static accllm_status measure(const acc_packed *model, const acc_packed *w8, size_t *bytes, size_t *columns,
                             accllm_error *err)
{
    uint32_t all;
    *bytes = *columns = 0;
    (void)acc_mask_count(model, &all);
    if (w8->hp.n_layers != model->hp.n_layers)
        return acc_fail(err, ACCLLM_E_ARG, "the 8-bit file has %" PRIu32 " layers, the model %" PRIu32, w8->hp.n_layers,
                        model->hp.n_layers);
    for (uint32_t i = 0; i < all; i++) {
        const acc_weight *w = linear_at(w8, i), *m = linear_at(model, i);
        if (w->format != ACC_FMT_W8 || w->rows != m->rows || w->cols != m->cols)
            return acc_fail(err, ACCLLM_E_ARG, "the 8-bit file does not have the model's shape in W8");
        size_t widest = padded_columns(w) > padded_columns(m) ? padded_columns(w) : padded_columns(m);
        if (widest > *columns) *columns = widest;
        if (m->format == ACC_FMT_W2S && !acc_add(*bytes, acc_round_up(acc_weight_bytes(w), ACC_ALIGN), bytes))
            return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: masked weights");
    }
    return ACCLLM_OK;
}

accllm_status acc_mask_check(const acc_packed *model, const acc_packed *w8, accllm_error *err)
{
    size_t bytes, columns;
    return measure(model, w8, &bytes, &columns, err);
}

accllm_status acc_mask_apply(void *model, acc_packed *w8, accllm_error *err)
{
    const acc_packed *m = model;
    size_t bytes, columns;
    int8_t *rows;
    uint32_t all;
    ACC_TRY(measure(m, w8, &bytes, &columns, err));
    if (acc_mask_count(m, &all) == 0) return ACCLLM_OK;
    ACC_TRY(acc_alloc((void **)&rows, 2 * ACC_TILE_ROWS, columns, "rows of weights", err));
    uint8_t *at = w8->memory = acc_pages_alloc(bytes);
    if (!at) {
        acc_free(rows);
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: masked weights (%.1f MB)", (double)bytes / 1e6);
    }
    w8->memory_bytes = bytes;
    for (uint32_t i = 0; i < all; i++) {
        acc_weight *w = linear_at(w8, i);
        const acc_weight *mask = linear_at(m, i);
        if (mask->format != ACC_FMT_W2S) continue;
        const size_t tiles = acc_weight_tiles_bytes(w);
        memcpy(at + tiles, w->rscale, acc_weight_bytes(w) - tiles);
        mask_matrix(w, mask, at, rows, rows + ACC_TILE_ROWS * columns);
        acc_weight_bind(w, at);
        at += acc_round_up(acc_weight_bytes(w), ACC_ALIGN);
    }
    acc_free(rows);
    return ACCLLM_OK;
}
