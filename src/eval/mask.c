#include "eval/mask.h"

#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "eval/match.h"
#include "model/packed.h"

/* Linear matrix i, counted over all layers. */
static const acc_weight *linear_at(const acc_packed *m, uint32_t i)
{
    return &m->layers[i / ACC_N_LINEAR].linear[i % ACC_N_LINEAR];
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

static uint32_t matched(const uint32_t *to, uint32_t i)
{
    return to ? to[i] : i;
}

/* One matrix: blob, a copy of w's, gets zeros where `mask` has them. rows, cols: where its rows and columns stand in
 * the mask, NULL: at the same place. ints: room for 64 padded rows of w; keep: for all of the mask's. */
static void mask_matrix(const acc_weight *w, const acc_weight *mask, const uint32_t *rows, const uint32_t *cols,
                        uint8_t *blob, int8_t *ints, int8_t *keep)
{
    const size_t stride = padded_columns(w), from = padded_columns(mask);
    for (uint32_t rb = 0; rb < mask->row_blocks; rb++)
        acc_weight_unpack_block(mask, rb, keep + rb * ACC_TILE_ROWS * from, NULL);
    for (uint32_t rb = 0; rb < w->row_blocks; rb++) {
        acc_weight_unpack_block(w, rb, ints, NULL);
        for (uint32_t r = 0; r < ACC_TILE_ROWS && rb * ACC_TILE_ROWS + r < w->rows; r++) {
            const int8_t *kept = keep + matched(rows, rb * ACC_TILE_ROWS + r) * from;
            for (uint32_t c = 0; c < w->cols; c++)
                if (kept[matched(cols, c)] == 0) ints[r * stride + c] = 0;
        }
        acc_weight_pack_block(w, blob, rb, ints, NULL);
    }
}

typedef struct sizes {
    size_t bytes;      /* of all masked blobs */
    size_t ints, mask; /* codes of 64 rows of the widest 8-bit matrix; of the largest mask */
} sizes;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Checks the shapes. */
static accllm_status measure(const acc_packed *model, const acc_packed *w8, sizes *size, accllm_error *err)
{
    uint32_t all;
    *size = (sizes){0};
    (void)acc_mask_count(model, &all);
    if (w8->hp.n_layers != model->hp.n_layers)
        return acc_fail(err, ACCLLM_E_ARG, "the 8-bit file has %" PRIu32 " layers, the model %" PRIu32, w8->hp.n_layers,
                        model->hp.n_layers);
    for (uint32_t i = 0; i < all; i++) {
        const acc_weight *w = linear_at(w8, i), *m = linear_at(model, i);
        if (w->format != ACC_FMT_W8 || w->rows != m->rows || w->cols != m->cols)
            return acc_fail(err, ACCLLM_E_ARG, "the 8-bit file does not have the model's shape in W8");
        size->ints = larger(size->ints, ACC_TILE_ROWS * padded_columns(w));
        size->mask = larger(size->mask, (size_t)m->row_blocks * ACC_TILE_ROWS * padded_columns(m));
        if (m->format == ACC_FMT_W2S &&
            !acc_add(size->bytes, acc_round_up(acc_weight_bytes(w), ACC_ALIGN), &size->bytes))
            return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: masked weights");
    }
    return ACCLLM_OK;
}

accllm_status acc_mask_check(const acc_packed *model, const acc_packed *w8, accllm_error *err)
{
    sizes size;
    return measure(model, w8, &size, err);
}

/* The masked matrices of one layer, from *at on. */
static accllm_status mask_layer(acc_packed *w8, const acc_packed *m, uint32_t layer, acc_match *match, uint8_t **at,
                                int8_t *ints, int8_t *keep, accllm_error *err)
{
    ACC_TRY(acc_match_layer(match, w8, m, layer, err));
    const uint32_t *const rows[ACC_N_LINEAR] = {[2] = match->value, [4] = match->hidden, [5] = match->hidden};
    const uint32_t *const cols[ACC_N_LINEAR] = {[3] = match->query, [6] = match->hidden};
    for (uint32_t i = 0; i < ACC_N_LINEAR; i++) {
        acc_weight *w = &w8->layers[layer].linear[i];
        const acc_weight *mask = &m->layers[layer].linear[i];
        if (mask->format != ACC_FMT_W2S) continue;
        const size_t tiles = acc_weight_tiles_bytes(w);
        memcpy(*at + tiles, w->rscale, acc_weight_bytes(w) - tiles);
        mask_matrix(w, mask, rows[i], cols[i], *at, ints, keep);
        acc_weight_bind(w, *at);
        *at += acc_round_up(acc_weight_bytes(w), ACC_ALIGN);
    }
    return ACCLLM_OK;
}

accllm_status acc_mask_apply(void *model, acc_packed *w8, accllm_error *err)
{
    const acc_packed *m = model;
    accllm_status status;
    sizes size;
    void *ints = NULL, *keep = NULL;
    acc_match match = {0};
    uint32_t all;
    ACC_TRY(measure(m, w8, &size, err));
    if (acc_mask_count(m, &all) == 0) return ACCLLM_OK;
    ACC_TRY_GOTO(acc_match_create(&match, &m->hp, err));
    ACC_TRY_GOTO(acc_alloc(&ints, size.ints, 1, "rows of weights", err));
    ACC_TRY_GOTO(acc_alloc(&keep, size.mask, 1, "positions of weights", err));
    uint8_t *at = w8->memory = acc_pages_alloc(size.bytes);
    status = at ? ACCLLM_OK
                : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: masked weights (%.1f MB)", (double)size.bytes / 1e6);
    if (at) w8->memory_bytes = size.bytes;
    for (uint32_t layer = 0; status == ACCLLM_OK && layer < m->hp.n_layers; layer++)
        status = mask_layer(w8, m, layer, &match, &at, ints, keep, err);
fail:
    acc_match_free(&match);
    acc_free(ints);
    acc_free(keep);
    return status;
}
