/* Byte-level BPE on small vocabularies: merges, special tokens, any bytes, hostile metadata. */
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

#define G "\xc4\xa0" /* the byte alphabet's blank, U+0120 */
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Ids from 256 on. */
static const test_token tokens[] = {
    {"th", 0, 0},
    {"the", 0, 0},
    {G "t", 0, 0},
    {G "the", 0, 0},
    {"he", 0, 0},
    {"aa", 0, 0},
    {"aaaa", 0, 0},
    {"<|im_start|>", 3, 0},
    {"<|im_end|>", 3, 0},
    {"<|im_end|>x", 3, 0},
    {"\xc3\xbc", 4, 0},
    {"", 3, 0},
    {"\xc3\x83\xc2\xbc", 0, 0},
    {"\n\n", 4, 0},
};
enum { TH = 256, THE, BT, BTHE, HE, AA, AAAA, START, END, END_X, UMLAUT, EMPTY, UMLAUT_TOKEN, LINES };
static const char *const merges[] = {"t h", "th e", G " t", G " the", "h e", "a a", "aa aa", "\xc3\x83 \xc2\xbc"};

static test_vocab vocab(void)
{
    test_vocab v = test_vocab_empty("gpt2");
    v.pre = "smollm";
    v.tokens = tokens;
    v.n_tokens = COUNT(tokens);
    v.merges = merges;
    v.n_merges = COUNT(merges);
    v.bytes = true;
    v.bos = START;
    v.eos = END;
    return v;
}

static accllm_tokenizer *make(void)
{
    accllm_error err;
    test_vocab v = vocab();
    accllm_tokenizer *t = test_make(&v, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

#define EXPECT(text, flags, ids) assert_string_equal(test_ids(t, text, sizeof(text) - 1, flags), ids)

static void merges_go_by_rank_and_from_the_left(void **state)
{
    (void)state;
    accllm_tokenizer *t = make();
    EXPECT("", 0, "");
    EXPECT("the", 0, "257");
    EXPECT(" the", 0, "259");
    EXPECT("he", 0, "260");
    EXPECT("the the", 0, "257 259");
    EXPECT("aaa", 0, "261 97");
    EXPECT("aaaaaaa", 0, "262 261 97");
    EXPECT("the1he", 0, "257 49 260");
    EXPECT("a 1", 0, "97 32 49"); /* a blank stays apart from a digit */
    EXPECT("a  b", 0, "97 32 32 98");
    accllm_tokenizer_free(&t);
    assert_null(t);
}

static void special_tokens(void **state)
{
    (void)state;
    accllm_tokenizer *t = make();
    EXPECT("<|im_end|>", ACCLLM_TOKENIZE_SPECIAL, "264");
    EXPECT("<|im_end|>xthe", ACCLLM_TOKENIZE_SPECIAL, "265 257"); /* the longest */
    EXPECT("the<|im_end|><|im_start|>the", ACCLLM_TOKENIZE_SPECIAL, "257 264 263 257");
    EXPECT("<|im_end|", ACCLLM_TOKENIZE_SPECIAL, "60 124 105 109 95 101 110 100 124");
    EXPECT("<|im_end|>", 0, "60 124 105 109 95 101 110 100 124 62");
    EXPECT("the", ACCLLM_TOKENIZE_BOS, "263 257");
    EXPECT("a\n\nthe", 0, "97 269 257"); /* user-defined tokens need no flag */
    EXPECT("a\xc3\xbc", 0, "97 266");
    assert_int_equal(accllm_tokenizer_bos(t), START);
    assert_int_equal(accllm_tokenizer_eos(t), END);
    assert_false(accllm_tokenizer_adds_bos(t));
    assert_true(accllm_token_ends_text(t, END));
    assert_false(accllm_token_ends_text(t, START));
    assert_false(accllm_token_ends_text(t, -1));
    accllm_tokenizer_free(&t);
}

static void texts_and_bytes_of_tokens(void **state)
{
    (void)state;
    accllm_tokenizer *t = make();
    size_t n;
    assert_int_equal(accllm_tokenizer_size(t), 256 + COUNT(tokens));
    assert_memory_equal(accllm_token_bytes(t, BTHE, &n), " the", 4);
    assert_int_equal(n, 4);
    assert_memory_equal(accllm_token_bytes(t, UMLAUT_TOKEN, &n), "\xc3\xbc", 2); /* through the alphabet */
    assert_int_equal(n, 2);
    assert_memory_equal(accllm_token_bytes(t, UMLAUT, &n), "\xc3\xbc", 2); /* as it is */
    assert_int_equal(n, 2);
    assert_string_equal(accllm_token_text(t, END), "<|im_end|>");
    (void)accllm_token_bytes(t, END, &n);
    assert_int_equal(n, 0);
    (void)accllm_token_bytes(t, EMPTY, &n);
    assert_int_equal(n, 0);
    for (int b = 0; b < 256; b++) {
        assert_int_equal((uint8_t)*accllm_token_bytes(t, b, &n), b);
        assert_int_equal(n, 1);
        assert_int_equal(acc_char_byte(acc_byte_char((uint8_t)b)), b);
    }
    assert_string_equal(accllm_token_text(t, -1), "");
    assert_string_equal(accllm_token_text(t, 1 << 20), "");
    assert_non_null(accllm_token_bytes(t, INT32_MAX, &n));
    assert_int_equal(n, 0);
    accllm_tokenizer_free(&t);
}

/* The plain rule: again and again the best-ranked pair, the leftmost of them. Words of letters only. */
static size_t by_the_rule(int32_t *ids, size_t n)
{
    static const int32_t table[][3] = {{'t', 'h', TH}, {TH, 'e', THE}, {'h', 'e', HE}, {'a', 'a', AA}, {AA, AA, AAAA}};
    for (;;) {
        size_t best = SIZE_MAX, rank = COUNT(table);
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t r = 0; r < rank; r++)
                if (table[r][0] == ids[i] && table[r][1] == ids[i + 1]) {
                    rank = r;
                    best = i;
                }
        if (best == SIZE_MAX) return n;
        ids[best] = table[rank][2];
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        n--;
    }
}

static void random_words_follow_the_rule(void **state)
{
    (void)state;
    accllm_tokenizer *t = make();
    for (uint64_t i = 0; i < 3000; i++) {
        char word[48];
        int32_t want[48], *ids;
        size_t len = 1 + acc_random(7, i) % 47, n;
        for (size_t k = 0; k < len; k++) want[k] = word[k] = "thea"[acc_random(i, k) % 4];
        size_t n_want = by_the_rule(want, len);
        assert_int_equal(accllm_tokenize(t, word, len, 0, &ids, &n, NULL), ACCLLM_OK);
        assert_int_equal(n, n_want);
        assert_memory_equal(ids, want, n * sizeof *ids);
        free(ids);
    }
    accllm_tokenizer_free(&t);
}

/* Bytes of every kind, blanks, digits, letters, broken UTF-8, special names. */
static size_t random_text(char *s, size_t cap, uint64_t seed)
{
    static const char *const bits[] = {"the",
                                       " ",
                                       "\n\n",
                                       "7",
                                       "<|im_end|>",
                                       "<|im_",
                                       "\xc3\xbc",
                                       "\xe2\x82",
                                       "\xf0\x9f\x9a\x80",
                                       "'s",
                                       "\xed\xa0\x80",
                                       "\t",
                                       "aaaa",
                                       "\xc2\x85",
                                       "."};
    size_t n = 0;
    for (uint64_t i = 0; n + 16 < cap; i++) {
        uint64_t r = acc_random(seed, i);
        if (r % 4 == 0) {
            s[n++] = (char)(r >> 8);
        } else {
            const char *b = bits[(r >> 8) % COUNT(bits)];
            memcpy(s + n, b, strlen(b));
            n += strlen(b);
        }
    }
    return n;
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    accllm_error err;
    static const char *const pres[] = {"smollm",         "gpt-2",  "llama-bpe", "qwen2",    "deepseek-llm",
                                       "deepseek-coder", "falcon", "default",   "starcoder"};
    for (size_t p = 0; p < COUNT(pres); p++) {
        test_vocab v = vocab();
        v.pre = pres[p];
        accllm_tokenizer *t = test_make(&v, &err);
        if (!t) fail_msg("%s", err.text);
        for (uint64_t i = 0; i < 60; i++) {
            static char s[8192];
            int32_t *ids;
            size_t n, len = random_text(s, i % 8 ? 200 : sizeof s, i), back;
            if (accllm_tokenize(t, s, len, 0, &ids, &n, &err) != ACCLLM_OK) fail_msg("%s: %s", pres[p], err.text);
            char *d = test_decode(t, ids, n, &back);
            assert_int_equal(back, len);
            assert_memory_equal(d, s, len);
            free(d);
            free(ids);
        }
        accllm_tokenizer_free(&t);
    }
}

static void long_words_and_long_blanks_take_no_squared_time(void **state)
{
    (void)state;
    enum { LEN = 200000 };
    static const char *const pres[] = {"smollm", "llama-bpe", "deepseek-llm", "falcon"};
    char *s = malloc(LEN + 1);
    assert_non_null(s);
    for (size_t p = 0; p < COUNT(pres); p++) {
        test_vocab v = vocab();
        v.pre = pres[p];
        accllm_tokenizer *t = test_make(&v, NULL);
        assert_non_null(t);
        for (int kind = 0; kind < 3; kind++) {
            int32_t *ids;
            size_t n;
            memset(s, "a .<"[kind], LEN);
            s[LEN] = 'x';
            assert_int_equal(accllm_tokenize(t, s, LEN + 1, ACCLLM_TOKENIZE_SPECIAL, &ids, &n, NULL), ACCLLM_OK);
            assert_int_equal(n, kind == 0 ? LEN / 4 + 1 : LEN + 1);
            free(ids);
        }
        accllm_tokenizer_free(&t);
    }
    free(s);
}

static void bytes_without_a_token_are_left_out(void **state)
{
    (void)state;
    static const test_token few[] = {{"a", 0, 0}, {"b", 0, 0}, {"ab", 0, 0}};
    static const char *const one[] = {"a b"};
    test_vocab v = test_vocab_empty("gpt2");
    v.pre = "gpt-2";
    v.tokens = few;
    v.n_tokens = COUNT(few);
    v.merges = one;
    v.n_merges = 1;
    accllm_tokenizer *t = test_make(&v, NULL);
    assert_non_null(t);
    EXPECT("ab", 0, "2");
    EXPECT("acb", 0, "0 1");
    EXPECT("c", 0, "");
    EXPECT("ab", ACCLLM_TOKENIZE_BOS, "2"); /* no BOS token */
    assert_int_equal(accllm_tokenizer_bos(t), -1);
    accllm_tokenizer_free(&t);
}

static void refused(const test_vocab *v, accllm_status code, const char *why)
{
    accllm_error err;
    assert_null(test_make(v, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.text, why)) fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

static void bad_metadata_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][1] = {{"th"}, {"t zz"}, {"zz t"}, {"t t"}, {""}, {" "}, {"t "}};
    static const test_token type9[] = {{"x", 9, 0}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        test_vocab v = vocab();
        v.merges = bad[i];
        v.n_merges = 1;
        refused(&v, ACCLLM_E_FORMAT, "merge 0");
    }
    test_vocab v = vocab();
    v.pre = "no-such";
    refused(&v, ACCLLM_E_UNSUPPORTED, "\"no-such\" is unknown; known: smollm");
    v = vocab();
    v.model = "bert";
    refused(&v, ACCLLM_E_UNSUPPORTED, "bert");
    v.model = NULL;
    refused(&v, ACCLLM_E_FORMAT, "no tokenizer");
    v = vocab();
    v.eos = 70000;
    refused(&v, ACCLLM_E_FORMAT, "eos_token_id is 70000, outside");
    v = vocab();
    v.bytes = false;
    v.n_tokens = 0;
    refused(&v, ACCLLM_E_FORMAT, "tokens is not a list");
    v = vocab();
    v.tokens = type9;
    v.n_tokens = 1;
    refused(&v, ACCLLM_E_FORMAT, "token 256 has no valid type");
    char *huge = malloc(70001);
    assert_non_null(huge);
    memset(huge, 'a', 70000);
    huge[70000] = '\0';
    const test_token long_token[] = {{huge, 0, 0}};
    v.tokens = long_token;
    refused(&v, ACCLLM_E_LIMIT, "70000 bytes");
    free(huge);
}

static void the_lowest_id_of_a_text_wins(void **state)
{
    (void)state;
    static const test_token twice[] = {{"th", 0, 0}, {"th", 0, 0}, {"<x>", 3, 0}, {"<x>", 3, 0}};
    static const char *const m[] = {"t h", "t h"};
    test_vocab v = vocab();
    v.tokens = twice;
    v.n_tokens = 4;
    v.merges = m;
    v.n_merges = 2;
    v.bos = v.eos = NO_KEY;
    accllm_tokenizer *t = test_make(&v, NULL);
    assert_non_null(t);
    EXPECT("th", 0, "256");
    EXPECT("<x>", ACCLLM_TOKENIZE_SPECIAL, "258");
    accllm_tokenizer_free(&t);
}

static void bad_arguments(void **state)
{
    (void)state;
    accllm_tokenizer *t = make();
    int32_t *ids;
    size_t n;
    assert_int_equal(accllm_tokenize(t, NULL, 3, 0, &ids, &n, NULL), ACCLLM_E_ARG);
    assert_null(ids);
    assert_int_equal(accllm_tokenize(t, "x", 1, 64, &ids, &n, NULL), ACCLLM_E_ARG);
    assert_int_equal(accllm_tokenize(t, "x", (size_t)1 << 40, 0, &ids, &n, NULL), ACCLLM_E_LIMIT);
    assert_null(ids);
    assert_int_equal(accllm_tokenize(t, NULL, 0, 0, &ids, &n, NULL), ACCLLM_OK);
    assert_non_null(ids);
    free(ids);
    accllm_tokenizer_free(&t);
    accllm_tokenizer_free(&t);
    assert_int_equal(accllm_tokenizer_open(&t, "/nonexistent/model.gguf", NULL), ACCLLM_E_IO);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank_and_from_the_left),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(texts_and_bytes_of_tokens),
        cmocka_unit_test(random_words_follow_the_rule),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(long_words_and_long_blanks_take_no_squared_time),
        cmocka_unit_test(bytes_without_a_token_are_left_out),
        cmocka_unit_test(bad_metadata_is_refused),
        cmocka_unit_test(the_lowest_id_of_a_text_wins),
        cmocka_unit_test(bad_arguments),
    };
    return cmocka_run_group_tests_name("bpe", tests, NULL, NULL);
}
