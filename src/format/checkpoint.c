/* Source checkpoints: names and shapes of tensors, rotary frequencies, and the choice of the reader. */
#include "format/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/checkpoint_internal.h"

const char *acc_tensor_base(acc_tensor_id id)
{
    static const char *const names[ACC_T_COUNT] = {
        [ACC_T_TOKEN_EMBD] = "token_embd", [ACC_T_OUTPUT] = "output",      [ACC_T_OUTPUT_NORM] = "output_norm",
        [ACC_T_ATTN_NORM] = "attn_norm",   [ACC_T_FFN_NORM] = "ffn_norm",  [ACC_T_ATTN_Q] = "attn_q",
        [ACC_T_ATTN_K] = "attn_k",         [ACC_T_ATTN_V] = "attn_v",      [ACC_T_ATTN_OUT] = "attn_output",
        [ACC_T_FFN_GATE] = "ffn_gate",     [ACC_T_FFN_UP] = "ffn_up",      [ACC_T_FFN_DOWN] = "ffn_down",
        [ACC_T_ATTN_Q_BIAS] = "attn_q",    [ACC_T_ATTN_K_BIAS] = "attn_k", [ACC_T_ATTN_V_BIAS] = "attn_v",
    };
    return (unsigned)id < ACC_T_COUNT ? names[id] : "";
}

bool acc_tensor_is_global(acc_tensor_id id)
{
    return id <= ACC_T_OUTPUT_NORM;
}

bool acc_tensor_is_linear(acc_tensor_id id)
{
    return id >= ACC_T_ATTN_Q && id <= ACC_T_FFN_DOWN;
}

void acc_tensor_name(char *buf, size_t cap, acc_tensor_id id, uint32_t layer, const char *suffix)
{
    const char *dot = suffix && *suffix ? "." : "";
    if (!suffix) suffix = "";
    if (acc_tensor_is_global(id))
        (void)snprintf(buf, cap, "%s%s%s", acc_tensor_base(id), dot, suffix);
    else
        (void)snprintf(buf, cap, "blk.%" PRIu32 ".%s%s%s", layer, acc_tensor_base(id), dot, suffix);
}

void acc_tensor_shape(const acc_hparams *hp, acc_tensor_id id, uint64_t *rows, uint64_t *cols)
{
    uint64_t q = (uint64_t)hp->n_heads * hp->head_dim, kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    const struct {
        uint64_t rows, cols;
    } shapes[ACC_T_COUNT] = {
        [ACC_T_TOKEN_EMBD] = {hp->n_vocab, hp->n_embd},
        [ACC_T_OUTPUT] = {hp->n_vocab, hp->n_embd},
        [ACC_T_OUTPUT_NORM] = {1, hp->n_embd},
        [ACC_T_ATTN_NORM] = {1, hp->n_embd},
        [ACC_T_FFN_NORM] = {1, hp->n_embd},
        [ACC_T_ATTN_Q] = {q, hp->n_embd},
        [ACC_T_ATTN_K] = {kv, hp->n_embd},
        [ACC_T_ATTN_V] = {kv, hp->n_embd},
        [ACC_T_ATTN_OUT] = {hp->n_embd, q},
        [ACC_T_FFN_GATE] = {hp->n_ff, hp->n_embd},
        [ACC_T_FFN_UP] = {hp->n_ff, hp->n_embd},
        [ACC_T_FFN_DOWN] = {hp->n_embd, hp->n_ff},
        [ACC_T_ATTN_Q_BIAS] = {1, q},
        [ACC_T_ATTN_K_BIAS] = {1, kv},
        [ACC_T_ATTN_V_BIAS] = {1, kv},
    };
    bool known = (unsigned)id < ACC_T_COUNT;
    *rows = known ? shapes[id].rows : 0;
    *cols = known ? shapes[id].cols : 0;
}

uint64_t acc_interleaved_row(uint64_t row, uint32_t head_dim)
{
    uint64_t r = row % head_dim, half = head_dim / 2;
    return row - r + 2 * (r % half) + r / half;
}

uint64_t acc_half_split_row(uint64_t row, uint32_t head_dim)
{
    uint64_t r = row % head_dim;
    return row - r + r % 2 * (head_dim / 2) + r / 2;
}

void acc_gguf_out_llama(acc_gguf_out *o, const acc_hparams *hp, float theta)
{
    acc_gguf_out_u32(o, "llama.block_count", hp->n_layers);
    acc_gguf_out_u32(o, "llama.context_length", hp->n_ctx_train);
    acc_gguf_out_u32(o, "llama.embedding_length", hp->n_embd);
    acc_gguf_out_u32(o, "llama.feed_forward_length", hp->n_ff);
    acc_gguf_out_u32(o, "llama.attention.head_count", hp->n_heads);
    acc_gguf_out_u32(o, "llama.attention.head_count_kv", hp->n_kv_heads);
    acc_gguf_out_u32(o, "llama.attention.key_length", hp->head_dim);
    acc_gguf_out_u32(o, "llama.attention.value_length", hp->head_dim);
    acc_gguf_out_f32(o, "llama.attention.layer_norm_rms_epsilon", hp->norm_eps);
    acc_gguf_out_u32(o, "llama.rope.dimension_count", hp->head_dim);
    acc_gguf_out_f32(o, "llama.rope.freq_base", theta);
    acc_gguf_out_u32(o, "llama.vocab_size", hp->n_vocab);
}

/* frequency_j = theta^(-2 j / head_dim) / factor_j. Long double (64 bits of mantissa or more on the machines that
 * convert) keeps the step's error at a few units of 2^-64 turns: over 2^32 positions still under 1e-8 radians. */
void acc_hparams_rope(acc_hparams *hp, double theta, const float *factors)
{
    const long double inv_two_pi = 0.15915494309189533576888376337251436L;
    hp->attn_scale = (float)(1.0 / sqrt((double)hp->head_dim));
    for (uint32_t j = 0; j < hp->head_dim / 2; j++) {
        long double f = powl((long double)theta, -(long double)(2 * j) / (long double)hp->head_dim);
        if (factors) f /= (long double)factors[j];
        long double turns = f * inv_two_pi;
        long double steps = rintl(ldexpl(turns - floorl(turns), 64));
        hp->rope_freq[j] = (double)f;
        hp->rope_steps[j] = steps >= 0x1p64L ? 0 : (uint64_t)steps;
    }
}

accllm_status acc_hparams_check(const acc_hparams *hp, accllm_error *err)
{
    if (hp->n_layers == 0 || hp->n_layers > ACC_MAX_LAYERS)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%" PRIu32 " layers (1..%u are supported)", hp->n_layers,
                        ACC_MAX_LAYERS);
    if (hp->n_embd == 0 || hp->n_ff == 0 || hp->n_embd > ACC_MAX_WIDTH || hp->n_ff > ACC_MAX_WIDTH)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "widths %" PRIu32 " and %" PRIu32 " (1..%u are supported)",
                        hp->n_embd, hp->n_ff, ACC_MAX_WIDTH);
    if (hp->head_dim < 2 || hp->head_dim % 2 != 0 || hp->head_dim > ACC_MAX_HEAD_DIM)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "head dimension %" PRIu32 " (even, up to %d is supported)",
                        hp->head_dim, ACC_MAX_HEAD_DIM);
    if (hp->n_heads == 0 || hp->n_kv_heads == 0 || hp->n_heads % hp->n_kv_heads != 0 ||
        (uint64_t)hp->n_heads * hp->head_dim > ACC_MAX_WIDTH)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%" PRIu32 " heads over %" PRIu32 " key and value heads",
                        hp->n_heads, hp->n_kv_heads);
    if (hp->n_vocab == 0 || hp->n_vocab > ACC_MAX_VOCAB)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "a vocabulary of %" PRIu32, hp->n_vocab);
    if (hp->n_ctx_train == 0) return acc_fail(err, ACCLLM_E_FORMAT, "a context length of 0");
    if (!(hp->norm_eps > 0.0f && hp->norm_eps < 1.0f))
        return acc_fail(err, ACCLLM_E_FORMAT, "a norm epsilon of %g", (double)hp->norm_eps);
    return ACCLLM_OK;
}

accllm_status acc_rows_range(const acc_hparams *hp, acc_tensor_id id, uint32_t layer, uint64_t row0, uint64_t n_rows,
                             accllm_error *err)
{
    uint64_t rows, cols;
    acc_tensor_shape(hp, id, &rows, &cols);
    if (layer >= hp->n_layers || row0 > rows || n_rows > rows - row0)
        return acc_fail(err, ACCLLM_E_ARG, "%s: rows %" PRIu64 " + %" PRIu64 " of layer %" PRIu32 " do not exist",
                        acc_tensor_base(id), row0, n_rows, layer);
    return ACCLLM_OK;
}

accllm_status acc_rows_check(const acc_hparams *hp, acc_tensor_id id, uint32_t layer, uint64_t row0, uint64_t n_rows,
                             const float *x, accllm_error *err)
{
    uint64_t rows, cols;
    acc_tensor_shape(hp, id, &rows, &cols);
    for (uint64_t r = 0; r < n_rows; r++, x += cols) {
        uint32_t bad = 0; /* as integers, so that the loop vectorises */
        for (uint64_t i = 0; i < cols; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            bad |= (bits & 0x7f800000u) == 0x7f800000u;
        }
        if (!bad) continue;
        char name[64];
        acc_tensor_name(name, sizeof name, id, layer, id >= ACC_T_ATTN_Q_BIAS ? "bias" : "weight");
        return acc_fail(err, ACCLLM_E_NUMERIC, "%s: row %" PRIu64 " holds a NaN or infinity", name, row0 + r);
    }
    return ACCLLM_OK;
}

bool acc_is_packed(const acc_gguf *g)
{
    acc_str arch;
    return acc_gguf_str(g, "general.architecture", &arch) && arch.n == 6 && memcmp(arch.s, "accllm", 6) == 0;
}

static accllm_status open_gguf(acc_source **out, const char *path, bool use_mmap, accllm_error *err)
{
    acc_gguf *g;
    ACC_TRY(acc_gguf_open(&g, path, use_mmap, err));
    accllm_status s = acc_llama_gguf_open(out, &g, err);
    if (s == ACCLLM_OK) return s;
    acc_gguf_free(&g);
    return acc_prefix(err, s, "%s", path);
}

accllm_status acc_checkpoint_open(acc_source **out, const char *path, bool use_mmap, accllm_error *err)
{
    *out = NULL;
    acc_file f;
    ACC_TRY(acc_file_open(&f, path, true, err)); /* mapped: only its first bytes are looked at */
    if (f.size >= 4 && memcmp(f.data, "GGUF", 4) == 0) {
        acc_file_close(&f);
        return open_gguf(out, path, use_mmap, err);
    }
    if (!use_mmap) {
        acc_file_close(&f);
        ACC_TRY(acc_file_open(&f, path, false, err));
    }
    accllm_status s = acc_llama2c_open(out, &f, path, err);
    if (s == ACCLLM_OK) return s;
    acc_file_close(&f);
    return acc_prefix(err, s, "%s", path);
}
