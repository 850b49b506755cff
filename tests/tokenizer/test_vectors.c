/* Published vectors on real vocabularies, and the real model's own. Skipped where the data is not at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/file.h"
#include "support/tiny.h"
#include "tokenizer/make.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

static accllm_tokenizer *open_or_skip(const char *path)
{
    accllm_tokenizer *t;
    accllm_error err;
    if (!path) skip();
    if (accllm_tokenizer_open(&t, path, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return t;
}

static acc_file read_beside(const char *gguf, const char *suffix)
{
    acc_file f;
    accllm_error err;
    char *path = NULL;
    assert_true(asprintf(&path, "%s%s", gguf, suffix) > 0);
    if (acc_file_open(&f, path, false, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    free(path);
    return f;
}

/* Texts parted by the separator, ids one line each. */
static size_t run_vectors(const accllm_tokenizer *t, const acc_file *in, const acc_file *out)
{
    const char *text = (const char *)in->data, *text_end = text + in->size;
    const char *line = (const char *)out->data, *line_end = line + out->size;
    size_t count = 0;
    for (const char *stop; (stop = memmem(text, (size_t)(text_end - text), SEPARATOR, strlen(SEPARATOR))); count++) {
        const char *eol = memchr(line, '\n', (size_t)(line_end - line));
        assert_non_null(eol);
        while (line < eol && *line == ' ') line++;
        size_t n = (size_t)(eol - line);
        while (n > 0 && line[n - 1] == ' ') n--;
        const char *got = test_ids(t, text, (size_t)(stop - text), 0);
        if (strlen(got) != n || memcmp(got, line, n) != 0)
            fail_msg("text %zu: %s instead of %.*s", count, got, (int)n, line);
        line = eol + 1;
        text = stop + strlen(SEPARATOR);
    }
    assert_int_equal(line, line_end);
    return count;
}

static void check_vectors(const char *name)
{
    char *path = tiny_shared(name);
    accllm_tokenizer *t = open_or_skip(path);
    acc_file in = read_beside(path, ".inp"), out = read_beside(path, ".out");
    assert_int_equal(run_vectors(t, &in, &out), 46);
    acc_file_close(&in);
    acc_file_close(&out);
    accllm_tokenizer_free(&t);
    free(path);
}

static void gpt2(void **state)
{
    (void)state;
    check_vectors("tokenizers/gpt2/ggml-vocab-gpt-2.gguf");
}

static void llama2(void **state)
{
    (void)state;
    check_vectors("tokenizers/llama2/ggml-vocab-llama-spm.gguf");
}

static void deepseek(void **state)
{
    (void)state;
    check_vectors("tokenizers/deepseek-llm/ggml-vocab-deepseek-llm.gguf");
}

/* The lines of merges.txt after its first, "#version". */
static void put_merges(acc_gguf_out *o, const acc_file *f)
{
    const char *p = (const char *)f->data, *end = p + f->size;
    acc_str *s = calloc(f->size, sizeof *s);
    size_t n = 0;
    assert_non_null(s);
    for (const char *eol; p < end && (eol = memchr(p, '\n', (size_t)(end - p))); p = eol + 1)
        if (eol > p && (n > 0 || *p != '#')) s[n++] = (acc_str){p, (size_t)(eol - p)};
    acc_gguf_out_str_array(o, "tokenizer.ggml.merges", s, n);
    free(s);
}

/* vocab.json: {"token": id}. */
static void put_tokens(acc_gguf_out *o, const json_t *vocab)
{
    size_t n = json_object_size(vocab), len;
    acc_str *s = calloc(n, sizeof *s);
    const char *key;
    json_t *id;
    assert_non_null(s);
    json_object_keylen_foreach((json_t *)(uintptr_t)vocab, key, len, id)
    {
        assert_in_range(json_integer_value(id), 0, n - 1);
        s[json_integer_value(id)] = (acc_str){key, len};
    }
    acc_gguf_out_str_array(o, "tokenizer.ggml.tokens", s, n);
    free(s);
}

static accllm_tokenizer *from_json(const char *pre, const char *folder)
{
    char *data = NULL;
    size_t size = 0;
    acc_writer w = {.f = open_memstream(&data, &size)};
    acc_file merges = read_beside(folder, "/merges.txt"), json = read_beside(folder, "/vocab.json");
    json_t *vocab = json_loadb((const char *)json.data, json.size, 0, NULL);
    acc_gguf_out *o;
    acc_gguf *g;
    accllm_tokenizer *t;
    accllm_error err;
    assert_non_null(vocab);
    assert_non_null(w.f);
    assert_int_equal(acc_gguf_out_create(&o, NULL), ACCLLM_OK);
    acc_gguf_out_str(o, "tokenizer.ggml.model", "gpt2");
    acc_gguf_out_str(o, "tokenizer.ggml.pre", pre);
    put_tokens(o, vocab);
    put_merges(o, &merges);
    assert_int_equal(acc_gguf_out_begin(o, &w, NULL), ACCLLM_OK);
    acc_gguf_out_free(&o);
    assert_int_equal(fclose(w.f), 0);
    json_decref(vocab);
    acc_file_close(&merges);
    acc_file_close(&json);
    assert_int_equal(acc_gguf_parse(&g, (const uint8_t *)data, size, NULL), ACCLLM_OK);
    if (acc_tokenizer_create(&t, g, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    acc_gguf_free(&g);
    free(data);
    return t;
}

static void qwen2(void **state)
{
    (void)state;
    char *folder = tiny_shared("tokenizers/qwen2");
    if (!folder) skip();
    accllm_tokenizer *t = from_json("qwen2", folder);
    acc_file in = read_beside(folder, "/ggml-vocab-qwen2.gguf.inp");
    acc_file out = read_beside(folder, "/ggml-vocab-qwen2.gguf.out");
    assert_int_equal(run_vectors(t, &in, &out), 46);
    acc_file_close(&in);
    acc_file_close(&out);
    accllm_tokenizer_free(&t);
    free(folder);
}

#define EXPECT(text, flags, ids) assert_string_equal(test_ids(t, text, strlen(text), flags), ids)

static void real_model(void **state)
{
    (void)state;
    char *path = tiny_real_model();
    if (!path) skip();
    accllm_tokenizer *t = open_or_skip(path);
    free(path);
    EXPECT("Hello, we can use", 0, "19556 28 392 416 722");
    EXPECT("The capital of France is", 0, "504 3575 282 4649 314");
    EXPECT("Hello world! 123", 0, "19556 905 17 216 33 34 35");
    EXPECT("Caf\xc3\xa9 d\xc3\xa9j\xc3\xa0 vu.", 0, "51 1939 2756 32564 90 16739 386 101 30");
    EXPECT("  multiple   spaces", 0, "216 2701 256 5600");
    EXPECT("<|im_start|>", ACCLLM_TOKENIZE_SPECIAL, "1");
    EXPECT("a", ACCLLM_TOKENIZE_BOS, "1 81");
    assert_int_equal(accllm_tokenizer_size(t), 49152);
    assert_int_equal(accllm_tokenizer_bos(t), 1);
    assert_int_equal(accllm_tokenizer_eos(t), 2);
    assert_false(accllm_tokenizer_adds_bos(t));
    for (int32_t id = -1; id < 49153; id++) assert_int_equal(accllm_token_ends_text(t, id), id == 0 || id == 2);
    accllm_tokenizer_free(&t);
}

static void real_chat(void **state)
{
    (void)state;
    char *path = tiny_real_model(), *text;
    if (!path) skip();
    accllm_tokenizer *t = open_or_skip(path);
    free(path);
    const accllm_chat_message hi = {"user", "Hi"};
    assert_true(accllm_chat_supported(t));
    assert_int_equal(accllm_chat_render(t, &hi, 1, true, &text, NULL), ACCLLM_OK);
    assert_string_equal(text, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
                              "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    char *expected = strdup(test_ids(t, text, strlen(text), ACCLLM_TOKENIZE_SPECIAL));
    int32_t *ids;
    size_t n, used = 0;
    char got[1024] = "";
    assert_int_equal(accllm_chat_tokenize(t, &hi, 1, true, &ids, &n, NULL), ACCLLM_OK);
    for (size_t i = 0; i < n && used < sizeof got; i++)
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%d", i ? " " : "", ids[i]);
    assert_string_equal(got, expected);
    free(ids);
    free(expected);
    free(text);
    accllm_tokenizer_free(&t);
}

/* llama2.c checkpoints: a vocabulary with byte fallback, and one of 105 single characters without. */
static void llama2c(void **state)
{
    (void)state;
    char *path = tiny_shared("models/stories260K/stories260K.bin");
    accllm_tokenizer *t = open_or_skip(path);
    free(path);
    assert_int_equal(accllm_tokenizer_size(t), 512);
    EXPECT("Once upon a time", ACCLLM_TOKENIZE_BOS, "1 403 407 261 378");
    EXPECT("\x01", 0, "410 4");
    assert_true(accllm_token_ends_text(t, 1)); /* llama2.c's models part their stories by BOS */
    accllm_tokenizer_free(&t);
    path = tiny_shared("models/babyllama105/model5000.bin");
    t = open_or_skip(path);
    free(path);
    EXPECT("\xe6\xbc\xa2\xe6\xbc\xa2 \xf0\x9f\x9a\x80", 0, "3 0 3 0");
    accllm_tokenizer_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2),       cmocka_unit_test(llama2),    cmocka_unit_test(deepseek), cmocka_unit_test(qwen2),
        cmocka_unit_test(real_model), cmocka_unit_test(real_chat), cmocka_unit_test(llama2c),
    };
    return cmocka_run_group_tests_name("tokenizer vectors", tests, NULL, NULL);
}
