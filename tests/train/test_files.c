/* The trainer program's files: vocabularies, texts cut into sequences, and that a written model reads back as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "train.h"

#define B "\xe2\x96\x81" /* SentencePiece's blank */

static const char vocab_text[] =
    "<unk>\t0\n<s>\t0\n</s>\t0\n<0x0A>\t0\n<0xC3>\t0\n" B "a\t-0\nb\t-1\n" B "\t-2\na\t-3.5";
enum { UNK, BOS, EOS, NEWLINE, C3, BLANK_A, LETTER_B, BLANK, LETTER_A, N_PIECES };

static char path[64];

static const char *file_of(const char *text, size_t n)
{
    (void)snprintf(path, sizeof path, "/tmp/acc-train-files-%d", (int)getpid());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static void read_vocab(train_vocab *v)
{
    accllm_error err;
    if (train_vocab_read(v, file_of(vocab_text, sizeof vocab_text - 1), &err) != ACCLLM_OK) fail_msg("%s", err.text);
    (void)unlink(path);
}

static void test_vocab(void **state)
{
    (void)state;
    static const int32_t types[N_PIECES] = {2, 3, 3, 6, 6, 1, 1, 1, 1};
    train_vocab v;
    read_vocab(&v);
    assert_int_equal(v.n, N_PIECES);
    assert_memory_equal(v.types, types, sizeof types);
    assert_true(v.unk == UNK && v.bos == BOS && v.eos == EOS && v.scores[LETTER_A] == -3.5f);
    assert_true(v.pieces[BLANK_A].n == 4 && memcmp(v.pieces[BLANK_A].s, B "a", 4) == 0);
    train_vocab_free(&v);
}

static void test_bad_vocab(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "<unk>\n",
                                      "\t0\n",
                                      "<unk>\t0\n<s>\t0\n",
                                      "<unk>\t0\n<s>\t0\n</s>\tinf\n",
                                      "<unk>\t0\n<s>\t0\n</s>\t\n",
                                      "<unk>\t0\n\n<s>\t0\n</s>\t0\n",
                                      "<unk>\t0 0\n<s>\t0\n</s>\t0\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        train_vocab v;
        accllm_error err;
        if (train_vocab_read(&v, file_of(bad[i], strlen(bad[i])), &err) != ACCLLM_E_FORMAT) fail_msg("case %zu", i);
        assert_null(v.text);
    }
    (void)unlink(path);
}

static void cut(train_text *t, const char *text, uint32_t seq_len)
{
    train_vocab v;
    accllm_tokenizer *tok;
    accllm_error err;
    *t = (train_text){.seq_len = seq_len};
    read_vocab(&v);
    if (train_vocab_tokenizer(&v, &tok, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (train_text_add(t, tok, file_of(text, strlen(text)), &err) != ACCLLM_OK) fail_msg("%s", err.text);
    train_text_close(t, tok, UINT32_MAX);
    accllm_tokenizer_free(&tok);
    train_vocab_free(&v);
    (void)unlink(path);
}

static void expect_ids(const char *text, uint32_t seq_len, const int32_t *ids, size_t n, uint64_t bytes)
{
    train_text t;
    cut(&t, text, seq_len);
    assert_int_equal((size_t)t.n_seqs * seq_len, n);
    assert_memory_equal(t.ids, ids, n * sizeof *ids);
    assert_int_equal(t.bytes, bytes);
    train_text_free(&t);
}

#define EXPECT(text, seq_len, bytes, ...)                                \
    do {                                                                 \
        const int32_t ids[] = {__VA_ARGS__};                             \
        expect_ids(text, seq_len, ids, sizeof ids / sizeof *ids, bytes); \
    } while (0)

static void test_text(void **state)
{
    (void)state;
    /* Documents are BOS .. EOS; a sequence that begins inside one gets a BOS; the rest that fills none is left. */
    EXPECT("ab a\n<|endoftext|>\nab\n<|endoftext|>\n", 4, 7, BOS, BLANK_A, LETTER_B, BLANK_A, BOS, EOS, BOS, BLANK_A);
    EXPECT("a\n<|endoftext|>\na a", 3, 6, BOS, BLANK_A, EOS, BOS, BLANK_A, BLANK_A);
    /* Empty documents are none. */
    EXPECT("\n<|endoftext|>\n<|endoftext|>\nab a\n<|endoftext|>", 5, 5, BOS, BLANK_A, LETTER_B, BLANK_A, EOS);
}

static float *rows_of(const acc_source *s, acc_tensor_id id, uint32_t layer, size_t *n)
{
    uint64_t rows, cols;
    acc_tensor_shape(&s->hp, id, &rows, &cols);
    float *x = malloc(rows * cols * sizeof *x);
    assert_non_null(x);
    assert_int_equal(s->read_rows(s, id, layer, 0, rows, x, NULL), ACCLLM_OK);
    *n = rows * cols;
    return x;
}

/* The file read again gives every matrix as it was in memory: rotary pairs went out and came back. */
static void round_trip(train_options *o)
{
    train_vocab v;
    acc_source *first, *again;
    acc_train_model m;
    accllm_error err;
    read_vocab(&v);
    char out[72];
    (void)snprintf(out, sizeof out, "%s.gguf", path);
    o->out = out;
    assert_int_equal(train_source_create(&first, o, v.n, &err), ACCLLM_OK);
    assert_int_equal(acc_train_model_create(&m, first, NULL, NULL, NULL, false, &err), ACCLLM_OK);
    assert_int_equal(acc_train_model_load(&m, first, &err), ACCLLM_OK);
    assert_int_equal(train_model_write(&m, &v, o, &err), ACCLLM_OK);
    if (acc_checkpoint_open(&again, out, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_true(again->hp.tied && again->hp.n_vocab == N_PIECES && again->hp.n_ctx_train == 32);
    for (uint32_t i = 0; i < m.n_tensors; i++) {
        size_t n;
        const acc_train_tensor *t = &m.tensors[i];
        float *x = rows_of(again, t->id, t->layer, &n);
        assert_int_equal(n, acc_train_size(t));
        for (size_t k = 0; k < n; k++)
            assert_true(o->f32 ? x[k] == t->latent[k]
                               : fabsf(x[k] - t->latent[k]) <= 0x1p-11f * fabsf(x[k]) + 0x1p-24f);
        free(x);
    }
    again->close(again);
    first->close(first);
    acc_train_model_free(&m);
    train_vocab_free(&v);
    (void)unlink(out);
}

static void test_model(void **state)
{
    (void)state;
    train_options o = {.dim = 24,
                       .layers = 2,
                       .heads = 3,
                       .kv_heads = 1,
                       .head_dim = 8,
                       .ff = 40,
                       .context = 32,
                       .spread = 0.02,
                       .seed = 5,
                       .name = "test"};
    round_trip(&o);
    o.f32 = true;
    round_trip(&o);
}

/* Mean 0 and the wished deviation; smaller where matrices add to the residual. */
static void test_first_weights(void **state)
{
    (void)state;
    train_options o = {.dim = 64,
                       .layers = 2,
                       .heads = 4,
                       .kv_heads = 4,
                       .head_dim = 16,
                       .ff = 128,
                       .context = 32,
                       .spread = 0.02,
                       .seed = 5};
    acc_source *s;
    assert_int_equal(train_source_create(&s, &o, 300, NULL), ACCLLM_OK);
    for (int id = 0; id < ACC_T_ATTN_Q_BIAS; id++) {
        size_t n;
        double sum = 0, square = 0;
        if (!s->has(s, (acc_tensor_id)id, 1)) continue;
        float *x = rows_of(s, (acc_tensor_id)id, acc_tensor_is_global((acc_tensor_id)id) ? 0 : 1, &n);
        for (size_t i = 0; i < n; i++) {
            sum += (double)x[i];
            square += (double)x[i] * (double)x[i];
        }
        const bool norm = n == 64, adds = id == ACC_T_ATTN_OUT || id == ACC_T_FFN_DOWN;
        const double mean = sum / (double)n, sd = norm ? 0 : adds ? 0.01 : 0.02;
        assert_true(fabs(mean - (norm ? 1 : 0)) < 0.001);
        assert_true(fabs(sqrt(fabs(square / (double)n - mean * mean)) - sd) < 0.0005);
        free(x);
    }
    s->close(s);
    o.head_dim = 7;
    accllm_error err;
    assert_int_equal(train_source_create(&s, &o, 300, &err), ACCLLM_E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vocab), cmocka_unit_test(test_bad_vocab),
                                       cmocka_unit_test(test_text), cmocka_unit_test(test_model),
                                       cmocka_unit_test(test_first_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
