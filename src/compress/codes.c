/* Codes and scales of a block of rows: memory, dequantisation, packing; transposed weights. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "compress/solver.h"
#include "core/memory.h"

static accllm_status codes_alloc(acc_codes *c, accllm_error *err)
{
    void *p;
    ACC_TRY(acc_alloc(&p, c->rows_pad, c->n_units, "codes", err));
    c->codes = p;
    ACC_TRY(acc_alloc(&p, c->rows_pad, c->n_groups, "scales", err));
    c->m = p;
    ACC_TRY(acc_alloc(&p, c->rows_pad, sizeof *c->rscale, "scales", err));
    c->rscale = p;
    ACC_TRY(acc_alloc(&p, (size_t)c->n_groups * c->rows_pad, sizeof *c->scale, "scales", err));
    c->scale = p;
    if (c->format == ACC_FMT_W2S) memset(c->codes, ACC_W2S_ZERO, (size_t)c->rows_pad * c->n_units);
    if (c->format == ACC_FMT_W2) memset(c->codes, ACC_W2_PAD, (size_t)c->rows_pad * c->n_units);
    return ACCLLM_OK;
}

accllm_status acc_codes_create(acc_codes *c, const acc_weight *shape, uint32_t rows, accllm_error *err)
{
    *c = (acc_codes){.format = shape->format, .rows = rows, .cols = shape->cols, .group = shape->group};
    c->rows_pad = (uint32_t)acc_round_up(rows, ACC_TILE_ROWS);
    c->n_groups = shape->col_groups;
    c->unit = acc_code_unit(shape->format);
    c->n_units = shape->col_groups * shape->group / c->unit;
    c->level1 = shape->level1;
    c->level2 = shape->level2;
    c->mmax = shape->format == ACC_FMT_W8 ? 0 : acc_weight_mmax(shape);
    accllm_status s = codes_alloc(c, err);
    if (s != ACCLLM_OK) acc_codes_free(c);
    return s;
}

void acc_codes_free(acc_codes *c)
{
    acc_free(c->codes);
    acc_free(c->m);
    acc_free(c->rscale);
    acc_free(c->scale);
    *c = (acc_codes){0};
}

void acc_codes_dequant_row(const acc_codes *c, uint32_t r, float *out)
{
    const int8_t *codes = c->codes + (size_t)r * c->n_units;
    for (uint32_t t = 0; t * c->unit < c->cols; t++) {
        int8_t q[4] = {codes[t]};
        if (c->format == ACC_FMT_W2S) acc_w2s_quad((uint8_t)codes[t], c->level1, c->level2, q);
        int m = c->mmax ? c->m[(size_t)r * c->n_groups + t * c->unit / c->group] : 1;
        for (uint32_t k = 0; k < c->unit && t * c->unit + k < c->cols; k++)
            out[t * c->unit + k] = (float)(q[k] * m) * c->rscale[r];
    }
}

void acc_codes_pack(const acc_codes *c, const acc_weight *shape, uint8_t *blob, uint32_t first_block)
{
    acc_weight bound = *shape;
    acc_weight_bind(&bound, blob);
    for (uint32_t b = 0; b < c->rows_pad / ACC_TILE_ROWS; b++) {
        size_t row = (size_t)b * ACC_TILE_ROWS;
        acc_weight_pack_block(shape, blob, first_block + b, c->codes + row * c->n_units, c->m + row * c->n_groups);
    }
    size_t offset = (size_t)((const uint8_t *)bound.rscale - blob);
    memcpy(blob + offset + (size_t)first_block * ACC_TILE_ROWS * sizeof(float), c->rscale, c->rows * sizeof(float));
}

typedef struct transpose_job {
    const float *w;
    float *out;
    uint32_t rows, cols, rows_pad;
    _Atomic uint32_t bad_row; /* UINT32_MAX: none */
} transpose_job;

static void transpose_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    transpose_job *t = ctx;
    uint32_t begin, end;
    acc_share(t->rows_pad / ACC_LANES, worker, n_workers, &begin, &end);
    for (uint32_t r = begin * ACC_LANES; r < end * ACC_LANES && r < t->rows; r++) {
        const float *row = t->w + (size_t)r * t->cols;
        float check = 0;
        for (uint32_t j = 0; j < t->cols; j++) {
            check += 0 * row[j];
            t->out[(size_t)j * t->rows_pad + r] = row[j];
        }
        if (check != 0) atomic_store(&t->bad_row, r);
    }
}

accllm_status acc_transpose_weights(acc_pool *pool, const float *w, uint32_t rows, uint32_t cols, float *out,
                                    uint32_t rows_pad, const char *what, accllm_error *err)
{
    transpose_job t = {.w = w, .out = out, .rows = rows, .cols = cols, .rows_pad = rows_pad, .bad_row = UINT32_MAX};
    acc_pool_run(pool, transpose_worker, &t);
    uint32_t bad = atomic_load(&t.bad_row);
    if (bad == UINT32_MAX) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_NUMERIC, "%s: row %u holds a value that is not a number or infinite", what, bad);
}
