/* Float weights read from a source: one layer, or a whole model. */
#include "reference/internal.h"

/* *out stays NULL when the source lacks an optional tensor. */
static accllm_status read_tensor(float **out, const acc_source *src, acc_tensor_id id, uint32_t layer, bool optional,
                                 accllm_error *err)
{
    char name[64];
    uint64_t rows, cols;
    size_t floats;
    if (!src->has(src, id, layer)) {
        if (optional) return ACCLLM_OK;
        acc_tensor_name(name, sizeof name, id, layer, "weight");
        return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s is missing", name);
    }
    acc_tensor_shape(&src->hp, id, &rows, &cols);
    acc_tensor_name(name, sizeof name, id, layer, "weight");
    if (rows > SIZE_MAX || cols > SIZE_MAX || !acc_mul((size_t)rows, (size_t)cols, &floats))
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: %s", name);
    ACC_TRY(acc_alloc((void **)out, floats, sizeof **out, name, err));
    return src->read_rows(src, id, layer, 0, rows, *out, err);
}

accllm_status acc_ref_layer_load(acc_ref_layer *l, const acc_source *src, uint32_t layer, accllm_error *err)
{
    *l = (acc_ref_layer){0};
    const struct {
        float **at;
        acc_tensor_id id;
    } parts[] = {{&l->attn_norm, ACC_T_ATTN_NORM},
                 {&l->ffn_norm, ACC_T_FFN_NORM},
                 {&l->q, ACC_T_ATTN_Q},
                 {&l->k, ACC_T_ATTN_K},
                 {&l->v, ACC_T_ATTN_V},
                 {&l->o, ACC_T_ATTN_OUT},
                 {&l->gate, ACC_T_FFN_GATE},
                 {&l->up, ACC_T_FFN_UP},
                 {&l->down, ACC_T_FFN_DOWN},
                 {&l->q_bias, ACC_T_ATTN_Q_BIAS},
                 {&l->k_bias, ACC_T_ATTN_K_BIAS},
                 {&l->v_bias, ACC_T_ATTN_V_BIAS}};
    accllm_status s = ACCLLM_OK;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && s == ACCLLM_OK; i++)
        s = read_tensor(parts[i].at, src, parts[i].id, layer, parts[i].id >= ACC_T_ATTN_Q_BIAS, err);
    if (s != ACCLLM_OK) acc_ref_layer_free(l);
    return s;
}

void acc_ref_layer_free(acc_ref_layer *l)
{
    float *all[] = {l->attn_norm, l->ffn_norm, l->q,    l->k,      l->v,      l->o,
                    l->gate,      l->up,       l->down, l->q_bias, l->k_bias, l->v_bias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) acc_free(all[i]);
    *l = (acc_ref_layer){0};
}

static accllm_status load(acc_ref_model *m, const acc_source *src, accllm_error *err)
{
    ACC_TRY(read_tensor(&m->embd, src, ACC_T_TOKEN_EMBD, 0, false, err));
    if (!m->hp.tied) ACC_TRY(read_tensor(&m->output, src, ACC_T_OUTPUT, 0, false, err));
    ACC_TRY(read_tensor(&m->output_norm, src, ACC_T_OUTPUT_NORM, 0, false, err));
    ACC_TRY(acc_alloc((void **)&m->layers, m->hp.n_layers, sizeof *m->layers, "layers", err));
    ACC_TRY(acc_ref_load_page(m, src, err));
    for (uint32_t i = 0; i < m->hp.n_layers; i++) {
        ACC_TRY(acc_check_abort(m->rt, err));
        ACC_TRY(acc_ref_layer_load(&m->layers[i], src, i, err));
    }
    return ACCLLM_OK;
}

accllm_status acc_ref_model_create(acc_ref_model **out, accllm_runtime *rt, const acc_source *src, accllm_error *err)
{
    *out = NULL;
    const acc_hparams *hp = &src->hp;
    if (hp->n_layers == 0 || hp->n_kv_heads == 0 || hp->n_heads % hp->n_kv_heads != 0 || hp->head_dim < 2 ||
        hp->head_dim % 2 != 0 || hp->head_dim > ACC_MAX_HEAD_DIM)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%u layers, %u heads over %u KV heads of %u dimensions",
                        hp->n_layers, hp->n_heads, hp->n_kv_heads, hp->head_dim);
    acc_ref_model *m = acc_calloc(1, sizeof *m);
    if (!m) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: float model");
    m->rt = rt;
    m->hp = *hp;
    accllm_status s = load(m, src, err);
    if (s != ACCLLM_OK)
        acc_ref_model_free(&m);
    else
        *out = m;
    return s;
}

void acc_ref_model_free(acc_ref_model **model)
{
    acc_ref_model *m = *model;
    if (!m) return;
    for (uint32_t i = 0; m->layers && i < m->hp.n_layers; i++) acc_ref_layer_free(&m->layers[i]);
    acc_free(m->layers);
    acc_free(m->k_mean);
    acc_free(m->q_direction);
    acc_free(m->embd);
    acc_free(m->output);
    acc_free(m->output_norm);
    acc_free(m);
    *model = NULL;
}
