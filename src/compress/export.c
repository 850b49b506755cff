/*
 * Plain llama-architecture GGUF of any model, for other engines: matrices in F32 or F16, vectors in F32, Q and K rows
 * put back to interleaved rotary pairs. Rotary scaling becomes rope_freqs.weight.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "accllm/compress.h"
#include "core/memory.h"
#include "core/runtime.h"
#include "model/packed.h"
#include "numerics/numerics.h"

#define PLAIN_THETA 10000.0f

typedef struct exporter {
    const accllm_runtime *rt;
    const acc_source *src;
    acc_gguf_out *out;
    acc_writer w;
    bool f16;
    float theta;
    bool factors; /* rope_freqs.weight is needed */
    float *row;
    uint16_t *half;
} exporter;

static float frequency(float theta, uint32_t j, uint32_t head_dim)
{
    return (float)pow((double)theta, -2.0 * j / head_dim);
}

static accllm_status check_frequencies(const acc_hparams *hp, accllm_error *err)
{
    for (uint32_t j = 0; j < hp->head_dim / 2; j++)
        if (!(hp->rope_freq[j] > 0.0))
            return acc_fail(err, ACCLLM_E_UNSUPPORTED, "rotary pair %" PRIu32 " does not turn: no such GGUF", j);
    return ACCLLM_OK;
}

/* The base whose powers are the model's frequencies, if there is one; else a plain base and factors. */
static void find_theta(exporter *x)
{
    const acc_hparams *hp = &x->src->hp;
    const uint32_t half = hp->head_dim / 2;
    x->theta = PLAIN_THETA;
    if (half > 1) x->theta = (float)pow(hp->rope_freq[half - 1], -(double)hp->head_dim / (2.0 * (half - 1)));
    x->factors = false;
    for (uint32_t j = 0; j < half; j++)
        if (!(fabs((double)frequency(x->theta, j, hp->head_dim) / hp->rope_freq[j] - 1.0) < 1e-6)) x->factors = true;
    if (x->factors) x->theta = PLAIN_THETA;
}

static void put_keys(exporter *x)
{
    const acc_hparams *hp = &x->src->hp;
    acc_gguf_out *o = x->out;
    acc_gguf_out_str(o, "general.architecture", "llama");
    if (hp->name[0]) acc_gguf_out_str(o, "general.name", hp->name);
    acc_gguf_out_u32(o, "general.file_type", x->f16 ? 1 : 0);
    acc_gguf_out_llama(o, hp, x->theta);
    if (hp->attn_scale != (float)(1.0 / sqrt((double)hp->head_dim)))
        acc_gguf_out_f32(o, "llama.attention.scale", hp->attn_scale);
    if (x->src->meta) acc_gguf_out_copy(o, x->src->meta, "tokenizer.");
}

static bool is_matrix(acc_tensor_id id)
{
    return acc_tensor_is_linear(id) || id == ACC_T_TOKEN_EMBD || id == ACC_T_OUTPUT;
}

static void describe(exporter *x, acc_tensor_id id, uint32_t layer)
{
    char name[64];
    uint64_t rows, cols;
    acc_tensor_name(name, sizeof name, id, layer, id >= ACC_T_ATTN_Q_BIAS ? "bias" : "weight");
    acc_tensor_shape(&x->src->hp, id, &rows, &cols);
    acc_gguf_out_tensor(x->out, name, is_matrix(id) && x->f16 ? ACC_GGML_F16 : ACC_GGML_F32, is_matrix(id) ? 2 : 1,
                        (const uint64_t[]){cols, rows});
}

static void join_pairs(float *x, uint64_t n, uint32_t head_dim)
{
    float head[ACC_MAX_HEAD_DIM];
    for (uint64_t h = 0; h < n; h += head_dim) {
        for (uint32_t i = 0; i < head_dim; i++) head[i] = x[h + acc_half_split_row(i, head_dim)];
        memcpy(x + h, head, head_dim * sizeof *x);
    }
}

static accllm_status put_row(exporter *x, acc_tensor_id id, uint32_t layer, uint64_t cols, accllm_error *err)
{
    if (!is_matrix(id) || !x->f16) {
        acc_writer_put(&x->w, x->row, cols * sizeof *x->row);
        return ACCLLM_OK;
    }
    for (uint64_t i = 0; i < cols; i++) {
        x->half[i] = acc_f32_to_f16(x->row[i]);
        if ((x->half[i] & 0x7c00) == 0x7c00)
            return acc_fail(err, ACCLLM_E_NUMERIC, "%s of layer %" PRIu32 ": %g does not fit f16; export as f32",
                            acc_tensor_base(id), layer, (double)x->row[i]);
    }
    acc_writer_put(&x->w, x->half, cols * sizeof *x->half);
    return ACCLLM_OK;
}

static accllm_status put_tensor(exporter *x, acc_tensor_id id, uint32_t layer, accllm_error *err)
{
    const uint32_t head_dim = x->src->hp.head_dim;
    const bool permuted = id == ACC_T_ATTN_Q || id == ACC_T_ATTN_K;
    uint64_t rows, cols;
    acc_tensor_shape(&x->src->hp, id, &rows, &cols);
    ACC_TRY(acc_check_abort(x->rt, err));
    acc_gguf_out_piece_begin(x->out, &x->w);
    for (uint64_t r = 0; r < rows; r++) {
        ACC_TRY(x->src->read_rows(x->src, id, layer, permuted ? acc_half_split_row(r, head_dim) : r, 1, x->row, err));
        if (id == ACC_T_ATTN_Q_BIAS || id == ACC_T_ATTN_K_BIAS) join_pairs(x->row, cols, head_dim);
        ACC_TRY(put_row(x, id, layer, cols, err));
    }
    return acc_gguf_out_piece_end(x->out, &x->w, err);
}

static accllm_status put_factors(exporter *x, accllm_error *err)
{
    const acc_hparams *hp = &x->src->hp;
    for (uint32_t j = 0; j < hp->head_dim / 2; j++)
        x->row[j] = (float)(pow((double)x->theta, -2.0 * j / hp->head_dim) / hp->rope_freq[j]);
    return acc_gguf_out_put(x->out, &x->w, x->row, hp->head_dim / 2 * sizeof *x->row, err);
}

/* Layer by layer, as other writers order them; ids of one layer stand together in acc_tensor_id. */
static accllm_status each_tensor(exporter *x, bool write, accllm_error *err)
{
    for (uint32_t layer = 0; layer < x->src->hp.n_layers; layer++)
        for (int i = layer == 0 ? ACC_T_TOKEN_EMBD : ACC_T_ATTN_NORM; i < ACC_T_COUNT; i++) {
            acc_tensor_id id = (acc_tensor_id)i;
            if (!x->src->has(x->src, id, layer)) continue;
            if (!write)
                describe(x, id, layer);
            else
                ACC_TRY(put_tensor(x, id, layer, err));
        }
    return ACCLLM_OK;
}

static accllm_status run(exporter *x, const char *path, accllm_error *err)
{
    const acc_hparams *hp = &x->src->hp;
    uint64_t widest = hp->n_embd > hp->n_ff ? hp->n_embd : hp->n_ff, q = (uint64_t)hp->n_heads * hp->head_dim;
    void *p;
    ACC_TRY(acc_alloc(&p, widest > q ? widest : q, sizeof *x->row, "row", err));
    x->row = p;
    ACC_TRY(acc_alloc(&p, widest > q ? widest : q, sizeof *x->half, "row", err));
    x->half = p;
    ACC_TRY(check_frequencies(hp, err));
    ACC_TRY(acc_gguf_out_create(&x->out, err));
    find_theta(x);
    put_keys(x);
    if (x->factors)
        acc_gguf_out_tensor(x->out, "rope_freqs.weight", ACC_GGML_F32, 1, (const uint64_t[]){hp->head_dim / 2});
    ACC_TRY(each_tensor(x, false, err));
    ACC_TRY(acc_writer_open(&x->w, path, err));
    ACC_TRY(acc_gguf_out_begin(x->out, &x->w, err));
    if (x->factors) ACC_TRY(put_factors(x, err));
    ACC_TRY(each_tensor(x, true, err));
    return acc_writer_commit(&x->w, err);
}

static accllm_status open_any(acc_source **src, acc_packed **packed, const char *path, accllm_error *err)
{
    acc_gguf *g;
    bool is_packed = false;
    accllm_status s = acc_gguf_open(&g, path, true, err);
    if (s == ACCLLM_OK) {
        is_packed = acc_is_packed(g);
        acc_gguf_free(&g);
    } else if (s != ACCLLM_E_FORMAT) {
        return s;
    }
    if (!is_packed) return acc_checkpoint_open(src, path, true, err); /* a llama2.c file is no GGUF */
    ACC_TRY(acc_packed_open(packed, path, true, false, err));
    return acc_packed_source(src, *packed, err);
}

accllm_status accllm_export(accllm_runtime *rt, const char *model_path, const char *out_path, const char *type,
                            accllm_error *err)
{
    if (!rt || !model_path || !out_path || !type)
        return acc_fail(err, ACCLLM_E_ARG, "export: no runtime, or paths or type not named");
    bool f16 = strcmp(type, "f16") == 0;
    acc_source *src = NULL;
    acc_packed *packed = NULL;
    if (!f16 && strcmp(type, "f32") != 0)
        return acc_fail(err, ACCLLM_E_ARG, "unknown export type %.16s (f32 or f16)", type);
    accllm_status s = open_any(&src, &packed, model_path, err);
    if (s == ACCLLM_OK) {
        exporter x = {.rt = rt, .src = src, .f16 = f16};
        s = run(&x, out_path, err);
        acc_writer_abort(&x.w);
        acc_gguf_out_free(&x.out);
        acc_free(x.row);
        acc_free(x.half);
        src->close(src);
    }
    acc_packed_free(&packed);
    return s;
}
