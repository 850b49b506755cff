/* The vocabulary of models/tiny against ids by SentencePiece's spm_encode 0.1.97 (tiny_vectors.txt: a text and its ids,
 * line by line; made with --model=models/tiny/tokenizer.model --output_format=id). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "tokenizer/make.h"
#include "train.h"

static accllm_tokenizer *tiny_tokenizer(void)
{
    train_vocab v;
    accllm_tokenizer *t;
    accllm_error err;
    if (train_vocab_read(&v, TINY_FOLDER "/tokenizer.vocab", &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(v.n, 2048);
    if (train_vocab_tokenizer(&v, &t, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    train_vocab_free(&v);
    return t;
}

static const char *line_end(const char *at, const char *end)
{
    const char *eol = memchr(at, '\n', (size_t)(end - at));
    assert_non_null(eol);
    return eol;
}

static void same_ids_as_sentencepiece(void **state)
{
    (void)state;
    acc_file f;
    accllm_tokenizer *t = tiny_tokenizer();
    size_t count = 0;
    assert_int_equal(acc_file_open(&f, VECTORS, false, NULL), ACCLLM_OK);
    for (const char *at = (const char *)f.data, *end = at + f.size; at < end; count++) {
        const char *text_end = line_end(at, end), *ids = text_end + 1, *ids_end = line_end(ids, end);
        const char *got = test_ids(t, at, (size_t)(text_end - at), 0);
        if (strlen(got) != (size_t)(ids_end - ids) || memcmp(got, ids, strlen(got)) != 0)
            fail_msg("text %zu: %s instead of %.*s", count, got, (int)(ids_end - ids), ids);
        at = ids_end + 1;
    }
    assert_int_equal(count, 23);
    acc_file_close(&f);
    accllm_tokenizer_free(&t);
}

/* A whole text comes back from its tokens, line ends and all. */
static void the_held_out_text_comes_back(void **state)
{
    (void)state;
    acc_file f;
    int32_t *ids;
    size_t n, len;
    accllm_tokenizer *t = tiny_tokenizer();
    assert_int_equal(acc_file_open(&f, TINY_FOLDER "/held-out.txt", false, NULL), ACCLLM_OK);
    assert_int_equal(accllm_tokenize(t, (const char *)f.data, f.size, 0, &ids, &n, NULL), ACCLLM_OK);
    char *back = test_decode(t, ids, n, &len);
    assert_int_equal(len, f.size + 1); /* the blank before the first word */
    assert_memory_equal(back + 1, f.data, f.size);
    assert_true(n < f.size / 3);
    free(back);
    free(ids);
    acc_file_close(&f);
    accllm_tokenizer_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_ids_as_sentencepiece),
                                       cmocka_unit_test(the_held_out_text_comes_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
