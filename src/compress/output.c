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
    *d = (acc_layer_data){.n_vectors = r->hp->n_embd};
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
    ACC_TRY(
        acc_work_load_layer(&r->work, r->p->recover_tokens ? ACC_WORK_TUNED : ACC_WORK_SOLVED, layer, &r->layer, err));
    r->loaded_layer = layer;
    acc_run_progress(r, 0.98 + 0.02 * layer / r->hp->n_layers, "write");
    return ACCLLM_OK;
}

/* The vectors that the layers stage made; NULL for other tensors. */
static const float *layer_vector(const acc_run *r, acc_tensor_id id, size_t *bytes)
{
    const acc_vector_map *m = &r->map;
    uint32_t at = 0, end = 0;
    switch (id) {
    case ACC_T_COUNT:
        at = m->k_mean, end = m->attn_norm;
        break; /* key means */
    case ACC_T_ATTN_NORM:
        at = m->attn_norm, end = m->ffn_norm;
        break;
    case ACC_T_FFN_NORM:
        at = m->ffn_norm, end = m->q_bias;
        break;
    case ACC_T_ATTN_Q_BIAS:
        at = m->q_bias, end = m->k_bias;
        break;
    case ACC_T_ATTN_K_BIAS:
        at = m->k_bias, end = m->v_bias;
        break;
    case ACC_T_ATTN_V_BIAS:
        at = m->v_bias, end = m->end;
        break;
    default:
        return NULL;
    }
    *bytes = (size_t)(end - at) * sizeof(float);
    return r->layer.vectors + at;
}

static accllm_status fetch(void *user, acc_tensor_id id, uint32_t layer, const void **data, size_t *bytes,
                           accllm_error *err)
{
    acc_run *r = user;
    if (acc_tensor_is_global(id) && r->p->recover_tokens) {
        *data = id == ACC_T_OUTPUT_NORM ? (const void *)r->tuned_head.vectors : r->tuned_head.blob[id == ACC_T_OUTPUT];
        *bytes = id == ACC_T_OUTPUT_NORM ? r->hp->n_embd * sizeof(float) : r->tuned_head.bytes[id == ACC_T_OUTPUT];
        return ACCLLM_OK;
    }
    if (id == ACC_T_TOKEN_EMBD || id == ACC_T_OUTPUT) {
        const acc_weight *shape = id == ACC_T_OUTPUT ? &r->plan.output : &r->plan.embd;
        ACC_TRY(make_head(r, id, shape, err));
        *data = r->head_blob;
        *bytes = acc_weight_bytes(shape);
        return ACCLLM_OK;
    }
    const float *vector = NULL;
    if (!acc_tensor_is_global(id)) {
        ACC_TRY(load_layer(r, layer, err));
        vector = layer_vector(r, id, bytes);
    }
    if (vector) {
        *data = vector;
        return ACCLLM_OK;
    }
    if (!acc_tensor_is_linear(id)) { /* as the source has it */
        uint64_t rows, cols;
        void *p;
        acc_tensor_shape(r->hp, id, &rows, &cols);
        acc_free(r->head_blob);
        r->head_blob = NULL;
        ACC_TRY(acc_alloc(&p, (size_t)cols, sizeof(float), "vector", err));
        r->head_blob = p;
        ACC_TRY(r->src->read_rows(r->src, id, layer, 0, 1, p, err));
        *data = p;
        *bytes = (size_t)cols * sizeof(float);
        return ACCLLM_OK;
    }
    *data = r->layer.blob[id - ACC_T_ATTN_Q];
    *bytes = r->layer.bytes[id - ACC_T_ATTN_Q];
    return ACCLLM_OK;
}

/* Levels were chosen matrix by matrix. */
accllm_status acc_run_shapes(acc_run *r, accllm_error *err)
{
    void *p;
    if (r->shapes) return ACCLLM_OK;
    ACC_TRY(acc_alloc(&p, r->hp->n_layers, sizeof *r->shapes, "shapes", err));
    r->shapes = p;
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++)
        for (int i = 0; i < ACC_LINEARS; i++) {
            const acc_tensor_record *t = &r->records[(size_t)layer * ACC_LINEARS + i];
            acc_weight *w = &r->shapes[layer][i];
            *w = r->plan.linear[i];
            w->level1 = (uint8_t)t->level1;
            w->level2 = (uint8_t)t->level2;
        }
    r->plan.layers = (const acc_weight(*)[ACC_LINEARS])r->shapes;
    return ACCLLM_OK;
}

accllm_status acc_run_write(acc_run *r, accllm_error *err)
{
    acc_run_progress(r, 0.98, "write");
    r->loaded_layer = UINT32_MAX;
    ACC_TRY(acc_run_shapes(r, err));
    if (r->p->recover_tokens) ACC_TRY(acc_run_load_head(r, err));
    accllm_status s = acc_packed_write(&r->plan, r->out_path, fetch, r, err);
    acc_layer_data_close(&r->layer);
    acc_layer_data_close(&r->tuned_head);
    r->loaded_layer = UINT32_MAX;
    acc_free(r->head_blob);
    r->head_blob = NULL;
    return s;
}
