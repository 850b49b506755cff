#include "tiny_source.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"

typedef struct tiny {
    acc_source src;
    uint64_t seed;
    bool biases, poked;
    acc_tensor_id id;
    uint32_t layer;
    uint64_t row, col;
    float value;
} tiny;

static bool has(const acc_source *s, acc_tensor_id id, uint32_t layer)
{
    const tiny *t = (const tiny *)s;
    if (id == ACC_T_OUTPUT) return !s->hp.tied;
    if (id == ACC_T_ATTN_Q_BIAS || id == ACC_T_ATTN_K_BIAS || id == ACC_T_ATTN_V_BIAS) return t->biases;
    return layer < s->hp.n_layers;
}

static accllm_status read_rows(const acc_source *s, acc_tensor_id id, uint32_t layer, uint64_t row0, uint64_t n_rows,
                               float *out, accllm_error *err)
{
    (void)err;
    const tiny *t = (const tiny *)s;
    uint64_t rows, cols, key = t->seed + 1000 * (uint64_t)id + layer;
    acc_tensor_shape(&s->hp, id, &rows, &cols);
    bool norm = id == ACC_T_OUTPUT_NORM || id == ACC_T_ATTN_NORM || id == ACC_T_FFN_NORM;
    for (uint64_t i = 0; i < n_rows * cols; i++) {
        float x = (float)(acc_random_unit(key, row0 * cols + i) - 0.5);
        out[i] = norm ? 1 + x : id == ACC_T_TOKEN_EMBD ? 2 * x : 0.8f * x;
    }
    if (t->poked && t->id == id && t->layer == layer && t->row >= row0 && t->row < row0 + n_rows)
        out[(t->row - row0) * cols + t->col] = t->value;
    return ACCLLM_OK;
}

static void close_source(acc_source *s)
{
    free(s);
}

acc_source *tiny_source(uint64_t seed, const tiny_shape *o)
{
    tiny *t = calloc(1, sizeof *t);
    if (!t) abort();
    t->seed = seed;
    t->biases = o->biases;
    t->src.has = has;
    t->src.read_rows = read_rows;
    t->src.close = close_source;
    acc_hparams *hp = &t->src.hp;
    *hp = (acc_hparams){.n_layers = 2,
                        .n_embd = 24,
                        .n_ff = 40,
                        .n_heads = o->n_heads,
                        .n_kv_heads = o->n_kv_heads,
                        .head_dim = 8,
                        .n_vocab = 50,
                        .n_ctx_train = 256,
                        .norm_eps = 1e-5f,
                        .tied = o->tied};
    (void)snprintf(hp->name, sizeof hp->name, "tiny");
    (void)snprintf(hp->arch, sizeof hp->arch, "llama");
    acc_hparams_rope(hp, 10000.0, NULL);
    return &t->src;
}

void tiny_source_poke(acc_source *src, acc_tensor_id id, uint32_t layer, uint64_t row, uint64_t col, float value)
{
    tiny *t = (tiny *)src;
    t->poked = true;
    t->id = id;
    t->layer = layer;
    t->row = row;
    t->col = col;
    t->value = value;
}
