/* Which tensors a packed model has, their names and order, and where the struct keeps them. */
#include <inttypes.h>
#include <stdio.h>

#include "model/packed_internal.h"

acc_weight *acc_packed_weight(acc_packed *m, acc_tensor_id id, uint32_t layer)
{
    if (id == ACC_T_TOKEN_EMBD) return &m->embd;
    if (id == ACC_T_OUTPUT) return &m->output;
    return acc_tensor_is_linear(id) ? &m->layers[layer].linear[id - ACC_T_ATTN_Q] : NULL;
}

const float **acc_packed_vector(acc_packed *m, acc_tensor_id id, uint32_t layer)
{
    if (id == ACC_T_OUTPUT_NORM) return &m->output_norm;
    if (id == ACC_T_EMBD_SCALE) return &m->embd_scale;
    acc_packed_layer *l = &m->layers[layer];
    if (id == ACC_T_Q_DIRECTION) return &l->q_direction;
    switch (id) {
    case ACC_T_ATTN_NORM:
        return &l->attn_norm;
    case ACC_T_FFN_NORM:
        return &l->ffn_norm;
    case ACC_T_ATTN_Q_BIAS:
        return &l->q_bias;
    case ACC_T_ATTN_K_BIAS:
        return &l->k_bias;
    case ACC_T_ATTN_V_BIAS:
        return &l->v_bias;
    case ACC_T_K_MEAN:
        return &l->k_mean;
    default:
        return NULL;
    }
}

uint32_t acc_packed_n_weights(const acc_hparams *hp)
{
    return (hp->tied ? 1 : 2) + ACC_N_LINEAR * hp->n_layers;
}

void acc_packed_weight_at(const acc_hparams *hp, uint32_t i, acc_tensor_id *id, uint32_t *layer)
{
    uint32_t globals = hp->tied ? 1 : 2;
    *layer = 0;
    if (i < globals) {
        *id = i == 0 ? ACC_T_TOKEN_EMBD : ACC_T_OUTPUT;
        return;
    }
    *layer = (i - globals) / ACC_N_LINEAR;
    *id = (acc_tensor_id)(ACC_T_ATTN_Q + (i - globals) % ACC_N_LINEAR);
}

void acc_packed_vector_name(char *buf, size_t cap, acc_tensor_id id, uint32_t layer)
{
    if (id == ACC_T_EMBD_SCALE)
        (void)snprintf(buf, cap, "token_embd_scale");
    else if (id == ACC_T_K_MEAN)
        (void)snprintf(buf, cap, "blk.%" PRIu32 ".attn_k_mean", layer);
    else if (id == ACC_T_Q_DIRECTION)
        (void)snprintf(buf, cap, "blk.%" PRIu32 ".attn_q_direction", layer);
    else
        acc_tensor_name(buf, cap, id, layer, id >= ACC_T_ATTN_Q_BIAS ? "bias" : NULL);
}

void acc_packed_vector_shape(const acc_hparams *hp, acc_tensor_id id, uint64_t *rows, uint64_t *cols)
{
    if (id < ACC_T_COUNT) {
        acc_tensor_shape(hp, id, rows, cols);
        return;
    }
    *rows = id == ACC_T_EMBD_SCALE ? 1 : hp->n_kv_heads;
    *cols = id == ACC_T_EMBD_SCALE ? hp->n_embd : hp->head_dim;
}

bool acc_packed_is_vector(acc_tensor_id id)
{
    return !acc_tensor_is_linear(id) && id > ACC_T_OUTPUT;
}

bool acc_packed_next(const acc_hparams *hp, uint32_t *state, acc_packed_step *step)
{
    static const acc_tensor_id tied[] = {ACC_T_TOKEN_EMBD, ACC_T_EMBD_SCALE, ACC_T_OUTPUT_NORM};
    static const acc_tensor_id untied[] = {ACC_T_TOKEN_EMBD, ACC_T_OUTPUT, ACC_T_OUTPUT_NORM};
    static const acc_tensor_id layer[] = {
        ACC_T_ATTN_NORM,   ACC_T_ATTN_Q,   ACC_T_ATTN_Q_BIAS, ACC_T_Q_DIRECTION, ACC_T_ATTN_K,
        ACC_T_ATTN_K_BIAS, ACC_T_K_MEAN,   ACC_T_ATTN_V,      ACC_T_ATTN_V_BIAS, ACC_T_ATTN_OUT,
        ACC_T_FFN_NORM,    ACC_T_FFN_GATE, ACC_T_FFN_UP,      ACC_T_FFN_DOWN,
    };
    const uint32_t n = sizeof layer / sizeof *layer;
    uint32_t i = (*state)++;
    if (i < 3) {
        *step = (acc_packed_step){hp->tied ? tied[i] : untied[i], 0};
        return true;
    }
    *step = (acc_packed_step){layer[(i - 3) % n], (i - 3) / n};
    return step->layer < hp->n_layers;
}
