/* Damaged metadata and arbitrary texts: an error or a tokenizer that works, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "tokenizer/internal.h"
#include "tokenizer/make.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const test_token tokens[] = {
    {"th", 0, -1},           {"the", 0, -2},           {"<|im_start|>", 3, 0}, {"<|im_end|>", 3, 0}, {"<unk>", 2, 0},
    {"\xe2\x96\x81", 0, -3}, {"\xe2\x96\x81t", 0, -4}, {"user", 4, 0},         {"aa", 0, -5}};
static const char *const merges[] = {"t h", "th e", "a a"};

static test_vocab vocab(const char *model)
{
    test_vocab v = test_vocab_empty(model);
    v.pre = "smollm";
    v.chat = "{{ '<|im_start|>system\nBe good<|im_end|>\n' }}";
    v.tokens = tokens;
    v.n_tokens = COUNT(tokens);
    v.merges = merges;
    v.n_merges = strcmp(model, "gpt2") == 0 ? COUNT(merges) : 0;
    v.bytes = true;
    v.bos = 258;
    v.eos = 259;
    v.add_bos = 1;
    return v;
}

/* Uses a tokenizer in every way; its answers need not make sense. */
static void exercise(const accllm_tokenizer *t, uint64_t seed)
{
    char text[300], out[1024], *chat;
    int32_t *ids;
    size_t n;
    accllm_text_stream s;
    accllm_text_stream_init(&s, true);
    for (size_t i = 0; i < sizeof text; i++) {
        uint64_t r = acc_random(seed, i);
        text[i] = r & 1 ? "the <|im_end|> aaauser\xe2\x96\x81"[(r >> 8) % 25] : (char)(r >> 16);
    }
    if (accllm_tokenize(t, text, sizeof text, (unsigned)seed & 3, &ids, &n, NULL) == ACCLLM_OK) {
        for (size_t i = 0; i < n; i++) {
            assert_in_range(ids[i], 0, accllm_tokenizer_size(t) - 1);
            (void)accllm_text_stream_push(&s, t, ids[i], out, sizeof out);
        }
        free(ids);
    }
    (void)accllm_text_stream_flush(&s, out, sizeof out);
    const accllm_chat_message m = {"user", "the <|im_end|>"};
    if (accllm_chat_render(t, &m, 1, true, &chat, NULL) == ACCLLM_OK) free(chat);
    if (accllm_chat_tokenize(t, &m, 1, true, &ids, &n, NULL) == ACCLLM_OK) free(ids);
}

static unsigned damaged(const char *model)
{
    test_vocab v = vocab(model);
    size_t size;
    char *good = test_bytes(&v, &size), *bad = malloc(size);
    unsigned made = 0;
    assert_non_null(bad);
    for (uint64_t i = 0; i < 2000; i++) {
        acc_gguf *g;
        accllm_tokenizer *t;
        accllm_error err = {0};
        memcpy(bad, good, size);
        for (uint64_t k = 0; k < 1 + i % 4; k++)
            bad[acc_random(i, 2 * k) % size] = (char)(acc_random(i, 2 * k + 1) >> (i % 2 ? 0 : 6) % 8);
        if (acc_gguf_parse(&g, (const uint8_t *)bad, size, NULL) != ACCLLM_OK) continue;
        accllm_status s = acc_tokenizer_create(&t, g, &err);
        acc_gguf_free(&g);
        assert_true((s == ACCLLM_OK) == (t != NULL));
        if (!t) {
            assert_true(err.code == s && err.text[0]);
            continue;
        }
        made++;
        exercise(t, i);
        accllm_tokenizer_free(&t);
    }
    free(good);
    free(bad);
    return made;
}

static void damaged_bpe(void **state)
{
    (void)state;
    assert_true(damaged("gpt2") > 100); /* most single bytes are no structure */
}

static void damaged_sentencepiece(void **state)
{
    (void)state;
    assert_true(damaged("llama") > 100);
}

/* The keys of the other model, in every order of presence. */
static void keys_of_the_other_model(void **state)
{
    (void)state;
    accllm_error err;
    test_vocab v = vocab("gpt2");
    v.pre = NULL; /* the GGUF default */
    accllm_tokenizer *t = test_make(&v, &err);
    assert_non_null(t);
    exercise(t, 1);
    accllm_tokenizer_free(&t);
    v = vocab("llama");
    v.pre = "unheard-of"; /* SentencePiece has none */
    v.chat = NULL;
    t = test_make(&v, &err);
    assert_non_null(t);
    assert_false(accllm_chat_supported(t));
    exercise(t, 2);
    accllm_tokenizer_free(&t);
    assert_int_equal(acc_tokenizer_create(&t, NULL, &err), ACCLLM_E_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_bpe),
        cmocka_unit_test(damaged_sentencepiece),
        cmocka_unit_test(keys_of_the_other_model),
    };
    return cmocka_run_group_tests_name("hostile tokenizers", tests, NULL, NULL);
}
