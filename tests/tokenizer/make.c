/* Small vocabularies in memory. */
#include "tokenizer/make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

test_vocab test_vocab_empty(const char *model)
{
    return (test_vocab){.model = model, .bos = NO_KEY, .eos = NO_KEY, .unk = NO_KEY, .add_bos = -1};
}

static void put_tokens(acc_gguf_out *o, const test_vocab *v)
{
    size_t first = v->bytes ? 256 : 0, n = first + v->n_tokens;
    acc_str *text = calloc(n + 1, sizeof *text);
    float *scores = calloc(n + 1, sizeof *scores);
    int32_t *types = calloc(n + 1, sizeof *types);
    static char names[256][8];
    bool bpe = v->model && strcmp(v->model, "gpt2") == 0;
    assert_true(text && scores && types);
    for (size_t b = 0; b < first; b++) {
        size_t len = bpe ? acc_utf8_encode(acc_byte_char((uint8_t)b), names[b])
                         : (size_t)snprintf(names[b], sizeof names[b], "<0x%02zX>", b);
        text[b] = (acc_str){names[b], len};
        types[b] = bpe ? ACC_TOKEN_NORMAL : ACC_TOKEN_BYTE;
    }
    for (size_t i = 0; i < v->n_tokens; i++) {
        text[first + i] = (acc_str){v->tokens[i].text, strlen(v->tokens[i].text)};
        types[first + i] = v->tokens[i].type ? v->tokens[i].type : ACC_TOKEN_NORMAL;
        scores[first + i] = v->tokens[i].score;
    }
    acc_gguf_out_str_array(o, "tokenizer.ggml.tokens", text, n);
    acc_gguf_out_i32_array(o, "tokenizer.ggml.token_type", types, n);
    if (!bpe) acc_gguf_out_f32_array(o, "tokenizer.ggml.scores", scores, n);
    free(text);
    free(scores);
    free(types);
}

static void put_merges(acc_gguf_out *o, const test_vocab *v)
{
    acc_str *s = calloc(v->n_merges + 1, sizeof *s);
    assert_non_null(s);
    for (size_t i = 0; i < v->n_merges; i++) s[i] = (acc_str){v->merges[i], strlen(v->merges[i])};
    acc_gguf_out_str_array(o, "tokenizer.ggml.merges", s, v->n_merges);
    free(s);
}

static void write_keys(acc_writer *w, const test_vocab *v)
{
    acc_gguf_out *o;
    assert_int_equal(acc_gguf_out_create(&o, NULL), ACCLLM_OK);
    if (v->model) acc_gguf_out_str(o, "tokenizer.ggml.model", v->model);
    if (v->pre) acc_gguf_out_str(o, "tokenizer.ggml.pre", v->pre);
    if (v->chat) acc_gguf_out_str(o, "tokenizer.chat_template", v->chat);
    if (v->bos != NO_KEY) acc_gguf_out_u32(o, "tokenizer.ggml.bos_token_id", v->bos);
    if (v->eos != NO_KEY) acc_gguf_out_u32(o, "tokenizer.ggml.eos_token_id", v->eos);
    if (v->unk != NO_KEY) acc_gguf_out_u32(o, "tokenizer.ggml.unknown_token_id", v->unk);
    if (v->add_bos >= 0) acc_gguf_out_bool(o, "tokenizer.ggml.add_bos_token", v->add_bos != 0);
    put_tokens(o, v);
    put_merges(o, v);
    assert_int_equal(acc_gguf_out_begin(o, w, NULL), ACCLLM_OK);
    acc_gguf_out_free(&o);
}

char *test_bytes(const test_vocab *v, size_t *size)
{
    char *data = NULL;
    acc_writer w = {.f = open_memstream(&data, size)};
    assert_non_null(w.f);
    write_keys(&w, v);
    assert_int_equal(fclose(w.f), 0);
    return data;
}

accllm_tokenizer *test_make(const test_vocab *v, accllm_error *err)
{
    size_t size = 0;
    char *data = test_bytes(v, &size);
    acc_gguf *g;
    accllm_tokenizer *tok = NULL;
    assert_int_equal(acc_gguf_parse(&g, (const uint8_t *)data, size, NULL), ACCLLM_OK);
    accllm_status s = acc_tokenizer_create(&tok, g, err);
    assert_true((s == ACCLLM_OK) == (tok != NULL));
    acc_gguf_free(&g);
    free(data);
    return tok;
}

const char *test_ids(const accllm_tokenizer *tok, const char *text, size_t len, unsigned flags)
{
    static char out[4096];
    accllm_error err;
    int32_t *ids;
    size_t n, used = 0;
    if (accllm_tokenize(tok, text, len, flags, &ids, &n, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    out[0] = '\0';
    for (size_t i = 0; i < n && used < sizeof out; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%d", i ? " " : "", ids[i]);
    free(ids);
    return out;
}

char *test_decode(const accllm_tokenizer *tok, const int32_t *ids, size_t n, size_t *len)
{
    size_t total = 0, m;
    for (size_t i = 0; i < n; i++) {
        (void)accllm_token_bytes(tok, ids[i], &m);
        total += m;
    }
    char *out = malloc(total + 1);
    assert_non_null(out);
    *len = 0;
    for (size_t i = 0; i < n; i++) {
        const char *s = accllm_token_bytes(tok, ids[i], &m);
        memcpy(out + *len, s, m);
        *len += m;
    }
    return out;
}
