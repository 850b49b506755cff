/* SentencePiece-BPE on small vocabularies: scores, blanks, byte fallback, unknown tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "tokenizer/internal.h"
#include "tokenizer/make.h"

#define B "\xe2\x96\x81" /* SentencePiece's blank */
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Ids from 256 on with byte tokens, else from 0 on. */
static const test_token tokens[] = {
    {"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0}, {B "t", 0, -1}, {"er", 0, -2}, {B "the", 0, -3}, {"he", 0, -4},
    {B "th", 0, -5}, {B, 0, -10},   {"t", 0, -11},  {"h", 0, -12},  {"e", 0, -13}, {"r", 0, -14},    {"a", 0, -15},
    {"<s", 0, -6},   {"<", 0, -16}, {"s", 0, -17},  {">", 0, -18},  {B B, 0, -7},  {"<u>", 4, 0},    {"aa", 0, -8},
};
enum { UNK, BOS, EOS, BT, ER, BTHE, HE, BTH, BLANK, T, H, E, R, A, LT_S, LT, S, GT, BB, USER, AA };

static test_vocab vocab(bool bytes)
{
    test_vocab v = test_vocab_empty("llama");
    v.tokens = tokens;
    v.n_tokens = COUNT(tokens);
    v.bytes = bytes;
    v.bos = (bytes ? 256 : 0) + BOS;
    v.eos = (bytes ? 256 : 0) + EOS;
    return v;
}

static accllm_tokenizer *make(bool bytes)
{
    accllm_error err;
    test_vocab v = vocab(bytes);
    accllm_tokenizer *t = test_make(&v, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

#define EXPECT(text, flags, ids) assert_string_equal(test_ids(t, text, sizeof(text) - 1, flags), ids)

static void the_best_score_merges_first(void **state)
{
    (void)state;
    accllm_tokenizer *t = make(false);
    assert_true(accllm_tokenizer_adds_bos(t));
    EXPECT("", ACCLLM_TOKENIZE_BOS, "1");
    EXPECT("the", ACCLLM_TOKENIZE_BOS, "1 5"); /* he (-4) before _th (-5); _the needs _t + he */
    EXPECT(" the", 0, "8 5");                  /* a blank is added whatever there is */
    EXPECT("er the", 0, "8 4 5");
    EXPECT("t  the", 0, "3 8 5");
    EXPECT("aaa", 0, "8 20 13");
    EXPECT("a" B "the", 0, "8 13 5"); /* U+2581 is a blank */
    accllm_tokenizer_free(&t);
}

static void control_tokens_only_where_asked_for(void **state)
{
    (void)state;
    accllm_tokenizer *t = make(false);
    EXPECT("<s>", 0, "8 14 17"); /* no merge makes a control token */
    EXPECT("<s>the</s>", ACCLLM_TOKENIZE_SPECIAL, "1 5 2");
    EXPECT("<unk>", ACCLLM_TOKENIZE_SPECIAL, "0");
    EXPECT("a<u>the", 0, "8 13 19 5");
    accllm_tokenizer_free(&t);
}

static void unknown_characters(void **state)
{
    (void)state;
    accllm_tokenizer *t = make(false);
    EXPECT("\xc3\xa9", 0, "8 0");
    EXPECT("a\xc3\xa9\xc3\xa9z\xff"
           "a",
           0, "8 13 0 13"); /* one for a run */
    EXPECT("z z", 0, "8 0 8 0");
    EXPECT("z<s>z", ACCLLM_TOKENIZE_SPECIAL, "8 0 1 8 0");
    accllm_tokenizer_free(&t);
    t = make(true);
    EXPECT("\xc3\xa9z", 0, "264 195 169 122"); /* byte fallback */
    EXPECT("\xff"
           "a",
           0, "264 255 269");
    accllm_tokenizer_free(&t);
}

/* An unknown token that was asked for by its name begins no run. */
static void runs_of_unknown_characters_end_with_their_text(void **state)
{
    (void)state;
    static const test_token few[] = {{"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0}, {"a", 0, -1}};
    test_vocab v = test_vocab_empty("llama");
    v.tokens = few;
    v.n_tokens = COUNT(few);
    v.bos = BOS;
    v.eos = EOS;
    accllm_tokenizer *t = test_make(&v, NULL);
    assert_non_null(t);
    EXPECT("z", 0, "0"); /* the blank and z */
    EXPECT("z<unk>z", ACCLLM_TOKENIZE_SPECIAL, "0 0 0");
    accllm_tokenizer_free(&t);
}

static void bytes_of_tokens(void **state)
{
    (void)state;
    accllm_tokenizer *t = make(true);
    size_t n;
    assert_memory_equal(accllm_token_bytes(t, 256 + BTHE, &n), " the", 4);
    assert_int_equal(n, 4);
    assert_memory_equal(accllm_token_bytes(t, 0xc3, &n), "\xc3", 1);
    assert_int_equal(n, 1);
    assert_memory_equal(accllm_token_bytes(t, 256 + UNK, &n), " \xe2\x81\x87 ", 5);
    assert_int_equal(n, 5);
    (void)accllm_token_bytes(t, 256 + BOS, &n);
    assert_int_equal(n, 0);
    assert_memory_equal(accllm_token_bytes(t, 256 + USER, &n), "<u>", 3);
    assert_string_equal(accllm_token_text(t, 256 + BT), B "t");
    accllm_tokenizer_free(&t);
}

/* A long text takes the word cache and the cut into words; a token with a blank inside takes away the latter. */
static void words_apart_or_together_give_the_same(void **state)
{
    (void)state;
    enum { LEN = 6000 };
    char text[LEN];
    int32_t *a, *b;
    size_t n, m, back;
    for (size_t i = 0; i < LEN; i++) text[i] = "the rasz  \xc3\xa9"[acc_random(5, i) % 12];
    accllm_tokenizer *apart = make(true);
    test_vocab v = vocab(true);
    test_token more[COUNT(tokens) + 1];
    memcpy(more, tokens, sizeof tokens);
    more[COUNT(tokens)] = (test_token){"q" B "q", 0, -1};
    v.tokens = more;
    v.n_tokens++;
    accllm_tokenizer *together = test_make(&v, NULL);
    assert_non_null(together);
    assert_true(apart->words_apart);
    assert_false(together->words_apart);
    assert_int_equal(accllm_tokenize(apart, text, LEN, 0, &a, &n, NULL), ACCLLM_OK);
    assert_int_equal(accllm_tokenize(together, text, LEN, 0, &b, &m, NULL), ACCLLM_OK);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n * sizeof *a);
    char *d = test_decode(apart, a, n, &back);
    assert_int_equal(back, LEN + 1);
    assert_memory_equal(d + 1, text, LEN);
    free(d);
    free(a);
    free(b);
    accllm_tokenizer_free(&apart);
    accllm_tokenizer_free(&together);
}

/* Words are kept for when they come again, but not from one piece of a text to the next, which lies elsewhere. */
static void pieces_between_control_tokens_are_tokenized_alone(void **state)
{
    (void)state;
    enum { LEN = 6000, FIRST = 20 };
    char text[LEN];
    int32_t *whole, *first, *rest;
    size_t n, n_first, n_rest;
    accllm_tokenizer *t = make(true);
    for (size_t i = 0; i < LEN; i++) text[i] = "the rasz  \xc3\xa9"[acc_random(6, i) % 12];
    memcpy(text, "the the ras he e the", FIRST);
    memcpy(text + FIRST, "<s>", 3);
    assert_int_equal(accllm_tokenize(t, text, LEN, ACCLLM_TOKENIZE_SPECIAL, &whole, &n, NULL), ACCLLM_OK);
    assert_int_equal(accllm_tokenize(t, text, FIRST, 0, &first, &n_first, NULL), ACCLLM_OK);
    assert_int_equal(accllm_tokenize(t, text + FIRST + 3, LEN - FIRST - 3, 0, &rest, &n_rest, NULL), ACCLLM_OK);
    assert_int_equal(n, n_first + 1 + n_rest);
    assert_memory_equal(whole, first, n_first * sizeof *whole);
    assert_int_equal(whole[n_first], 256 + BOS);
    assert_memory_equal(whole + n_first + 1, rest, n_rest * sizeof *whole);
    free(whole);
    free(first);
    free(rest);
    accllm_tokenizer_free(&t);
}

static void one_long_word_takes_no_squared_time(void **state)
{
    (void)state;
    enum { LEN = 300000 };
    accllm_tokenizer *t = make(true);
    char *s = malloc(LEN);
    int32_t *ids;
    size_t n;
    assert_non_null(s);
    memset(s, 'a', LEN);
    assert_int_equal(accllm_tokenize(t, s, LEN, 0, &ids, &n, NULL), ACCLLM_OK);
    assert_int_equal(n, LEN / 2 + 1);
    free(ids);
    free(s);
    accllm_tokenizer_free(&t);
}

static void scores_must_be_numbers(void **state)
{
    (void)state;
    accllm_error err;
    const test_token bad[] = {{"a", 0, NAN}};
    test_vocab v = vocab(true);
    v.tokens = bad;
    v.n_tokens = 1;
    v.bos = v.eos = NO_KEY;
    assert_null(test_make(&v, &err));
    assert_int_equal(err.code, ACCLLM_E_FORMAT);
    assert_non_null(strstr(err.text, "token 256 has no valid score"));
    const test_token infinite[] = {{"a", 0, -INFINITY}, {"b", 0, INFINITY}, {"ab", 0, -0.0f}};
    v.tokens = infinite;
    v.n_tokens = 3;
    accllm_tokenizer *t = test_make(&v, &err);
    assert_non_null(t);
    EXPECT("ab", 0, "32 258");
    accllm_tokenizer_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_score_merges_first),
        cmocka_unit_test(control_tokens_only_where_asked_for),
        cmocka_unit_test(unknown_characters),
        cmocka_unit_test(runs_of_unknown_characters_end_with_their_text),
        cmocka_unit_test(bytes_of_tokens),
        cmocka_unit_test(words_apart_or_together_give_the_same),
        cmocka_unit_test(pieces_between_control_tokens_are_tokenized_alone),
        cmocka_unit_test(one_long_word_takes_no_squared_time),
        cmocka_unit_test(scores_must_be_numbers),
    };
    return cmocka_run_group_tests_name("sentencepiece", tests, NULL, NULL);
}
