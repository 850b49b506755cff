/* What a model says about itself: shapes, parameters, bytes. */
#include <stdio.h>
#include <string.h>

#include "core/runtime.h"
#include "engine/internal.h"
#include "kernels/kernels.h"

typedef struct sums {
    uint64_t params, linear_params, bytes, linear_bytes, head_bytes;
} sums;

static void add_tensor(sums *s, const acc_hparams *hp, acc_tensor_id id, uint64_t bytes)
{
    uint64_t rows, cols;
    acc_tensor_shape(hp, id, &rows, &cols);
    s->params += rows * cols;
    s->bytes += bytes;
    if (acc_tensor_is_linear(id)) {
        s->linear_params += rows * cols;
        s->linear_bytes += bytes;
    }
    if (id == ACC_T_OUTPUT || (id == ACC_T_TOKEN_EMBD && hp->tied)) s->head_bytes = bytes;
}

static void add_floats(sums *s, const acc_hparams *hp, acc_tensor_id id)
{
    uint64_t rows, cols;
    acc_tensor_shape(hp, id, &rows, &cols);
    add_tensor(s, hp, id, rows * cols * sizeof(float));
}

static void finish(accllm_model_info *info, const acc_hparams *hp, const sums *s)
{
    (void)snprintf(info->name, sizeof info->name, "%s", hp->name);
    (void)snprintf(info->architecture, sizeof info->architecture, "%s", hp->arch);
    info->n_layers = hp->n_layers;
    info->n_embd = hp->n_embd;
    info->n_ff = hp->n_ff;
    info->n_heads = hp->n_heads;
    info->n_kv_heads = hp->n_kv_heads;
    info->head_dim = hp->head_dim;
    info->n_vocab = hp->n_vocab;
    info->n_ctx_train = hp->n_ctx_train;
    info->n_params = s->params;
    info->n_linear_params = s->linear_params;
    info->linear_bytes = s->linear_bytes;
    info->head_bytes = s->head_bytes;
    info->bits_per_weight = s->linear_params ? 8.0 * (double)s->linear_bytes / (double)s->linear_params : 0;
    info->bits_per_weight_total = s->params ? 8.0 * (double)s->bytes / (double)s->params : 0;
}

void acc_info_packed(accllm_model_info *info, const acc_packed *m)
{
    sums s = {0};
    const acc_hparams *hp = &m->hp;
    add_tensor(&s, hp, ACC_T_TOKEN_EMBD, acc_weight_bytes(&m->embd));
    if (!hp->tied) add_tensor(&s, hp, ACC_T_OUTPUT, acc_weight_bytes(&m->output));
    add_floats(&s, hp, ACC_T_OUTPUT_NORM);
    if (m->embd_scale) s.bytes += (uint64_t)hp->n_embd * sizeof(float);
    for (uint32_t l = 0; l < hp->n_layers; l++) {
        const acc_packed_layer *p = &m->layers[l];
        for (int i = 0; i < ACC_N_LINEAR; i++)
            add_tensor(&s, hp, (acc_tensor_id)(ACC_T_ATTN_Q + i), acc_weight_bytes(&p->linear[i]));
        add_floats(&s, hp, ACC_T_ATTN_NORM);
        add_floats(&s, hp, ACC_T_FFN_NORM);
        if (p->q_bias) add_floats(&s, hp, ACC_T_ATTN_Q_BIAS);
        if (p->k_bias) add_floats(&s, hp, ACC_T_ATTN_K_BIAS);
        if (p->v_bias) add_floats(&s, hp, ACC_T_ATTN_V_BIAS);
        if (p->q_direction) s.bytes += (uint64_t)hp->n_kv_heads * hp->head_dim * sizeof(float);
        if (p->k_mean) s.bytes += (uint64_t)hp->n_kv_heads * hp->head_dim * sizeof(float);
    }
    info->packed = true;
    info->page = m->page;
    info->default_sinks = m->default_sinks;
    info->default_window = m->default_window;
    info->default_kv_bits = m->default_kv_bits;
    finish(info, hp, &s);
    if (info->file_bytes == 0) info->file_bytes = s.bytes;
}

/* The file's bytes of a tensor; floats where the file is not GGUF. */
static uint64_t source_bytes(const acc_source *src, acc_tensor_id id, uint32_t layer)
{
    char name[96];
    uint64_t rows, cols;
    bool bias = id == ACC_T_ATTN_Q_BIAS || id == ACC_T_ATTN_K_BIAS || id == ACC_T_ATTN_V_BIAS;
    acc_tensor_name(name, sizeof name, id, layer, bias ? "bias" : "weight");
    const acc_gguf_tensor *t = src->meta ? acc_gguf_find(src->meta, name) : NULL;
    if (t) return t->bytes;
    acc_tensor_shape(&src->hp, id, &rows, &cols);
    return rows * cols * sizeof(float);
}

void acc_info_source(accllm_model_info *info, const acc_source *src)
{
    sums s = {0};
    for (int id = 0; id < ACC_T_COUNT; id++) {
        uint32_t n = acc_tensor_is_global((acc_tensor_id)id) ? 1 : src->hp.n_layers;
        for (uint32_t l = 0; l < n; l++)
            if (src->has(src, (acc_tensor_id)id, l))
                add_tensor(&s, &src->hp, (acc_tensor_id)id, source_bytes(src, (acc_tensor_id)id, l));
    }
    finish(info, &src->hp, &s);
    info->default_sinks = info->n_ctx_train > 4 ? 4 : 0;
    info->default_kv_bits = 32;
}

static uint64_t read_bytes(const acc_kernels *k, const acc_weight *w)
{
    const uint64_t tiles = acc_weight_tiles_bytes(w);
    return acc_weight_bytes(w) - tiles + (w->repacked ? k->w[w->format].repack_bytes(w) : tiles);
}

void acc_info_read_bytes(const accllm_model *m, uint64_t *linear, uint64_t *head)
{
    const acc_packed *p = m->packed;
    *linear = m->info.n_linear_params * sizeof(float);
    *head = (uint64_t)m->info.n_vocab * m->info.n_embd * sizeof(float);
    if (m->ref) return;
    *linear = 0;
    for (uint32_t l = 0; l < p->hp.n_layers; l++) {
        for (int i = 0; i < ACC_N_LINEAR; i++) *linear += read_bytes(m->rt->kernels, &p->layers[l].linear[i]);
    }
    *head = read_bytes(m->rt->kernels, &p->output);
}

void acc_info_default_window(accllm_model_info *info)
{
    if (info->default_window) return;
    uint32_t room = info->n_ctx_train > info->default_sinks ? info->n_ctx_train - info->default_sinks : 1;
    info->default_window = room < 2048 ? room : 2048;
}

uint32_t acc_info_window(const accllm_model_info *info, uint32_t sinks)
{
    if (info->n_ctx_train <= sinks) return info->default_window; /* no window fits */
    const uint32_t room = info->n_ctx_train - sinks;
    return info->default_window < room ? info->default_window : room;
}
