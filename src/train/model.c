/* A model's parameters as trained tensors, and as layers of the float reference. */
#include "train/internal.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

static float **view(acc_train_model *m, const acc_train_tensor *t)
{
    if (acc_tensor_is_global(t->id)) return NULL;
    acc_ref_layer *l = &m->layers[t->layer];
    float **const all[ACC_T_COUNT] = {[ACC_T_ATTN_NORM] = &l->attn_norm,
                                      [ACC_T_FFN_NORM] = &l->ffn_norm,
                                      [ACC_T_ATTN_Q] = &l->q,
                                      [ACC_T_ATTN_K] = &l->k,
                                      [ACC_T_ATTN_V] = &l->v,
                                      [ACC_T_ATTN_OUT] = &l->o,
                                      [ACC_T_FFN_GATE] = &l->gate,
                                      [ACC_T_FFN_UP] = &l->up,
                                      [ACC_T_FFN_DOWN] = &l->down,
                                      [ACC_T_ATTN_Q_BIAS] = &l->q_bias,
                                      [ACC_T_ATTN_K_BIAS] = &l->k_bias,
                                      [ACC_T_ATTN_V_BIAS] = &l->v_bias};
    return all[t->id];
}

static accllm_status add(acc_train_model *m, acc_tensor_id id, uint32_t layer, const acc_weight *coded, bool trained,
                         accllm_error *err)
{
    uint64_t rows, cols;
    acc_tensor_shape(&m->hp, id, &rows, &cols);
    acc_weight plain = {.rows = (uint32_t)rows, .cols = (uint32_t)cols};
    acc_train_tensor *t = &m->tensors[m->n_tensors];
    ACC_TRY(acc_train_tensor_create(t, id, layer, coded ? coded : &plain, coded != NULL, trained, err));
    m->n_tensors++;
    float **at = view(m, t);
    if (at) *at = t->value;
    return ACCLLM_OK;
}

static accllm_status add_layer(acc_train_model *m, const acc_source *src, uint32_t layer, const acc_weight *shapes,
                               bool trained, accllm_error *err)
{
    for (int id = ACC_T_ATTN_NORM; id < ACC_T_COUNT; id++) {
        const bool linear = acc_tensor_is_linear((acc_tensor_id)id);
        if (id >= ACC_T_ATTN_Q_BIAS && !src->has(src, (acc_tensor_id)id, layer)) continue;
        ACC_TRY(add(m, (acc_tensor_id)id, layer, linear && shapes ? &shapes[id - ACC_T_ATTN_Q] : NULL, trained, err));
    }
    return ACCLLM_OK;
}

static accllm_status add_all(acc_train_model *m, const acc_source *src, const acc_weight (*shapes)[ACC_N_LINEAR],
                             const acc_weight *embd, const acc_weight *output, bool trained, accllm_error *err)
{
    const size_t most = 3 + (size_t)m->hp.n_layers * (ACC_T_COUNT - ACC_T_ATTN_NORM);
    const size_t kv = (size_t)m->hp.n_kv_heads * m->hp.head_dim;
    ACC_TRY(acc_alloc((void **)&m->tensors, most, sizeof *m->tensors, "trained parameters", err));
    ACC_TRY(acc_alloc((void **)&m->layers, m->hp.n_layers, sizeof *m->layers, "layers", err));
    ACC_TRY(acc_alloc((void **)&m->k_mean, m->hp.n_layers, kv * sizeof *m->k_mean, "key means", err));
    ACC_TRY(acc_alloc((void **)&m->embd_scale, m->hp.n_embd, sizeof *m->embd_scale, "channel scales", err));
    for (uint32_t i = 0; i < m->hp.n_embd; i++) m->embd_scale[i] = 1;
    ACC_TRY(add(m, ACC_T_TOKEN_EMBD, 0, embd, trained, err));
    if (!m->hp.tied) ACC_TRY(add(m, ACC_T_OUTPUT, 0, output, trained, err));
    ACC_TRY(add(m, ACC_T_OUTPUT_NORM, 0, NULL, trained, err));
    for (uint32_t l = 0; l < m->hp.n_layers; l++)
        ACC_TRY(add_layer(m, src, l, shapes ? shapes[l] : NULL, trained, err));
    return ACCLLM_OK;
}

accllm_status acc_train_model_create(acc_train_model *m, const acc_source *src,
                                     const acc_weight (*shapes)[ACC_N_LINEAR], const acc_weight *embd,
                                     const acc_weight *output, bool trained, accllm_error *err)
{
    *m = (acc_train_model){.hp = src->hp};
    accllm_status s = add_all(m, src, shapes, embd, output, trained, err);
    if (s != ACCLLM_OK) acc_train_model_free(m);
    return s;
}

void acc_train_model_free(acc_train_model *m)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) acc_train_tensor_free(&m->tensors[i]);
    acc_free(m->tensors);
    acc_free(m->layers);
    acc_free(m->k_mean);
    acc_free(m->embd_scale);
    *m = (acc_train_model){0};
}

accllm_status acc_train_model_load(acc_train_model *m, const acc_source *src, accllm_error *err)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        acc_train_tensor *t = &m->tensors[i];
        ACC_TRY(src->read_rows(src, t->id, t->layer, 0, t->shape.rows, t->latent, err));
    }
    return ACCLLM_OK;
}

acc_train_tensor *acc_train_find(const acc_train_model *m, acc_tensor_id id, uint32_t layer)
{
    for (uint32_t i = 0; i < m->n_tensors; i++)
        if (m->tensors[i].id == id && m->tensors[i].layer == layer) return &m->tensors[i];
    return NULL;
}

void acc_train_rates(acc_train_model *m, float relative)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        acc_train_tensor *t = &m->tensors[i];
        const size_t n = acc_train_size(t);
        double sum = 0;
        for (size_t k = 0; k < n; k++) sum += (double)t->latent[k] * (double)t->latent[k];
        t->rate = relative * (float)sqrt(sum / (double)n);
    }
}

void acc_train_quantize_all(acc_pool *pool, acc_train_model *m)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) acc_train_quantize(pool, &m->tensors[i]);
}

uint64_t acc_train_model_bytes(const acc_hparams *hp, bool coded, bool trained)
{
    uint64_t floats = (uint64_t)hp->n_vocab * hp->n_embd * (hp->tied ? 1 : 2);
    for (int id = ACC_T_ATTN_Q; id <= ACC_T_FFN_DOWN; id++) {
        uint64_t rows, cols;
        acc_tensor_shape(hp, (acc_tensor_id)id, &rows, &cols);
        floats += rows * cols * hp->n_layers;
    }
    return floats * 4 * (1 + (coded ? 1 : 0) + (trained ? 2 : 0));
}
