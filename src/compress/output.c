/* The packed file out of the work folder. */
#include "compress/pipeline.h"

/* What the output is made of. */
static acc_work_kind kind(const acc_run *r)
{
    return r->p->recover_tokens ? ACC_WORK_TUNED : ACC_WORK_SOLVED;
}

static accllm_status load_layer(acc_run *r, uint32_t layer, accllm_error *err)
{
    if (r->loaded_layer == layer) return ACCLLM_OK;
    acc_layer_data_close(&r->layer);
    r->loaded_layer = UINT32_MAX;
    ACC_TRY(acc_check_abort(r->rt, err));
    r->layer = acc_run_layer_sizes(r, layer);
    ACC_TRY(acc_work_load_layer(&r->work, kind(r), layer, &r->layer, err));
    r->loaded_layer = layer;
    return ACCLLM_OK;
}

static void fetch_outside(const acc_run *r, acc_tensor_id id, const void **data, size_t *bytes)
{
    const acc_layer_data *d = &r->outside;
    const bool vector = id == ACC_T_OUTPUT_NORM || id == ACC_T_EMBD_SCALE;
    *data = vector ? (const void *)(d->vectors + (id == ACC_T_EMBD_SCALE ? r->hp->n_embd : 0))
                   : d->blob[id == ACC_T_OUTPUT];
    *bytes = vector ? r->hp->n_embd * sizeof(float) : d->bytes[id == ACC_T_OUTPUT];
}

static accllm_status fetch(void *user, acc_tensor_id id, uint32_t layer, const void **data, size_t *bytes,
                           accllm_error *err)
{
    acc_run *r = user;
    if (acc_tensor_is_global(id) || id == ACC_T_EMBD_SCALE) {
        fetch_outside(r, id, data, bytes);
        return ACCLLM_OK;
    }
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

accllm_status acc_run_write(acc_run *r, accllm_error *err)
{
    acc_run_progress(r, 0.98, "write");
    r->loaded_layer = UINT32_MAX;
    acc_run_take_levels(r);
    r->plan.layers = (const acc_weight(*)[ACC_N_LINEAR])r->shapes;
    ACC_TRY(acc_run_load_head(r, kind(r), err));
    accllm_status s = acc_packed_write(&r->plan, r->out_path, fetch, r, err);
    acc_layer_data_close(&r->layer);
    acc_layer_data_close(&r->outside);
    r->loaded_layer = UINT32_MAX;
    return s;
}
