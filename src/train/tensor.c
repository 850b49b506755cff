/* One trained parameter: memory, packing and unpacking. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/internal.h"

size_t acc_train_size(const acc_train_tensor *t)
{
    return (size_t)t->shape.rows * t->shape.cols;
}

size_t acc_train_scales(const acc_train_tensor *t)
{
    return t->log_scale ? (size_t)t->shape.rows * t->shape.col_groups : 0;
}

static accllm_status take(float **out, size_t n, accllm_error *err)
{
    return acc_alloc((void **)out, n, sizeof **out, "trained parameters", err);
}

static accllm_status take_all(acc_train_tensor *t, bool trained, accllm_error *err)
{
    const size_t n = acc_train_size(t), scales = (size_t)t->shape.rows * t->shape.col_groups;
    const bool scaled = t->coded && t->shape.format != ACC_FMT_W8;
    ACC_TRY(take(&t->latent, n, err));
    t->value = t->latent;
    if (t->coded) ACC_TRY(take(&t->value, n, err));
    if (scaled) ACC_TRY(take(&t->log_scale, scales, err));
    if (!trained) return ACCLLM_OK;
    ACC_TRY(take(&t->mean, n, err));
    ACC_TRY(take(&t->square, n, err));
    if (!scaled) return ACCLLM_OK;
    ACC_TRY(take(&t->scale_mean, scales, err));
    return take(&t->scale_square, scales, err);
}

accllm_status acc_train_tensor_create(acc_train_tensor *t, acc_tensor_id id, uint32_t layer, const acc_weight *shape,
                                      bool coded, bool trained, accllm_error *err)
{
    *t = (acc_train_tensor){.id = id, .layer = layer, .coded = coded, .shape = *shape};
    if (coded && shape->group > ACC_TRAIN_MAX_GROUP)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "groups of %u: at most %u", shape->group, ACC_TRAIN_MAX_GROUP);
    accllm_status s = take_all(t, trained, err);
    if (s != ACCLLM_OK) acc_train_tensor_free(t);
    return s;
}

void acc_train_tensor_free(acc_train_tensor *t)
{
    if (t->value != t->latent) acc_free(t->value);
    float *all[] = {t->latent, t->log_scale, t->mean, t->square, t->scale_mean, t->scale_square};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
    *t = (acc_train_tensor){0};
}

void acc_train_tensor_unpack(acc_train_tensor *t, const acc_weight *packed)
{
    const acc_weight *s = packed;
    uint8_t m[ACC_TILE_ROWS];
    t->shape.level1 = s->level1;
    t->shape.level2 = s->level2;
    for (uint32_t r = 0; r < s->rows; r++) acc_weight_dequant_row(s, r, t->latent + (size_t)r * s->cols);
    if (!t->log_scale) return;
    const size_t tile = acc_weight_tile_bytes(s);
    for (uint32_t g = 0; g < s->col_groups; g++)
        for (uint32_t r = 0; r < s->rows; r++) {
            if (r % ACC_TILE_ROWS == 0)
                memcpy(m, acc_weight_tile(s, tile, g, r / ACC_TILE_ROWS) + tile - ACC_TILE_ROWS, sizeof m);
            /* A group without a scale gets a small one: it may find a use. */
            const float scale = s->rscale[r] * (float)(m[r % ACC_TILE_ROWS] ? m[r % ACC_TILE_ROWS] : 1);
            t->log_scale[(size_t)r * s->col_groups + g] = logf(scale > 1e-12f ? scale : 1e-12f);
        }
}

/* W2S: one code per quad. */
static void to_units(const acc_weight *s, const int8_t *ints, int8_t *codes)
{
    const size_t n = (size_t)s->col_groups * s->group;
    if (s->format != ACC_FMT_W2S) {
        memcpy(codes, ints, n);
        return;
    }
    for (size_t i = 0; i < n; i += 4) {
        const int code = acc_w2s_code(ints + i, s->level1, s->level2);
        codes[i / 4] = (int8_t)(code < 0 ? ACC_W2S_ZERO : code);
    }
}

accllm_status acc_train_tensor_pack(const acc_train_tensor *t, uint8_t *blob, accllm_error *err)
{
    const acc_weight *s = &t->shape;
    const size_t cols = (size_t)s->col_groups * s->group, units = s->format == ACC_FMT_W2S ? cols / 4 : cols;
    acc_weight bound = *s;
    int8_t *codes = NULL, *ints = NULL;
    uint8_t *m = NULL;
    ACC_TRY(acc_alloc((void **)&codes, ACC_TILE_ROWS, units, "codes", err));
    accllm_status st = acc_alloc((void **)&ints, 1, cols, "codes", err);
    if (st == ACCLLM_OK) st = acc_alloc((void **)&m, ACC_TILE_ROWS, s->col_groups, "scales", err);
    acc_weight_bind(&bound, blob);
    float *rscale = (float *)(void *)(blob + ((const uint8_t *)bound.rscale - blob));
    for (uint32_t b = 0; st == ACCLLM_OK && b < s->row_blocks; b++) {
        memset(m, 0, (size_t)ACC_TILE_ROWS * s->col_groups);
        memset(codes, s->format == ACC_FMT_W2S ? ACC_W2S_ZERO : 0, ACC_TILE_ROWS * units);
        for (uint32_t r = 0; r < ACC_TILE_ROWS && b * ACC_TILE_ROWS + r < s->rows; r++) {
            const uint32_t row = b * ACC_TILE_ROWS + r;
            acc_train_row_codes(t, row, ints, m + (size_t)r * s->col_groups, &rscale[row]);
            to_units(s, ints, codes + r * units);
        }
        acc_weight_pack_block(s, blob, b, codes, m);
    }
    acc_free(codes);
    acc_free(ints);
    acc_free(m);
    return st;
}
