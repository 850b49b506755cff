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

static accllm_status take_shape(const acc_weight *from, acc_weight *to, accllm_error *err)
{
    return acc_weight_init(to, from->format, from->rows, from->cols, from->group, from->level1, from->level2, err);
}

/* A head of another format than the file's is made anew, of the file's own rows. */
bool acc_run_keeps_head(const acc_run *r)
{
    return !r->p->head || r->head == r->start_file->output.format;
}

/* The formats are the file's. */
static accllm_status take_shapes(acc_run *r, accllm_error *err)
{
    const acc_packed *m = r->start_file;
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++)
        for (int i = 0; i < ACC_N_LINEAR; i++) {
            const acc_weight *w = &m->layers[layer].linear[i];
            acc_tensor_record *record = &r->records[(size_t)layer * ACC_N_LINEAR + i];
            ACC_TRY(take_shape(w, &r->shapes[layer][i], err));
            r->mixed = r->mixed || w->format != m->layers[0].q.format || w->group != m->layers[0].linear[i].group;
            *record = (acc_tensor_record){.level1 = w->level1, .level2 = w->level2};
        }
    memcpy(r->plan.linear, r->shapes[0], sizeof r->plan.linear);
    r->weights = m->layers[0].q.format;
    if (!acc_run_keeps_head(r)) return ACCLLM_OK;
    r->head = m->output.format;
    ACC_TRY(take_shape(&m->embd, &r->plan.embd, err));
    return r->hp->tied ? ACCLLM_OK : take_shape(&m->output, &r->plan.output, err);
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
    if (!same_model(&m->hp, r->hp))
        return acc_fail(err, ACCLLM_E_ARG, "%s: not of the shape of %s", p->start_path, r->src_path);
    ACC_TRY(acc_packed_source(&r->start_source, m, err));
    r->head_source = r->start_source;
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

static accllm_status copy_head(acc_run *r, float *vectors, accllm_error *err)
{
    const acc_packed *m = r->start_file;
    const uint32_t n = r->hp->n_embd;
    acc_layer_data d = acc_run_head_sizes(r);
    memcpy(vectors, m->output_norm, n * sizeof *vectors);
    for (uint32_t j = 0; j < n; j++) vectors[n + j] = m->embd_scale ? m->embd_scale[j] : 1;
    d.blob[0] = m->embd.data;
    d.blob[1] = r->hp->tied ? NULL : m->output.data;
    d.vectors = vectors;
    ACC_TRY(acc_work_save_layer(&r->work, ACC_WORK_SOLVED, r->hp->n_layers, &d, err));
    r->head_done = true;
    return ACCLLM_OK;
}

accllm_status acc_run_copy_start(acc_run *r, accllm_error *err)
{
    const uint32_t n = r->n_vectors > 2 * r->hp->n_embd ? r->n_vectors : 2 * r->hp->n_embd;
    void *vectors;
    ACC_TRY(acc_alloc(&vectors, n, sizeof(float), "a layer's vectors", err));
    accllm_status s = ACCLLM_OK;
    for (uint32_t layer = r->resumed; s == ACCLLM_OK && layer < r->hp->n_layers; layer++) {
        acc_layer_data d = acc_run_layer_sizes(r, layer);
        memcpy(d.record, r->records + (size_t)layer * ACC_N_LINEAR, sizeof d.record);
        for (int i = 0; i < ACC_N_LINEAR; i++) d.blob[i] = r->start_file->layers[layer].linear[i].data;
        take_vectors(r, layer, vectors);
        d.vectors = vectors;
        s = acc_work_save_layer(&r->work, ACC_WORK_SOLVED, layer, &d, err);
    }
    if (s == ACCLLM_OK && !r->head_done && acc_run_keeps_head(r)) s = copy_head(r, vectors, err);
    acc_free(vectors);
    return s;
}
