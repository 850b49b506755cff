/*
 * Llama-architecture GGUF files (and Qwen2: the same block with biases on q, k, v). What the block does not compute is
 * refused by name: a key that would change the result, a tensor that has no place.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "format/checkpoint_internal.h"
#include "format/gguf_internal.h"

typedef struct gguf_source {
    acc_source base;
    acc_gguf *g;
    bool interleaved; /* Q and K rows stand for interleaved rotary pairs */
} gguf_source;

/* "llama.block_count" and so on: keys carry the architecture's name. */
static const char *arch_key(char buf[96], const acc_hparams *hp, const char *name)
{
    (void)snprintf(buf, 96, "%s.%s", hp->arch, name);
    return buf;
}

static accllm_status need_u32(const acc_gguf *g, const acc_hparams *hp, const char *name, uint32_t *out,
                              accllm_error *err)
{
    char key[96];
    if (acc_gguf_u32(g, arch_key(key, hp, name), out)) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_FORMAT, "%s is missing or not a number", key);
}

/* Absent: *out stays as it is. */
static accllm_status want_u32(const acc_gguf *g, const acc_hparams *hp, const char *name, uint32_t *out,
                              accllm_error *err)
{
    char key[96];
    return acc_gguf_has(g, arch_key(key, hp, name)) ? need_u32(g, hp, name, out, err) : ACCLLM_OK;
}

static accllm_status want_f64(const acc_gguf *g, const acc_hparams *hp, const char *name, double *out,
                              accllm_error *err)
{
    char key[96];
    if (!acc_gguf_has(g, arch_key(key, hp, name))) return ACCLLM_OK;
    if (acc_gguf_f64(g, key, out) && isfinite(*out)) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_FORMAT, "%s is not a finite number", key);
}

static bool str_is(acc_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}

static accllm_status read_arch(gguf_source *s, accllm_error *err)
{
    acc_hparams *hp = &s->base.hp;
    acc_str arch, name;
    if (!acc_gguf_str(s->g, "general.architecture", &arch))
        return acc_fail(err, ACCLLM_E_FORMAT, "general.architecture is missing");
    if (acc_is_packed(s->g)) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "already a packed AccLLM file");
    if (!str_is(arch, "llama") && !str_is(arch, "qwen2"))
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "architecture %.*s (llama and qwen2 are read)",
                        arch.n < 32 ? (int)arch.n : 32, arch.s);
    s->interleaved = str_is(arch, "llama");
    (void)snprintf(hp->arch, sizeof hp->arch, "%.*s", (int)arch.n, arch.s);
    if (acc_gguf_str(s->g, "general.name", &name))
        (void)snprintf(hp->name, sizeof hp->name, "%.*s", name.n < sizeof hp->name ? (int)name.n : 127, name.s);
    return ACCLLM_OK;
}

/* Keys of relatives of this architecture that change what is computed. */
static accllm_status refuse_variants(const acc_gguf *g, const acc_hparams *hp, accllm_error *err)
{
    static const char *const names[] = {"logit_scale",
                                        "residual_scale",
                                        "embedding_scale",
                                        "attention.clamp_kqv",
                                        "attn_logit_softcapping",
                                        "final_logit_softcapping",
                                        "attention.sliding_window"};
    char key[96];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (acc_gguf_has(g, arch_key(key, hp, names[i])))
            return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s is set: this variant is not supported", key);
    uint32_t experts = 0;
    ACC_TRY(want_u32(g, hp, "expert_count", &experts, err));
    if (experts) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "a mixture of %" PRIu32 " experts", experts);
    return ACCLLM_OK;
}

static accllm_status read_sizes(gguf_source *s, accllm_error *err)
{
    acc_hparams *hp = &s->base.hp;
    const acc_gguf *g = s->g;
    double eps = 1e-5;
    ACC_TRY(need_u32(g, hp, "block_count", &hp->n_layers, err));
    ACC_TRY(need_u32(g, hp, "embedding_length", &hp->n_embd, err));
    ACC_TRY(need_u32(g, hp, "feed_forward_length", &hp->n_ff, err));
    ACC_TRY(need_u32(g, hp, "context_length", &hp->n_ctx_train, err));
    ACC_TRY(need_u32(g, hp, "attention.head_count", &hp->n_heads, err));
    hp->n_kv_heads = hp->n_heads;
    ACC_TRY(want_u32(g, hp, "attention.head_count_kv", &hp->n_kv_heads, err));
    ACC_TRY(want_f64(g, hp, "attention.layer_norm_rms_epsilon", &eps, err));
    hp->norm_eps = (float)eps;
    if (hp->n_heads == 0) return acc_fail(err, ACCLLM_E_FORMAT, "no attention heads");
    uint32_t key_length = hp->n_embd / hp->n_heads, value_length, rope_dim;
    bool whole = hp->n_embd % hp->n_heads == 0;
    char key[96];
    if (!whole && !acc_gguf_has(g, arch_key(key, hp, "attention.key_length")))
        return acc_fail(err, ACCLLM_E_FORMAT, "%" PRIu32 " heads do not divide the width %" PRIu32, hp->n_heads,
                        hp->n_embd);
    ACC_TRY(want_u32(g, hp, "attention.key_length", &key_length, err));
    value_length = rope_dim = key_length;
    ACC_TRY(want_u32(g, hp, "attention.value_length", &value_length, err));
    ACC_TRY(want_u32(g, hp, "rope.dimension_count", &rope_dim, err));
    if (value_length != key_length || rope_dim != key_length)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED,
                        "keys of %" PRIu32 ", values of %" PRIu32 ", rotary dimensions %" PRIu32 ": must be equal",
                        key_length, value_length, rope_dim);
    hp->head_dim = key_length;
    const acc_gguf_tensor *embd = acc_gguf_find(g, "token_embd.weight");
    if (!embd) return acc_fail(err, ACCLLM_E_FORMAT, "tensor token_embd.weight is missing");
    hp->n_vocab = embd->dim[1] <= UINT32_MAX ? (uint32_t)embd->dim[1] : UINT32_MAX;
    hp->tied = acc_gguf_find(g, "output.weight") == NULL;
    return acc_hparams_check(hp, err);
}

/* Divisors of the frequencies: a linear scaling factor, the factors of rope_freqs.weight (Llama 3), or both. */
static accllm_status read_factors(const gguf_source *s, float factors[ACC_MAX_HEAD_DIM / 2], accllm_error *err)
{
    const acc_hparams *hp = &s->base.hp;
    char key[96];
    acc_str type = {"none", 4};
    double factor = 1.0;
    if (acc_gguf_has(s->g, arch_key(key, hp, "rope.scaling.type")) && !acc_gguf_str(s->g, key, &type))
        return acc_fail(err, ACCLLM_E_FORMAT, "%s is not a text", key);
    if (str_is(type, "linear"))
        ACC_TRY(want_f64(s->g, hp, "rope.scaling.factor", &factor, err));
    else if (!str_is(type, "none"))
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "rope scaling of type %.*s", type.n < 32 ? (int)type.n : 32, type.s);
    else
        ACC_TRY(want_f64(s->g, hp, "rope.scale_linear", &factor, err)); /* the older key */
    uint32_t n = hp->head_dim / 2;
    for (uint32_t j = 0; j < n; j++) factors[j] = 1.0f;
    const acc_gguf_tensor *t = acc_gguf_find(s->g, "rope_freqs.weight");
    if (t) {
        if (t->dim[0] != n || t->dim[1] != 1 || t->dim[2] != 1 || t->dim[3] != 1)
            return acc_fail(err, ACCLLM_E_FORMAT, "rope_freqs.weight does not have %" PRIu32 " elements", n);
        ACC_TRY(acc_gguf_read_f32(s->g, t, 0, n, factors, err));
    }
    for (uint32_t j = 0; j < n; j++) {
        factors[j] *= (float)factor;
        if (!(factors[j] >= 0x1p-20f && factors[j] <= 0x1p40f))
            return acc_fail(err, ACCLLM_E_FORMAT, "rope scaling factor %g", (double)factors[j]);
    }
    return ACCLLM_OK;
}

static accllm_status read_rope(gguf_source *s, accllm_error *err)
{
    acc_hparams *hp = &s->base.hp;
    float factors[ACC_MAX_HEAD_DIM / 2];
    double theta = 10000.0, scale = 0.0;
    ACC_TRY(want_f64(s->g, hp, "rope.freq_base", &theta, err));
    if (!(theta >= 1.0 && theta <= 1e15)) return acc_fail(err, ACCLLM_E_FORMAT, "rope base frequency %g", theta);
    ACC_TRY(read_factors(s, factors, err));
    acc_hparams_rope(hp, theta, factors);
    ACC_TRY(want_f64(s->g, hp, "attention.scale", &scale, err));
    if (scale < 0.0 || scale > 1e3) return acc_fail(err, ACCLLM_E_FORMAT, "attention scale %g", scale);
    if (scale > 0.0) hp->attn_scale = (float)scale;
    return ACCLLM_OK;
}

static const acc_gguf_tensor *find(const gguf_source *s, acc_tensor_id id, uint32_t layer, char name[64])
{
    acc_tensor_name(name, 64, id, layer, id >= ACC_T_ATTN_Q_BIAS ? "bias" : "weight");
    return acc_gguf_find(s->g, name);
}

static accllm_status check_tensor(const gguf_source *s, acc_tensor_id id, uint32_t layer, bool *seen, accllm_error *err)
{
    char name[64];
    uint64_t rows, cols;
    uint32_t elements, bytes;
    const acc_gguf_tensor *t = find(s, id, layer, name);
    if (!t) {
        if (id >= ACC_T_ATTN_Q_BIAS || id == ACC_T_OUTPUT) return ACCLLM_OK;
        return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s is missing", name);
    }
    acc_tensor_shape(&s->base.hp, id, &rows, &cols);
    if (t->dim[0] != cols || t->dim[1] != rows || t->dim[2] != 1 || t->dim[3] != 1)
        return acc_fail(err, ACCLLM_E_FORMAT,
                        "tensor %s is %" PRIu64 " x %" PRIu64 " instead of %" PRIu64 " x %" PRIu64, name, t->dim[1],
                        t->dim[0], rows, cols);
    if (!acc_ggml_block(t->type, &elements, &bytes) || t->type == ACC_GGML_I8)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "tensor %s has type %s (%" PRIu32 "), which is not read", name,
                        acc_ggml_type_name(t->type), t->type);
    seen[t - acc_gguf_tensor_at(s->g, 0)] = true;
    return ACCLLM_OK;
}

static accllm_status check_all(const gguf_source *s, bool *seen, accllm_error *err)
{
    for (int id = 0; id < ACC_T_COUNT; id++) {
        uint32_t n = acc_tensor_is_global((acc_tensor_id)id) ? 1 : s->base.hp.n_layers;
        for (uint32_t layer = 0; layer < n; layer++) ACC_TRY(check_tensor(s, (acc_tensor_id)id, layer, seen, err));
    }
    for (size_t i = 0; i < acc_gguf_n_tensors(s->g); i++) {
        acc_str name = acc_gguf_tensor_at(s->g, i)->name;
        if (!seen[i] && !str_is(name, "rope_freqs.weight"))
            return acc_fail(err, ACCLLM_E_UNSUPPORTED, "tensor %.*s has no place in this architecture",
                            name.n < 64 ? (int)name.n : 64, name.s);
    }
    return ACCLLM_OK;
}

static accllm_status check_tensors(const gguf_source *s, accllm_error *err)
{
    void *seen;
    ACC_TRY(acc_alloc(&seen, acc_gguf_n_tensors(s->g), sizeof(bool), "tensor list", err));
    accllm_status status = check_all(s, seen, err);
    acc_free(seen);
    return status;
}

static bool source_has(const acc_source *base, acc_tensor_id id, uint32_t layer)
{
    char name[64];
    return (unsigned)id < ACC_T_COUNT && find((const gguf_source *)base, id, layer, name) != NULL;
}

/* The biases of Q and K are one row whose elements move as the weights' rows do. */
static void split_pairs(float *x, uint64_t n, uint32_t head_dim)
{
    float head[ACC_MAX_HEAD_DIM];
    for (uint64_t h = 0; h < n; h += head_dim) {
        for (uint32_t i = 0; i < head_dim; i++) head[i] = x[h + acc_interleaved_row(i, head_dim)];
        memcpy(x + h, head, head_dim * sizeof *x);
    }
}

static accllm_status source_read(const acc_source *base, acc_tensor_id id, uint32_t layer, uint64_t row0,
                                 uint64_t n_rows, float *out, accllm_error *err)
{
    const gguf_source *s = (const gguf_source *)base;
    const acc_hparams *hp = &base->hp;
    char name[64];
    uint64_t rows, cols;
    ACC_TRY(acc_rows_range(hp, id, layer, row0, n_rows, err));
    const acc_gguf_tensor *t = find(s, id, layer, name);
    if (!t) return acc_fail(err, ACCLLM_E_ARG, "tensor %s is not in the file", name);
    acc_tensor_shape(hp, id, &rows, &cols);
    bool permuted = s->interleaved && (id == ACC_T_ATTN_Q || id == ACC_T_ATTN_K);
    for (uint64_t r = 0; r < n_rows; r++) {
        uint64_t row = permuted ? acc_interleaved_row(row0 + r, hp->head_dim) : row0 + r;
        ACC_TRY(acc_gguf_read_f32(s->g, t, row * cols, (size_t)cols, out + r * cols, err));
    }
    if (n_rows > 1) acc_gguf_forget(s->g, t); /* single rows are looked up again and again */
    if (s->interleaved && n_rows && (id == ACC_T_ATTN_Q_BIAS || id == ACC_T_ATTN_K_BIAS))
        split_pairs(out, cols, hp->head_dim);
    return acc_rows_check(hp, id, layer, row0, n_rows, out, err);
}

static void source_close(acc_source *base)
{
    gguf_source *s = (gguf_source *)base;
    acc_gguf_free(&s->g);
    acc_free(s);
}

accllm_status acc_llama_gguf_open(acc_source **out, acc_gguf **g, accllm_error *err)
{
    accllm_status status;
    void *p;
    ACC_TRY(acc_alloc(&p, 1, sizeof(gguf_source), "checkpoint", err));
    gguf_source *s = p;
    s->g = *g;
    s->base.meta = *g;
    s->base.has = source_has;
    s->base.read_rows = source_read;
    s->base.close = source_close;
    ACC_TRY_GOTO(read_arch(s, err));
    ACC_TRY_GOTO(refuse_variants(s->g, &s->base.hp, err));
    ACC_TRY_GOTO(read_sizes(s, err));
    ACC_TRY_GOTO(read_rope(s, err));
    ACC_TRY_GOTO(check_tensors(s, err));
    *g = NULL;
    *out = &s->base;
    return ACCLLM_OK;
fail:
    acc_free(s);
    return status;
}
