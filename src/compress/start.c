/* Recovery that goes on from a packed file of the same model: its codes stand where the solver's would. */
#include <string.h>

#include "compress/pipeline.h"
#include "core/memory.h"

static bool same_model(const acc_hparams *a, const acc_hparams *b)
{
    return a->n_layers == b->n_layers && a->n_embd == b->n_embd && a->n_ff == b->n_ff && a->n_heads == b->n_heads &&
           a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim && a->n_vocab == b->n_vocab &&
           a->tied == b->tied;
}

static bool same_shape(const acc_weight *a, const acc_weight *b)
{
    return a->format == b->format && a->group == b->group && a->rows == b->rows && a->cols == b->cols;
}

/* Of embedding and output; their formats are this run's. */
static bool same_head(const acc_run *r)
{
    const acc_packed *m = r->start_file;
    return same_shape(&m->embd, &r->plan.embd) && (r->hp->tied || same_shape(&m->output, &r->plan.output));
}

/* The formats are the file's. */
static accllm_status take_shapes(acc_run *r, accllm_error *err)
{
    const acc_packed *m = r->start_file;
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++)
        for (int i = 0; i < ACC_N_LINEAR; i++) {
            const acc_weight *w = &m->layers[layer].linear[i];
            acc_tensor_record *record = &r->records[(size_t)layer * ACC_N_LINEAR + i];
            ACC_TRY(acc_weight_init(&r->shapes[layer][i], w->format, w->rows, w->cols, w->group, w->level1, w->level2,
                                    err));
            r->mixed = r->mixed || w->format != m->layers[0].q.format || w->group != m->layers[0].linear[i].group;
            *record = (acc_tensor_record){.level1 = w->level1, .level2 = w->level2};
        }
    memcpy(r->plan.linear, r->shapes[0], sizeof r->plan.linear);
    r->weights = m->layers[0].q.format;
    return ACCLLM_OK;
}

accllm_status acc_run_open_start(acc_run *r, accllm_error *err)
{
    const accllm_compress_params *p = r->p;
    if (!p->start_path) return ACCLLM_OK;
    if (!p->recover_tokens)
        return acc_fail(err, ACCLLM_E_ARG, "%s: a file to start from is for recovery only", p->start_path);
    if (p->weights || p->group || acc_run_has_target(r))
        return acc_fail(err, ACCLLM_E_ARG, "%s: a run that starts from a file keeps its formats", p->start_path);
    ACC_TRY(acc_packed_open(&r->start_file, p->start_path, p->use_mmap, true, err));
    const acc_packed *m = r->start_file;
    if (!same_model(&m->hp, r->hp) || !same_head(r))
        return acc_fail(err, ACCLLM_E_ARG, "%s: not of the shape of %s with a %s head", p->start_path, r->src_path,
                        acc_format_name(r->head));
    if (!p->page) r->plan.page = m->page;
    if (!p->kv_bits) r->plan.kv_bits = m->default_kv_bits;
    return take_shapes(r, err);
}

/* A layer's vectors as the solver would leave them; biases and means that the file lacks are zero. */
static void take_vectors(const acc_run *r, uint32_t layer, float *vectors)
{
    const acc_packed_layer *l = &r->start_file->layers[layer];
    for (int i = 0; i < ACC_VECTORS; i++) {
        const acc_vector_place *p = &r->place[i];
        const float *from = p->id == ACC_T_K_MEAN        ? l->k_mean
                            : p->id == ACC_T_Q_DIRECTION ? l->q_direction
                            : p->id == ACC_T_ATTN_NORM   ? l->attn_norm
                            : p->id == ACC_T_FFN_NORM    ? l->ffn_norm
                            : p->id == ACC_T_ATTN_Q_BIAS ? l->q_bias
                            : p->id == ACC_T_ATTN_K_BIAS ? l->k_bias
                            : p->id == ACC_T_ATTN_V_BIAS ? l->v_bias
                                                         : NULL;
        if (from)
            memcpy(vectors + p->at, from, p->n * sizeof *from);
        else
            memset(vectors + p->at, 0, p->n * sizeof *vectors);
    }
}

accllm_status acc_run_copy_start(acc_run *r, accllm_error *err)
{
    void *vectors;
    ACC_TRY(acc_alloc(&vectors, r->n_vectors, sizeof(float), "a layer's vectors", err));
    accllm_status s = ACCLLM_OK;
    for (uint32_t layer = r->resumed; s == ACCLLM_OK && layer < r->hp->n_layers; layer++) {
        acc_layer_data d = acc_run_layer_sizes(r, layer);
        memcpy(d.record, r->records + (size_t)layer * ACC_N_LINEAR, sizeof d.record);
        for (int i = 0; i < ACC_N_LINEAR; i++) d.blob[i] = r->start_file->layers[layer].linear[i].data;
        take_vectors(r, layer, vectors);
        d.vectors = vectors;
        s = acc_work_save_layer(&r->work, ACC_WORK_SOLVED, layer, &d, err);
    }
    acc_free(vectors);
    return s;
}
