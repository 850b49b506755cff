/* The packed file out of the work folder, and the report beside it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compress/pipeline.h"
#include "core/clock.h"
#include "core/memory.h"

#define ROWS_AT_ONCE 1024 /* a multiple of 64 */

/* lm_head's columns carry the scaling of head.c; a tied embedding is lm_head. */
static void scale_head(const acc_run *r, acc_tensor_id id, float *x, uint32_t rows)
{
    const uint32_t n = r->hp->n_embd;
    if (id != ACC_T_OUTPUT && !r->hp->tied) return;
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < n; j++) x[(size_t)i * n + j] *= r->head_scale[j];
}

/* Embedding or lm_head, rounded to nearest row by row in blocks. */
static accllm_status make_head(acc_run *r, acc_tensor_id id, const acc_weight *shape, accllm_error *err)
{
    void *p;
    acc_free(r->head_blob);
    r->head_blob = NULL;
    ACC_TRY(acc_alloc(&p, acc_weight_bytes(shape), 1, "packed embedding", err));
    r->head_blob = p;
    ACC_TRY(acc_alloc(&p, (size_t)ROWS_AT_ONCE * shape->cols, sizeof(float), "embedding rows", err));
    accllm_status s = ACCLLM_OK;
    for (uint32_t row = 0; s == ACCLLM_OK && row < shape->rows; row += ROWS_AT_ONCE) {
        const uint32_t n = shape->rows - row < ROWS_AT_ONCE ? shape->rows - row : ROWS_AT_ONCE;
        const acc_quantize_params params = {0};
        acc_quantize_stats stats;
        acc_weight part = *shape;
        acc_codes c = {0};
        s = acc_check_abort(r->rt, err);
        if (s == ACCLLM_OK) s = r->src->read_rows(r->src, id, 0, row, n, p, err);
        if (s == ACCLLM_OK) scale_head(r, id, p, n);
        if (s == ACCLLM_OK) s = acc_codes_create(&c, shape, n, err);
        if (s == ACCLLM_OK)
            s = acc_quantize(r->rt->pool, &params, &part, p, NULL, &c, &stats, acc_tensor_base(id), err);
        if (s == ACCLLM_OK) acc_codes_pack(&c, shape, r->head_blob, row / ACC_TILE_ROWS);
        acc_codes_free(&c);
    }
    acc_free(p);
    return s;
}

accllm_status acc_run_load_head(acc_run *r, accllm_error *err)
{
    acc_layer_data *d = &r->tuned_head;
    acc_layer_data_close(d);
    *d = (acc_layer_data){.n_vectors = 2 * r->hp->n_embd};
    d->bytes[0] = acc_weight_bytes(&r->plan.embd);
    d->bytes[1] = r->hp->tied ? 0 : acc_weight_bytes(&r->plan.output);
    return acc_work_load_layer(&r->work, ACC_WORK_TUNED, r->hp->n_layers, d, err);
}

static accllm_status load_layer(acc_run *r, uint32_t layer, accllm_error *err)
{
    if (r->loaded_layer == layer) return ACCLLM_OK;
    acc_layer_data_close(&r->layer);
    r->loaded_layer = UINT32_MAX;
    ACC_TRY(acc_check_abort(r->rt, err));
    r->layer = acc_run_layer_sizes(r, layer);
    ACC_TRY(
        acc_work_load_layer(&r->work, r->p->recover_tokens ? ACC_WORK_TUNED : ACC_WORK_SOLVED, layer, &r->layer, err));
    r->loaded_layer = layer;
    return ACCLLM_OK;
}

/* The output norm and the embedding's scale: both divided by what lm_head was multiplied by. */
static accllm_status head_vector(acc_run *r, acc_tensor_id id, const void **data, size_t *bytes, accllm_error *err)
{
    const uint32_t n = r->hp->n_embd;
    void *p;
    acc_free(r->head_blob);
    r->head_blob = NULL;
    ACC_TRY(acc_alloc(&p, n, sizeof(float), "vector", err));
    r->head_blob = p;
    float *x = p;
    for (uint32_t j = 0; j < n; j++) x[j] = 1;
    if (id == ACC_T_OUTPUT_NORM) ACC_TRY(r->src->read_rows(r->src, id, 0, 0, 1, x, err));
    for (uint32_t j = 0; j < n; j++) x[j] /= r->head_scale[j];
    *data = p;
    *bytes = n * sizeof(float);
    return ACCLLM_OK;
}

/* What recovery left of the tensors outside of layers. */
static accllm_status tuned_head(const acc_run *r, acc_tensor_id id, const void **data, size_t *bytes)
{
    const acc_layer_data *d = &r->tuned_head;
    const bool vector = id == ACC_T_OUTPUT_NORM || id == ACC_T_EMBD_SCALE;
    *data = vector ? (const void *)(d->vectors + (id == ACC_T_EMBD_SCALE ? r->hp->n_embd : 0))
                   : d->blob[id == ACC_T_OUTPUT];
    *bytes = vector ? r->hp->n_embd * sizeof(float) : d->bytes[id == ACC_T_OUTPUT];
    return ACCLLM_OK;
}

static accllm_status fetch(void *user, acc_tensor_id id, uint32_t layer, const void **data, size_t *bytes,
                           accllm_error *err)
{
    acc_run *r = user;
    if (r->p->recover_tokens && (acc_tensor_is_global(id) || id == ACC_T_EMBD_SCALE))
        return tuned_head(r, id, data, bytes);
    if (id == ACC_T_TOKEN_EMBD || id == ACC_T_OUTPUT) {
        const acc_weight *shape = id == ACC_T_OUTPUT ? &r->plan.output : &r->plan.embd;
        ACC_TRY(make_head(r, id, shape, err));
        *data = r->head_blob;
        *bytes = acc_weight_bytes(shape);
        return ACCLLM_OK;
    }
    if (id == ACC_T_OUTPUT_NORM || id == ACC_T_EMBD_SCALE) return head_vector(r, id, data, bytes, err);
    if (r->loaded_layer != layer) acc_run_progress(r, 0.98 + 0.02 * layer / r->hp->n_layers, "write");
    ACC_TRY(load_layer(r, layer, err));
    const acc_vector_place place = acc_run_vector(r, id);
    *data = acc_tensor_is_linear(id) ? (const void *)r->layer.blob[id - ACC_T_ATTN_Q] : r->layer.vectors + place.at;
    *bytes = acc_tensor_is_linear(id) ? r->layer.bytes[id - ACC_T_ATTN_Q] : place.n * sizeof(float);
    return ACCLLM_OK;
}

void acc_run_take_levels(acc_run *r)
{
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++)
        for (int i = 0; i < ACC_N_LINEAR; i++) {
            const acc_tensor_record *t = &r->records[(size_t)layer * ACC_N_LINEAR + i];
            r->shapes[layer][i].level1 = (uint8_t)t->level1;
            r->shapes[layer][i].level2 = (uint8_t)t->level2;
        }
}

/* The last layer's record has the scaling of lm_head. */
static accllm_status load_head_scale(acc_run *r, accllm_error *err)
{
    const uint32_t n = r->hp->n_embd;
    void *p;
    ACC_TRY(acc_alloc(&p, n, sizeof(float), "channel scales", err));
    r->head_scale = p;
    ACC_TRY(load_layer(r, r->hp->n_layers - 1, err));
    memcpy(r->head_scale, r->layer.vectors + acc_run_vector(r, ACC_T_EMBD_SCALE).at, n * sizeof(float));
    return ACCLLM_OK;
}

accllm_status acc_run_write(acc_run *r, accllm_error *err)
{
    acc_run_progress(r, 0.98, "write");
    r->loaded_layer = UINT32_MAX;
    acc_run_take_levels(r);
    r->plan.layers = (const acc_weight(*)[ACC_N_LINEAR])r->shapes;
    ACC_TRY(r->p->recover_tokens ? acc_run_load_head(r, err) : load_head_scale(r, err));
    accllm_status s = acc_packed_write(&r->plan, r->out_path, fetch, r, err);
    acc_layer_data_close(&r->layer);
    acc_layer_data_close(&r->tuned_head);
    r->loaded_layer = UINT32_MAX;
    acc_free(r->head_blob);
    r->head_blob = NULL;
    return s;
}
