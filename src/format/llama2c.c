/*
 * llama2.c checkpoints, the first layout (v0): seven int32, then float32 tensors, each for all layers, then two tables
 * that readers skip. Rotary pairs are interleaved, theta is 10000, epsilon 1e-5.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "format/checkpoint_internal.h"
#include "format/gguf_internal.h"

#define HEADER_BYTES 28
#define MAGIC_AK42 0x616b3432u /* layouts 1 and 2 */

typedef struct llama2c {
    acc_source base;
    acc_file file;
    acc_gguf *meta;
    uint8_t *meta_bytes;
    uint64_t at[ACC_T_COUNT]; /* byte offset of a tensor's first layer */
} llama2c;

static const acc_tensor_id file_order[] = {
    ACC_T_TOKEN_EMBD, ACC_T_ATTN_NORM, ACC_T_ATTN_Q,   ACC_T_ATTN_K, ACC_T_ATTN_V,      ACC_T_ATTN_OUT,
    ACC_T_FFN_NORM,   ACC_T_FFN_GATE,  ACC_T_FFN_DOWN, ACC_T_FFN_UP, ACC_T_OUTPUT_NORM,
};

/* The header's numbers: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab (negative: own lm_head), seq_len. */
static accllm_status read_header(llama2c *s, accllm_error *err)
{
    acc_hparams *hp = &s->base.hp;
    int32_t h[7];
    if (s->file.size >= 4 && acc_load_u32(s->file.data) == MAGIC_AK42)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "a llama2.c checkpoint of layout 1 or 2 (only layout 0 is read)");
    if (s->file.size < HEADER_BYTES)
        return acc_fail(err, ACCLLM_E_FORMAT, "neither a GGUF file nor a llama2.c checkpoint");
    memcpy(h, s->file.data, sizeof h);
    bool good = h[5] != INT32_MIN;
    for (int i = 0; i < 7; i++) good = good && (h[i] > 0 || (i == 5 && h[i] < 0));
    if (!good || h[0] % h[3] != 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "neither a GGUF file nor a llama2.c checkpoint");
    hp->n_embd = (uint32_t)h[0];
    hp->n_ff = (uint32_t)h[1];
    hp->n_layers = (uint32_t)h[2];
    hp->n_heads = (uint32_t)h[3];
    hp->n_kv_heads = (uint32_t)h[4];
    hp->n_vocab = (uint32_t)abs(h[5]);
    hp->tied = h[5] > 0;
    hp->n_ctx_train = (uint32_t)h[6];
    hp->head_dim = hp->n_embd / hp->n_heads;
    hp->norm_eps = 1e-5f;
    (void)snprintf(hp->arch, sizeof hp->arch, "llama");
    return acc_hparams_check(hp, err);
}

static uint64_t tensor_bytes(const acc_hparams *hp, acc_tensor_id id)
{
    uint64_t rows, cols;
    acc_tensor_shape(hp, id, &rows, &cols);
    return rows * cols * sizeof(float); /* <= 2^41: acc_hparams_check */
}

/* The limits on the sizes keep these sums far below 2^64. */
static accllm_status place_tensors(llama2c *s, accllm_error *err)
{
    const acc_hparams *hp = &s->base.hp;
    uint64_t at = HEADER_BYTES;
    for (size_t i = 0; i < sizeof file_order / sizeof *file_order; i++) {
        acc_tensor_id id = file_order[i];
        s->at[id] = at;
        at += tensor_bytes(hp, id) * (acc_tensor_is_global(id) ? 1 : hp->n_layers);
    }
    at += (uint64_t)hp->n_ctx_train * hp->head_dim * sizeof(float); /* two tables of [seq_len][head_dim / 2] */
    s->at[ACC_T_OUTPUT] = at;
    if (!hp->tied) at += tensor_bytes(hp, ACC_T_OUTPUT);
    if (at == s->file.size) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_FORMAT,
                    "not a llama2.c checkpoint, or a damaged one: %zu bytes, the header tells of %" PRIu64,
                    s->file.size, at);
}

static bool source_has(const acc_source *base, acc_tensor_id id, uint32_t layer)
{
    if (id == ACC_T_OUTPUT) return !base->hp.tied;
    return (unsigned)id < ACC_T_ATTN_Q_BIAS && layer < base->hp.n_layers;
}

static accllm_status source_read(const acc_source *base, acc_tensor_id id, uint32_t layer, uint64_t row0,
                                 uint64_t n_rows, float *out, accllm_error *err)
{
    const llama2c *s = (const llama2c *)base;
    uint64_t rows, cols;
    ACC_TRY(acc_rows_range(&base->hp, id, layer, row0, n_rows, err));
    if (!source_has(base, id, layer))
        return acc_fail(err, ACCLLM_E_ARG, "tensor %s is not in the file", acc_tensor_base(id));
    acc_tensor_shape(&base->hp, id, &rows, &cols);
    const uint8_t *src = s->file.data + s->at[id];
    if (!acc_tensor_is_global(id)) src += layer * tensor_bytes(&base->hp, id);
    bool permuted = id == ACC_T_ATTN_Q || id == ACC_T_ATTN_K;
    for (uint64_t r = 0; r < n_rows; r++) {
        uint64_t row = permuted ? acc_interleaved_row(row0 + r, base->hp.head_dim) : row0 + r;
        memcpy(out + r * cols, src + row * cols * sizeof(float), cols * sizeof(float));
    }
    if (n_rows > 1) acc_file_forget(&s->file, (size_t)(src - s->file.data), (size_t)(rows * cols * sizeof(float)));
    return acc_rows_check(&base->hp, id, layer, row0, n_rows, out, err);
}

static void source_close(acc_source *base)
{
    llama2c *s = (llama2c *)base;
    acc_gguf_free(&s->meta);
    free(s->meta_bytes);
    acc_file_close(&s->file);
    acc_free(s);
}

static void name_from_path(acc_hparams *hp, const char *path)
{
    const char *slash = strrchr(path, '/');
    (void)snprintf(hp->name, sizeof hp->name, "%s", slash ? slash + 1 : path);
}

accllm_status acc_llama2c_open(acc_source **out, acc_file *f, const char *path, accllm_error *err)
{
    accllm_status status;
    void *p;
    ACC_TRY(acc_alloc(&p, 1, sizeof(llama2c), "checkpoint", err));
    llama2c *s = p;
    s->file = *f;
    ACC_TRY_GOTO(read_header(s, err));
    ACC_TRY_GOTO(place_tensors(s, err));
    ACC_TRY_GOTO(acc_llama2c_tokenizer(&s->meta, &s->meta_bytes, path, s->base.hp.n_vocab, err));
    acc_hparams_rope(&s->base.hp, 10000.0, NULL);
    name_from_path(&s->base.hp, path);
    s->base.meta = s->meta;
    s->base.has = source_has;
    s->base.read_rows = source_read;
    s->base.close = source_close;
    *f = (acc_file){0};
    *out = &s->base;
    return ACCLLM_OK;
fail:
    acc_free(s);
    return status;
}
