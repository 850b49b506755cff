/* The model's first weights, and its file. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "numerics/numerics.h"
#include "train.h"

#define THETA 10000.0
#define TWO_PI 6.283185307179586

typedef struct random_source {
    acc_source base;
    uint64_t seed;
    double spread;
} random_source;

static bool has(const acc_source *s, acc_tensor_id id, uint32_t layer)
{
    (void)layer;
    return id < ACC_T_ATTN_Q_BIAS && !(id == ACC_T_OUTPUT && s->hp.tied);
}

static bool is_norm(acc_tensor_id id)
{
    return id == ACC_T_OUTPUT_NORM || id == ACC_T_ATTN_NORM || id == ACC_T_FFN_NORM;
}

/* Box and Muller 1958: the i-th of a stream of normal numbers. */
static double normal(uint64_t key, uint64_t i)
{
    const double u = 1 - acc_random_unit(key, 2 * i), v = acc_random_unit(key, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(TWO_PI * v);
}

static accllm_status read_rows(const acc_source *base, acc_tensor_id id, uint32_t layer, uint64_t row0, uint64_t n_rows,
                               float *out, accllm_error *err)
{
    const random_source *s = (const random_source *)base;
    uint64_t rows, cols;
    ACC_TRY(acc_rows_range(&base->hp, id, layer, row0, n_rows, err));
    acc_tensor_shape(&base->hp, id, &rows, &cols);
    const uint64_t key = acc_random(acc_random(s->seed, (uint64_t)id), layer);
    const bool adds = id == ACC_T_ATTN_OUT || id == ACC_T_FFN_DOWN;
    const double sd = adds ? s->spread / sqrt(2.0 * base->hp.n_layers) : s->spread;
    for (uint64_t i = 0; i < n_rows * cols; i++)
        out[i] = is_norm(id) ? 1.0f : (float)(sd * normal(key, row0 * cols + i));
    return ACCLLM_OK;
}

static void close_source(acc_source *s)
{
    acc_free(s);
}

accllm_status train_source_create(acc_source **out, const train_options *o, uint32_t n_vocab, accllm_error *err)
{
    void *p;
    *out = NULL;
    ACC_TRY(acc_alloc(&p, 1, sizeof(random_source), "model", err));
    random_source *s = p;
    s->seed = (uint64_t)o->seed;
    s->spread = o->spread;
    s->base.hp = (acc_hparams){.arch = "llama",
                               .n_layers = (uint32_t)o->layers,
                               .n_embd = (uint32_t)o->dim,
                               .n_ff = (uint32_t)o->ff,
                               .n_heads = (uint32_t)o->heads,
                               .n_kv_heads = (uint32_t)o->kv_heads,
                               .head_dim = (uint32_t)o->head_dim,
                               .n_vocab = n_vocab,
                               .n_ctx_train = (uint32_t)o->context,
                               .norm_eps = 1e-5f,
                               .tied = true};
    acc_hparams_rope(&s->base.hp, THETA, NULL);
    s->base.has = has;
    s->base.read_rows = read_rows;
    s->base.close = close_source;
    accllm_status status = acc_hparams_check(&s->base.hp, err);
    if (status == ACCLLM_OK)
        *out = &s->base;
    else
        acc_free(s);
    return status;
}

static void put_keys(acc_gguf_out *o, const acc_hparams *hp, const train_options *t, const train_vocab *v)
{
    acc_gguf_out_str(o, "general.architecture", "llama");
    acc_gguf_out_str(o, "general.name", t->name);
    if (t->license) acc_gguf_out_str(o, "general.license", t->license);
    acc_gguf_out_u32(o, "general.file_type", t->f32 ? 0 : 1);
    acc_gguf_out_llama(o, hp, (float)THETA);
    train_vocab_write(v, o);
    acc_gguf_out_u32(o, "general.quantization_version", 2);
}

static void describe(acc_gguf_out *o, const acc_train_tensor *t, bool f32)
{
    char name[64];
    const bool matrix = !is_norm(t->id);
    const uint64_t dim[2] = {t->shape.cols, t->shape.rows};
    acc_tensor_name(name, sizeof name, t->id, t->layer, "weight");
    acc_gguf_out_tensor(o, name, matrix && !f32 ? ACC_GGML_F16 : ACC_GGML_F32, matrix ? 2 : 1, dim);
}

/* Rows of Q and K go where files of this architecture have them: rotary pairs interleaved. row: scratch. */
static accllm_status put_tensor(acc_gguf_out *o, acc_writer *w, const acc_hparams *hp, const acc_train_tensor *t,
                                bool f32, uint16_t *row, accllm_error *err)
{
    const uint32_t cols = t->shape.cols;
    const bool permuted = t->id == ACC_T_ATTN_Q || t->id == ACC_T_ATTN_K;
    acc_gguf_out_piece_begin(o, w);
    for (uint32_t r = 0; r < t->shape.rows; r++) {
        const float *x = t->latent + (permuted ? acc_half_split_row(r, hp->head_dim) : r) * (size_t)cols;
        if (f32 || is_norm(t->id)) {
            acc_writer_put(w, x, cols * sizeof *x);
            continue;
        }
        for (uint32_t c = 0; c < cols; c++) row[c] = acc_f32_to_f16(x[c]);
        acc_writer_put(w, row, cols * sizeof *row);
    }
    return acc_gguf_out_piece_end(o, w, err);
}

static accllm_status put_all(acc_gguf_out *o, acc_writer *w, const acc_train_model *m, bool f32, accllm_error *err)
{
    void *row;
    const uint32_t widest = m->hp.n_ff > m->hp.n_embd ? m->hp.n_ff : m->hp.n_embd;
    const uint32_t heads = m->hp.n_heads * m->hp.head_dim;
    ACC_TRY(acc_alloc(&row, heads > widest ? heads : widest, sizeof(uint16_t), "a row", err));
    accllm_status s = acc_gguf_out_begin(o, w, err);
    for (uint32_t i = 0; i < m->n_tensors && s == ACCLLM_OK; i++)
        s = put_tensor(o, w, &m->hp, &m->tensors[i], f32, row, err);
    acc_free(row);
    return s;
}

accllm_status train_model_write(const acc_train_model *m, const train_vocab *v, const train_options *o,
                                accllm_error *err)
{
    acc_gguf_out *out;
    acc_writer w;
    ACC_TRY(acc_gguf_out_create(&out, err));
    put_keys(out, &m->hp, o, v);
    for (uint32_t i = 0; i < m->n_tensors; i++) describe(out, &m->tensors[i], o->f32);
    accllm_status s = acc_writer_open(&w, o->out, err);
    if (s == ACCLLM_OK) {
        s = put_all(out, &w, m, o->f32, err);
        if (s == ACCLLM_OK) s = acc_writer_commit(&w, err);
        acc_writer_abort(&w);
    }
    acc_gguf_out_free(&out);
    return s;
}
