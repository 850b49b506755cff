/* Real checkpoints: SmolLM2 (GGUF) and two llama2.c models. Skipped where they are absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/hash.h"
#include "format/checkpoint.h"
#include "support/tiny.h"

static acc_source *open_or_skip(char *path)
{
    accllm_error err = {0};
    acc_source *s = NULL;
    if (!path) skip();
    if (acc_checkpoint_open(&s, path, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    free(path);
    return s;
}

static void token(const acc_gguf *g, size_t i, const char *want, int64_t type)
{
    acc_str s;
    int64_t t;
    assert_true(acc_gguf_array_str(g, "tokenizer.ggml.tokens", i, &s));
    assert_int_equal(s.n, strlen(want));
    assert_memory_equal(s.s, want, s.n);
    assert_true(acc_gguf_array_i64(g, "tokenizer.ggml.token_type", i, &t) && t == type);
}

static void stories260k(void **state)
{
    (void)state;
    acc_source *s = open_or_skip(tiny_shared("models/stories260K/stories260K.bin"));
    accllm_error err;
    float x[64];
    assert_int_equal(s->hp.n_embd, 64);
    assert_int_equal(s->hp.n_ff, 172);
    assert_int_equal(s->hp.n_layers, 5);
    assert_int_equal(s->hp.n_kv_heads, 4);
    assert_int_equal(s->hp.head_dim, 8);
    assert_true(s->hp.tied && !s->has(s, ACC_T_OUTPUT, 0) && !s->has(s, ACC_T_ATTN_Q_BIAS, 0));
    assert_int_equal(s->read_rows(s, ACC_T_TOKEN_EMBD, 0, 0, 1, x, &err), ACCLLM_OK);
    uint32_t first;
    memcpy(&first, &x[0], 4);
    assert_int_equal(first, 0xbe96e950);
    token(s->meta, 0, "<unk>", 2);
    token(s->meta, 1, "<s>", 3);
    token(s->meta, 2, "</s>", 3);
    token(s->meta, 3, "<0x00>", 6);
    token(s->meta, 259, "\xe2\x96\x81t", 1);
    s->close(s);
}

static void babyllama(void **state)
{
    (void)state;
    acc_source *s = open_or_skip(tiny_shared("models/babyllama105/model5000.bin"));
    assert_int_equal(s->hp.n_vocab, 105);
    assert_int_equal(s->hp.head_dim, 16);
    token(s->meta, 3, "\xe2\x96\x81", 1);
    s->close(s);
}

static void other_llama2c_layouts_are_named(void **state)
{
    (void)state;
    accllm_error err = {0};
    acc_source *s;
    char *path = tiny_shared("models/stories260K/stories260K_v1.bin");
    if (!path) skip();
    assert_int_equal(acc_checkpoint_open(&s, path, true, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "layout 1 or 2"));
    free(path);
}

static void smollm2(void **state)
{
    (void)state;
    acc_source *s = open_or_skip(tiny_real_model());
    accllm_error err;
    assert_int_equal(s->hp.n_layers, 30);
    assert_int_equal(s->hp.n_embd, 576);
    assert_int_equal(s->hp.n_ff, 1536);
    assert_int_equal(s->hp.n_heads, 9);
    assert_int_equal(s->hp.n_kv_heads, 3);
    assert_int_equal(s->hp.n_vocab, 49152);
    assert_int_equal(s->hp.n_ctx_train, 8192);
    assert_true(s->hp.tied && s->hp.rope_freq[0] == 1.0);
    float *x = malloc(1536 * 576 * sizeof *x);
    assert_non_null(x);
    for (int id = 0; id < ACC_T_ATTN_Q_BIAS; id++) {
        uint64_t rows, cols;
        if (id == ACC_T_OUTPUT) continue;
        acc_tensor_shape(&s->hp, (acc_tensor_id)id, &rows, &cols);
        for (uint64_t r = 0; r < rows; r += 1536)
            assert_int_equal(s->read_rows(s, (acc_tensor_id)id, 0, r, rows - r < 1536 ? rows - r : 1536, x, &err),
                             ACCLLM_OK);
    }
    free(x);
    s->close(s);
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* One copy, cut shorter and shorter: half of the places anywhere, half in the header. */
static void truncations_of_smollm2(void **state)
{
    (void)state;
    accllm_error err = {0};
    acc_file f;
    acc_writer w;
    acc_source *s = NULL;
    acc_gguf *g;
    uint64_t cut[200];
    char *path = tiny_real_model();
    if (!path) skip();
    char *copy = tiny_path("truncated.gguf");
    assert_int_equal(acc_file_open(&f, path, true, &err), ACCLLM_OK);
    assert_int_equal(acc_gguf_parse(&g, f.data, f.size, &err), ACCLLM_OK);
    uint64_t header = acc_gguf_tensor_at(g, 0)->offset;
    acc_gguf_free(&g);
    assert_int_equal(acc_writer_open(&w, copy, &err), ACCLLM_OK);
    acc_writer_put(&w, f.data, f.size);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_OK);
    for (int i = 0; i < 200; i++) cut[i] = acc_random(7, (uint64_t)i) % (i % 2 ? header : f.size);
    qsort(cut, 200, sizeof *cut, descending);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(truncate(copy, (off_t)cut[i]), 0);
        assert_int_equal(acc_checkpoint_open(&s, copy, i % 4 != 0, &err), ACCLLM_E_FORMAT);
        assert_null(s);
    }
    assert_int_equal(unlink(copy), 0);
    acc_file_close(&f);
    free(copy);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories260k),
        cmocka_unit_test(babyllama),
        cmocka_unit_test(other_llama2c_layouts_are_named),
        cmocka_unit_test(smollm2),
        cmocka_unit_test(truncations_of_smollm2),
    };
    return cmocka_run_group_tests_name("checkpoint-real", tests, NULL, NULL);
}
