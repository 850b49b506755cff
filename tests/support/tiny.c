#include "support/tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "format/gguf.h"
#include "numerics/numerics.h"

#define FIRST_PIECE 259u /* after 3 special tokens and 256 bytes */

tiny_options tiny_defaults(void)
{
    return (tiny_options){.n_layers = 2,
                          .n_heads = 4,
                          .n_kv_heads = 2,
                          .head_dim = 32,
                          .n_ff = 100,
                          .n_ctx = 512,
                          .n_vocab = 300,
                          .tied = true,
                          .arch = "llama",
                          .theta = 10000.0,
                          .seed = 1};
}

char *tiny_path(const char *name)
{
    const char *folder = getenv("TMPDIR");
    char *path;
    if (asprintf(&path, "%s/acc-%ld-%s", folder && *folder ? folder : "/tmp", (long)getpid(), name) < 0) abort();
    return path;
}

char *tiny_real_model(void)
{
    const char *given = getenv("ACCLLM_MODEL"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *file = "accllm/SmolLM2-135M-Instruct.Q4_1.gguf";
    char *path = NULL;
    int n = given && *given   ? asprintf(&path, "%s", given)
            : cache && *cache ? asprintf(&path, "%s/%s", cache, file)
            : home            ? asprintf(&path, "%s/.cache/%s", home, file)
                              : -1;
    if (n < 0) return NULL;
    if (access(path, R_OK) == 0) return path;
    (void)printf("# skip %s is absent (scripts/get-model)\n", path);
    free(path);
    return NULL;
}

char *tiny_shared(const char *name)
{
    const char *given = getenv("ACCLLM_SHARED"), *folder = given && *given ? given : SHARED_FOLDER;
    char *path;
    if (asprintf(&path, "%s/data/%s", folder, name) < 0) abort();
    if (access(path, R_OK) == 0) return path;
    (void)printf("# skip reference data is not in %s (ACCLLM_SHARED)\n", folder);
    free(path);
    return NULL;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

float tiny_value(const tiny_options *o, const char *name, uint64_t i, uint64_t cols)
{
    uint64_t key = acc_fnv1a(ACC_FNV_START ^ o->seed, name, strlen(name));
    float x = (float)(2.0 * acc_random_unit(key, i) - 1.0);
    if (strstr(name, "norm")) return 1.0f + 0.3f * x;
    if (strcmp(name, "rope_freqs.weight") == 0) return 1.0f + 7.0f * (float)i / (float)cols;
    if (ends_with(name, ".bias")) return 0.5f * x;
    float root = 1.0f; /* of cols, by Newton's method: no libm, the same everywhere */
    for (int k = 0; k < 40; k++) root = 0.5f * (root + (float)cols / root);
    return x * 1.7320508f / root;
}

/* ---- tokenizer ---- */

typedef struct pieces {
    acc_str *v;
    char *text; /* room for 16 bytes each */
    size_t n, cap;
} pieces;

static bool pieces_init(pieces *p, size_t cap)
{
    *p = (pieces){.v = calloc(cap, sizeof *p->v), .text = calloc(cap, 16), .cap = cap};
    return p->v && p->text;
}

static void pieces_free(pieces *p)
{
    free(p->v);
    free(p->text);
}

static void add(pieces *p, const char *s)
{
    if (p->n == p->cap) return;
    char *dst = p->text + 16 * p->n;
    int n = snprintf(dst, 16, "%s", s);
    p->v[p->n++] = (acc_str){dst, (size_t)n};
}

/* GPT-2's printable stand-ins for bytes, as UTF-8. */
static void byte_as_text(unsigned byte, char out[4])
{
    unsigned code = byte;
    bool shown = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    if (!shown) {
        code = 256;
        for (unsigned b = 0; b < byte; b++) code += !((b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae);
    }
    if (code < 128)
        (void)snprintf(out, 4, "%c", (char)code);
    else
        (void)snprintf(out, 4, "%c%c", (char)(0xc0 | code >> 6), (char)(0x80 | (code & 63)));
}

/* Merge k joins two letters, later ones a pair and a letter. */
static void bpe_merge(uint32_t k, char left[4], char right[4])
{
    if (k < 676) {
        (void)snprintf(left, 4, "%c", (char)('a' + k / 26));
        (void)snprintf(right, 4, "%c", (char)('a' + k % 26));
    } else {
        uint32_t pair = (k - 676) / 26 % 676;
        (void)snprintf(left, 4, "%c%c", (char)('a' + pair / 26), (char)('a' + pair % 26));
        (void)snprintf(right, 4, "%c", (char)('a' + (k - 676) % 26));
    }
}

static void put_bpe(acc_gguf_out *out, const tiny_options *o, pieces *tokens, pieces *merges)
{
    char text[16], left[4], right[4];
    add(tokens, "<|endoftext|>");
    add(tokens, "<|im_start|>");
    add(tokens, "<|im_end|>");
    for (unsigned b = 0; b < 256; b++) {
        byte_as_text(b, left);
        add(tokens, left);
    }
    for (uint32_t k = 0; k < o->n_vocab - FIRST_PIECE; k++) {
        bpe_merge(k, left, right);
        (void)snprintf(text, sizeof text, "%s%s", left, right);
        add(tokens, text);
        (void)snprintf(text, sizeof text, "%s %s", left, right);
        add(merges, text);
    }
    acc_gguf_out_str(out, "tokenizer.ggml.model", "gpt2");
    acc_gguf_out_str(out, "tokenizer.ggml.pre", "smollm");
    acc_gguf_out_str_array(out, "tokenizer.ggml.merges", merges->v, merges->n);
    acc_gguf_out_u32(out, "tokenizer.ggml.bos_token_id", 1);
    acc_gguf_out_u32(out, "tokenizer.ggml.eos_token_id", 2);
    acc_gguf_out_bool(out, "tokenizer.ggml.add_bos_token", false);
    acc_gguf_out_str(out, "tokenizer.chat_template",
                     "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
                     "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' "
                     "}}{% endif %}");
}

static void put_spm(acc_gguf_out *out, const tiny_options *o, pieces *tokens, float *scores)
{
    char text[16], left[4], right[4];
    add(tokens, "<unk>");
    add(tokens, "<s>");
    add(tokens, "</s>");
    for (unsigned b = 0; b < 256; b++) {
        (void)snprintf(text, sizeof text, "<0x%02X>", b);
        add(tokens, text);
    }
    add(tokens, "\xe2\x96\x81");
    for (char c = 'a'; c <= 'z'; c++) add(tokens, (const char[]){c, 0});
    for (uint32_t k = 0; tokens->n < o->n_vocab; k++) {
        bpe_merge(k, left, right);
        (void)snprintf(text, sizeof text, "%s%s", left, right);
        add(tokens, text);
    }
    for (size_t i = FIRST_PIECE; i < o->n_vocab; i++) scores[i] = -(float)(i - FIRST_PIECE);
    acc_gguf_out_str(out, "tokenizer.ggml.model", "llama");
    acc_gguf_out_str(out, "tokenizer.ggml.pre", "default");
    acc_gguf_out_f32_array(out, "tokenizer.ggml.scores", scores, o->n_vocab);
    acc_gguf_out_u32(out, "tokenizer.ggml.unknown_token_id", 0);
    acc_gguf_out_u32(out, "tokenizer.ggml.bos_token_id", 1);
    acc_gguf_out_u32(out, "tokenizer.ggml.eos_token_id", 2);
    acc_gguf_out_bool(out, "tokenizer.ggml.add_bos_token", true);
    acc_gguf_out_bool(out, "tokenizer.ggml.add_space_prefix", true);
}

static bool put_tokenizer(acc_gguf_out *out, const tiny_options *o)
{
    bool spm = o->tokenizer == TINY_SPM;
    pieces tokens = {0}, merges = {0};
    int32_t *types = calloc(o->n_vocab, sizeof *types);
    float *scores = calloc(o->n_vocab, sizeof *scores);
    bool good = types && scores && pieces_init(&tokens, o->n_vocab) && pieces_init(&merges, o->n_vocab);
    if (good) {
        if (spm)
            put_spm(out, o, &tokens, scores);
        else
            put_bpe(out, o, &tokens, &merges);
        for (uint32_t i = 0; i < o->n_vocab; i++)
            types[i] = i < 3 ? (spm && i == 0 ? 2 : 3) : spm && i < FIRST_PIECE ? 6 : 1;
        acc_gguf_out_str_array(out, "tokenizer.ggml.tokens", tokens.v, tokens.n);
        acc_gguf_out_i32_array(out, "tokenizer.ggml.token_type", types, o->n_vocab);
    }
    pieces_free(&tokens);
    pieces_free(&merges);
    free(types);
    free(scores);
    return good;
}

/* ---- tensors ---- */

typedef void each_tensor(void *user, const char *name, bool matrix, uint64_t rows, uint64_t cols);

static void layer_tensors(const tiny_options *o, uint32_t layer, uint64_t embd, each_tensor *f, void *user)
{
    uint64_t q = (uint64_t)o->n_heads * o->head_dim, kv = (uint64_t)o->n_kv_heads * o->head_dim;
    const struct {
        const char *name;
        bool matrix, optional;
        uint64_t rows, cols;
    } list[] = {
        {"attn_norm.weight", false, false, 1, embd},
        {"attn_q.weight", true, false, q, embd},
        {"attn_k.weight", true, false, kv, embd},
        {"attn_v.weight", true, false, kv, embd},
        {"attn_q.bias", false, true, 1, q},
        {"attn_k.bias", false, true, 1, kv},
        {"attn_v.bias", false, true, 1, kv},
        {"attn_output.weight", true, false, embd, q},
        {"ffn_norm.weight", false, false, 1, embd},
        {"ffn_gate.weight", true, false, o->n_ff, embd},
        {"ffn_up.weight", true, false, o->n_ff, embd},
        {"ffn_down.weight", true, false, embd, o->n_ff},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char name[64];
        if (list[i].optional && !o->biases) continue;
        (void)snprintf(name, sizeof name, "blk.%u.%s", layer, list[i].name);
        if (o->without && strcmp(name, o->without) == 0) continue;
        f(user, name, list[i].matrix, list[i].rows, list[i].cols);
    }
}

static void all_tensors(const tiny_options *o, each_tensor *f, void *user)
{
    uint64_t embd = o->n_embd ? o->n_embd : o->n_heads * o->head_dim;
    f(user, "token_embd.weight", true, o->n_vocab, embd);
    if (!o->tied) f(user, "output.weight", true, o->n_vocab, embd);
    f(user, "output_norm.weight", false, 1, embd);
    if (o->rope_factors) f(user, "rope_freqs.weight", false, 1, o->head_dim / 2);
    for (uint32_t l = 0; l < o->n_layers; l++) layer_tensors(o, l, embd, f, user);
}

typedef struct job {
    const tiny_options *o;
    acc_gguf_out *out;
    acc_writer *w;
    accllm_error *err;
    accllm_status status;
} job;

static void describe(void *user, const char *name, bool matrix, uint64_t rows, uint64_t cols)
{
    const job *j = user;
    acc_gguf_out_tensor(j->out, name, matrix && j->o->f16 ? ACC_GGML_F16 : ACC_GGML_F32, matrix ? 2 : 1,
                        (const uint64_t[]){cols, rows});
}

static void put(void *user, const char *name, bool matrix, uint64_t rows, uint64_t cols)
{
    job *j = user;
    if (j->status != ACCLLM_OK) return;
    acc_gguf_out_piece_begin(j->out, j->w);
    for (uint64_t i = 0; i < rows * cols; i++) {
        float x = tiny_value(j->o, name, i, cols);
        uint16_t h = acc_f32_to_f16(x);
        if (matrix && j->o->f16)
            acc_writer_put(j->w, &h, sizeof h);
        else
            acc_writer_put(j->w, &x, sizeof x);
    }
    j->status = acc_gguf_out_piece_end(j->out, j->w, j->err);
}

static const char *key(char buf[96], const tiny_options *o, const char *name)
{
    (void)snprintf(buf, 96, "%s.%s", o->arch, name);
    return buf;
}

static void put_keys(acc_gguf_out *out, const tiny_options *o)
{
    char k[96];
    acc_gguf_out_str(out, "general.architecture", o->arch);
    acc_gguf_out_str(out, "general.name", "tiny");
    acc_gguf_out_u32(out, key(k, o, "block_count"), o->n_layers);
    acc_gguf_out_u32(out, key(k, o, "embedding_length"), o->n_embd ? o->n_embd : o->n_heads * o->head_dim);
    acc_gguf_out_u32(out, key(k, o, "feed_forward_length"), o->n_ff);
    acc_gguf_out_u32(out, key(k, o, "context_length"), o->n_ctx);
    acc_gguf_out_u32(out, key(k, o, "attention.head_count"), o->n_heads);
    acc_gguf_out_u32(out, key(k, o, "attention.head_count_kv"), o->n_kv_heads);
    acc_gguf_out_f32(out, key(k, o, "attention.layer_norm_rms_epsilon"), 1e-5f);
    acc_gguf_out_u32(out, key(k, o, "attention.key_length"), o->head_dim);
    acc_gguf_out_u32(out, key(k, o, "attention.value_length"), o->head_dim);
    acc_gguf_out_u32(out, key(k, o, "rope.dimension_count"), o->head_dim);
    acc_gguf_out_f32(out, key(k, o, "rope.freq_base"), (float)o->theta);
    acc_gguf_out_u32(out, key(k, o, "vocab_size"), o->n_vocab);
}

accllm_status tiny_write(const char *path, const tiny_options *o, accllm_error *err)
{
    acc_writer w;
    job j = {.o = o, .err = err, .w = &w};
    ACC_TRY(acc_gguf_out_create(&j.out, err));
    put_keys(j.out, o);
    if (o->n_vocab >= FIRST_PIECE && !put_tokenizer(j.out, o))
        j.status = acc_fail(err, ACCLLM_E_NOMEM, "out of memory");
    all_tensors(o, describe, &j);
    if (j.status == ACCLLM_OK) j.status = acc_writer_open(&w, path, err);
    if (j.status == ACCLLM_OK) {
        j.status = acc_gguf_out_begin(j.out, &w, err);
        all_tensors(o, put, &j);
        if (j.status == ACCLLM_OK) j.status = acc_writer_commit(&w, err);
        acc_writer_abort(&w);
    }
    acc_gguf_out_free(&j.out);
    return j.status;
}
