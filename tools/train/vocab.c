/*
 * SentencePiece's .vocab, the text that spm_train writes beside its .model, as GGUF metadata. A line is a piece, a tab
 * and a score; line n (from 0) is id n. Blanks are U+2581. "<unk>" is the unknown token, "<s>" and "</s>" begin and end
 * a text, "<0x00>".."<0xFF>" are the bytes, all others ordinary pieces: what spm_train makes with --byte_fallback,
 * without symbols of the user's own (the text form does not tell those).
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "tokenizer/tokenizer.h"
#include "train.h"

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_BYTE = 6 };
enum { MAX_PIECES = 1 << 20 };

static bool is(acc_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}

static int32_t type_of(acc_str s)
{
    if (is(s, "<unk>")) return TYPE_UNKNOWN;
    if (is(s, "<s>") || is(s, "</s>")) return TYPE_CONTROL;
    return s.n == 6 && memcmp(s.s, "<0x", 3) == 0 && s.s[5] == '>' ? TYPE_BYTE : TYPE_NORMAL;
}

/* One line of n bytes, in text that ends with a 0 after the last line. */
static accllm_status take_line(train_vocab *v, char *line, size_t n, accllm_error *err)
{
    char *tab = memrchr(line, '\t', n), *end;
    if (!tab || tab == line)
        return acc_fail(err, ACCLLM_E_FORMAT, "line %" PRIu32 ": not a piece, a tab and a score", v->n + 1);
    v->scores[v->n] = strtof(tab + 1, &end);
    if (end == tab + 1 || end != line + n || !isfinite(v->scores[v->n]))
        return acc_fail(err, ACCLLM_E_FORMAT, "line %" PRIu32 ": the score is not a number", v->n + 1);
    v->pieces[v->n] = (acc_str){line, (size_t)(tab - line)};
    v->types[v->n] = type_of(v->pieces[v->n]);
    v->n++;
    return ACCLLM_OK;
}

static accllm_status find(const train_vocab *v, const char *name, uint32_t *id, accllm_error *err)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (is(v->pieces[i], name)) {
            *id = i;
            return ACCLLM_OK;
        }
    return acc_fail(err, ACCLLM_E_FORMAT, "no piece %s", name);
}

static accllm_status parse(train_vocab *v, const acc_file *f, accllm_error *err)
{
    size_t lines = 0;
    void *p;
    for (size_t i = 0; i < f->size; i++) lines += f->data[i] == '\n' || i + 1 == f->size;
    if (lines == 0 || lines > MAX_PIECES) return acc_fail(err, ACCLLM_E_FORMAT, "%zu pieces", lines);
    ACC_TRY(acc_alloc(&p, f->size + 1, 1, "vocabulary", err));
    v->text = memcpy(p, f->data, f->size);
    ACC_TRY(acc_alloc(&p, lines, sizeof *v->pieces, "vocabulary", err));
    v->pieces = p;
    ACC_TRY(acc_alloc(&p, lines, sizeof *v->scores, "vocabulary", err));
    v->scores = p;
    ACC_TRY(acc_alloc(&p, lines, sizeof *v->types, "vocabulary", err));
    v->types = p;
    for (char *line = v->text, *end = v->text + f->size; line < end;) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        if (!next) next = end;
        ACC_TRY(take_line(v, line, (size_t)(next - line), err));
        line = next + 1;
    }
    ACC_TRY(find(v, "<unk>", &v->unk, err));
    ACC_TRY(find(v, "<s>", &v->bos, err));
    return find(v, "</s>", &v->eos, err);
}

accllm_status train_vocab_read(train_vocab *v, const char *path, accllm_error *err)
{
    acc_file f;
    *v = (train_vocab){0};
    ACC_TRY(acc_file_open(&f, path, true, err));
    accllm_status s = parse(v, &f, err);
    acc_file_close(&f);
    if (s == ACCLLM_OK) return s;
    train_vocab_free(v);
    return acc_prefix(err, s, "%s", path);
}

void train_vocab_free(train_vocab *v)
{
    acc_free(v->pieces);
    acc_free(v->scores);
    acc_free(v->types);
    acc_free(v->text);
    *v = (train_vocab){0};
}

void train_vocab_write(const train_vocab *v, acc_gguf_out *o)
{
    acc_gguf_out_str(o, "tokenizer.ggml.model", "llama");
    acc_gguf_out_str(o, "tokenizer.ggml.pre", "default");
    acc_gguf_out_str_array(o, "tokenizer.ggml.tokens", v->pieces, v->n);
    acc_gguf_out_f32_array(o, "tokenizer.ggml.scores", v->scores, v->n);
    acc_gguf_out_i32_array(o, "tokenizer.ggml.token_type", v->types, v->n);
    acc_gguf_out_u32(o, "tokenizer.ggml.unknown_token_id", v->unk);
    acc_gguf_out_u32(o, "tokenizer.ggml.bos_token_id", v->bos);
    acc_gguf_out_u32(o, "tokenizer.ggml.eos_token_id", v->eos);
    acc_gguf_out_bool(o, "tokenizer.ggml.add_bos_token", true);
    acc_gguf_out_bool(o, "tokenizer.ggml.add_eos_token", false);
    acc_gguf_out_bool(o, "tokenizer.ggml.add_space_prefix", true);
}

accllm_status train_vocab_tokenizer(const train_vocab *v, accllm_tokenizer **out, accllm_error *err)
{
    char *data = NULL;
    size_t size = 0;
    acc_gguf_out *o = NULL;
    acc_gguf *meta = NULL;
    *out = NULL;
    acc_writer w = {.f = open_memstream(&data, &size)};
    if (!w.f) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: vocabulary");
    accllm_status s = acc_gguf_out_create(&o, err);
    if (s == ACCLLM_OK) {
        train_vocab_write(v, o);
        s = acc_gguf_out_begin(o, &w, err);
    }
    const bool failed = fclose(w.f) != 0 || w.error;
    if (s == ACCLLM_OK && failed) s = acc_fail(err, ACCLLM_E_NOMEM, "out of memory: vocabulary");
    if (s == ACCLLM_OK) s = acc_gguf_parse(&meta, (const uint8_t *)data, size, err);
    if (s == ACCLLM_OK) s = acc_tokenizer_create(out, meta, err);
    acc_gguf_free(&meta);
    acc_gguf_out_free(&o);
    free(data);
    return s;
}
