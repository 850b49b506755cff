/*
 * The tokenizer.bin of llama2.c (int32 longest length; then per token float32 score, int32 length, bytes), turned into
 * the metadata that a GGUF file would carry, so that everything behind sees one form.
 */
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "format/checkpoint_internal.h"
#include "format/gguf_internal.h"

enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_BYTE = 6 };

#define MAX_TOKEN_BYTES 4096u

typedef struct vocab {
    uint32_t n;
    acc_str *pieces;
    float *scores;
    int32_t *types;
    char *text; /* the pieces' bytes */
} vocab;

static void vocab_free(vocab *v)
{
    acc_free(v->pieces);
    acc_free(v->scores);
    acc_free(v->types);
    acc_free(v->text);
}

/* tokenizer.bin, else the only tok*.bin of the folder. */
static accllm_status find_file(char path[PATH_MAX], const char *model_path, accllm_error *err)
{
    const char *slash = strrchr(model_path, '/');
    int n = slash ? (int)(slash - model_path) + 1 : 0;
    char folder[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%.*s", n, model_path) >= (int)sizeof folder ||
        snprintf(path, PATH_MAX, "%stokenizer.bin", folder) >= PATH_MAX)
        return acc_fail(err, ACCLLM_E_ARG, "path too long");
    if (access(path, F_OK) == 0) return ACCLLM_OK;
    DIR *d = opendir(n ? folder : ".");
    if (!d) return acc_fail(err, ACCLLM_E_IO, "%s: cannot read the folder", n ? folder : ".");
    unsigned found = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len < 7 || strncmp(e->d_name, "tok", 3) != 0 || strcmp(e->d_name + len - 4, ".bin") != 0) continue;
        if (snprintf(path, PATH_MAX, "%s%s", folder, e->d_name) < PATH_MAX) found++;
    }
    (void)closedir(d);
    if (found == 1) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_IO, "%s",
                    found ? "several tok*.bin files and no tokenizer.bin beside the checkpoint"
                          : "no tokenizer.bin beside the checkpoint");
}

static accllm_status vocab_alloc(vocab *v, uint32_t n, size_t text_bytes, accllm_error *err)
{
    void *p;
    v->n = n;
    ACC_TRY(acc_alloc(&p, n, sizeof *v->pieces, "vocabulary", err));
    v->pieces = p;
    ACC_TRY(acc_alloc(&p, n, sizeof *v->scores, "vocabulary", err));
    v->scores = p;
    ACC_TRY(acc_alloc(&p, n, sizeof *v->types, "vocabulary", err));
    v->types = p;
    ACC_TRY(acc_alloc(&p, text_bytes, 1, "vocabulary", err));
    v->text = p;
    return ACCLLM_OK;
}

static int32_t type_of(uint32_t id, acc_str piece)
{
    if (id == 0) return TOKEN_UNKNOWN;
    if (id <= 2) return TOKEN_CONTROL;
    return piece.n == 6 && memcmp(piece.s, "<0x", 3) == 0 && piece.s[5] == '>' ? TOKEN_BYTE : TOKEN_NORMAL;
}

/* llama2.c writes blanks for SentencePiece's U+2581. */
static size_t copy_piece(char *dst, const uint8_t *src, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (src[i] == ' ') {
            memcpy(dst + used, "\xe2\x96\x81", 3);
            used += 3;
        } else {
            dst[used++] = (char)src[i];
        }
    }
    return used;
}

static accllm_status vocab_parse(vocab *v, const acc_file *f, uint32_t n_vocab, accllm_error *err)
{
    if (f->size < 4 || n_vocab > (f->size - 4) / 8)
        return acc_fail(err, ACCLLM_E_FORMAT, "too short for a vocabulary of %" PRIu32, n_vocab);
    ACC_TRY(vocab_alloc(v, n_vocab, 3 * f->size + 16, err));
    const uint8_t *p = f->data + 4, *end = f->data + f->size;
    char *text = v->text;
    for (uint32_t id = 0; id < n_vocab; id++) {
        if (end - p < 8) return acc_fail(err, ACCLLM_E_FORMAT, "ends inside token %" PRIu32, id);
        uint32_t n = acc_load_u32(p + 4);
        if (n > MAX_TOKEN_BYTES || n > (size_t)(end - p - 8))
            return acc_fail(err, ACCLLM_E_FORMAT, "token %" PRIu32 " has a length of %" PRIu32, id, n);
        v->scores[id] = acc_load_f32(p);
        v->pieces[id] = (acc_str){text, copy_piece(text, p + 8, n)};
        /* llama2.c puts line ends around the names of these two. */
        if (id == 1) v->pieces[id] = (acc_str){"<s>", 3};
        if (id == 2) v->pieces[id] = (acc_str){"</s>", 4};
        v->types[id] = type_of(id, v->pieces[id]);
        text += v->pieces[id].n;
        p += 8 + n;
    }
    if (p != end) return acc_fail(err, ACCLLM_E_FORMAT, "more tokens than the model's %" PRIu32, n_vocab);
    return ACCLLM_OK;
}

static accllm_status write_metadata(const vocab *v, acc_writer *w, accllm_error *err)
{
    acc_gguf_out *o;
    ACC_TRY(acc_gguf_out_create(&o, err));
    acc_gguf_out_str(o, "general.architecture", "llama");
    acc_gguf_out_str(o, "tokenizer.ggml.model", "llama");
    acc_gguf_out_str(o, "tokenizer.ggml.pre", "default");
    acc_gguf_out_str_array(o, "tokenizer.ggml.tokens", v->pieces, v->n);
    acc_gguf_out_f32_array(o, "tokenizer.ggml.scores", v->scores, v->n);
    acc_gguf_out_i32_array(o, "tokenizer.ggml.token_type", v->types, v->n);
    acc_gguf_out_u32(o, "tokenizer.ggml.unknown_token_id", 0);
    acc_gguf_out_u32(o, "tokenizer.ggml.bos_token_id", 1);
    acc_gguf_out_u32(o, "tokenizer.ggml.eos_token_id", 2);
    acc_gguf_out_u32(o, "tokenizer.ggml.eot_token_id", 1); /* the models part their texts by BOS alone */
    acc_gguf_out_bool(o, "tokenizer.ggml.add_bos_token", true);
    acc_gguf_out_bool(o, "tokenizer.ggml.add_eos_token", false);
    acc_gguf_out_bool(o, "tokenizer.ggml.add_space_prefix", true);
    accllm_status s = acc_gguf_out_begin(o, w, err);
    acc_gguf_out_free(&o);
    return s;
}

static accllm_status to_memory(const vocab *v, uint8_t **bytes, size_t *n, accllm_error *err)
{
    char *data = NULL;
    size_t size = 0;
    acc_writer w = {.f = open_memstream(&data, &size)};
    if (!w.f) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: vocabulary");
    accllm_status s = write_metadata(v, &w, err);
    bool failed = fclose(w.f) != 0 || w.error;
    if (s == ACCLLM_OK && failed) s = acc_fail(err, ACCLLM_E_NOMEM, "out of memory: vocabulary");
    if (s != ACCLLM_OK) {
        free(data);
        return s;
    }
    *bytes = (uint8_t *)data;
    *n = size;
    return ACCLLM_OK;
}

accllm_status acc_llama2c_tokenizer(acc_gguf **meta, uint8_t **bytes, const char *model_path, uint32_t n_vocab,
                                    accllm_error *err)
{
    char path[PATH_MAX];
    acc_file f;
    size_t n = 0;
    vocab v = {0};
    *bytes = NULL;
    *meta = NULL;
    ACC_TRY(find_file(path, model_path, err));
    ACC_TRY(acc_file_open(&f, path, true, err));
    accllm_status s = n_vocab < 3 ? acc_fail(err, ACCLLM_E_FORMAT, "a vocabulary of %" PRIu32, n_vocab)
                                  : vocab_parse(&v, &f, n_vocab, err);
    acc_file_close(&f);
    if (s != ACCLLM_OK)
        s = acc_prefix(err, s, "%s", path);
    else
        s = to_memory(&v, bytes, &n, err);
    vocab_free(&v);
    if (s == ACCLLM_OK) s = acc_gguf_parse(meta, *bytes, n, err);
    if (s != ACCLLM_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return s;
}
