/* Export: a plain GGUF that reads back as the same model, whatever it was made from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/compress.h"
#include "core/runtime.h"
#include "model/packed.h"
#include "numerics/numerics.h"
#include "support/pack.h"

static float *read_all(const acc_source *s, acc_tensor_id id, uint32_t layer, uint64_t *n)
{
    uint64_t rows, cols;
    accllm_error err = {0};
    acc_tensor_shape(&s->hp, id, &rows, &cols);
    *n = rows * cols;
    float *x = malloc(rows * cols * sizeof *x);
    assert_non_null(x);
    if (s->read_rows(s, id, layer, 0, rows, x, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return x;
}

static void same(const acc_source *a, const acc_source *b, bool f16, double rope_tolerance)
{
    assert_string_equal(b->hp.arch, "llama");
    assert_string_equal(a->hp.name, b->hp.name);
    assert_true(a->hp.tied == b->hp.tied && a->hp.attn_scale == b->hp.attn_scale && a->hp.norm_eps == b->hp.norm_eps);
    assert_int_equal(a->hp.n_ctx_train, b->hp.n_ctx_train);
    for (uint32_t j = 0; j < a->hp.head_dim / 2; j++)
        assert_true(fabs(a->hp.rope_freq[j] / b->hp.rope_freq[j] - 1.0) <= rope_tolerance);
    for (int i = 0; i < ACC_T_COUNT; i++) {
        acc_tensor_id id = (acc_tensor_id)i;
        uint64_t n;
        uint32_t layer = acc_tensor_is_global(id) ? 0 : a->hp.n_layers - 1;
        assert_int_equal(a->has(a, id, layer), b->has(b, id, layer));
        if (!a->has(a, id, layer)) continue;
        float *x = read_all(a, id, layer, &n), *y = read_all(b, id, layer, &n);
        bool matrix = acc_tensor_is_linear(id) || id <= ACC_T_OUTPUT;
        for (uint64_t k = 0; f16 && matrix && k < n; k++) x[k] = acc_f16_to_f32(acc_f32_to_f16(x[k]));
        if (memcmp(x, y, n * sizeof *x) != 0) fail_msg("%s differs", acc_tensor_base(id));
        free(x);
        free(y);
    }
}

static acc_source *open_source(const char *path, acc_packed **m)
{
    accllm_error err = {0};
    acc_source *s;
    *m = NULL;
    if (acc_packed_open(m, path, true, true, &err) == ACCLLM_OK) {
        assert_int_equal(acc_packed_source(&s, *m, &err), ACCLLM_OK);
        return s;
    }
    if (acc_checkpoint_open(&s, path, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return s;
}

static void export_and_compare(const char *path, const char *type, double rope_tolerance)
{
    accllm_error err = {0};
    accllm_runtime rt = {0};
    acc_packed *m, *none;
    char *out = tiny_path("exported.gguf");
    if (accllm_export(&rt, path, out, type, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    acc_source *a = open_source(path, &m), *b = open_source(out, &none);
    assert_null(none);
    same(a, b, strcmp(type, "f16") == 0, rope_tolerance);
    assert_int_equal(acc_gguf_has(a->meta, "tokenizer.ggml.tokens"), acc_gguf_has(b->meta, "tokenizer.ggml.tokens"));
    a->close(a);
    b->close(b);
    acc_packed_free(&m);
    assert_int_equal(unlink(out), 0);
    free(out);
}

static void sources_survive(void **state)
{
    (void)state;
    accllm_error err;
    tiny_options t = tiny_defaults();
    char *path = tiny_path("to-export.gguf");
    for (int i = 0; i < 4; i++) {
        t.biases = i & 1;
        t.arch = i & 1 ? "qwen2" : "llama";
        t.tied = i < 2;
        t.head_dim = i < 2 ? 32 : 48;
        t.n_embd = i < 2 ? 0 : 100;
        t.theta = i < 2 ? 10000.0 : 500000.0;
        t.rope_factors = i == 3;
        assert_int_equal(tiny_write(path, &t, &err), ACCLLM_OK);
        export_and_compare(path, "f32", i == 3 ? 1e-6 : 0.0);
        export_and_compare(path, "f16", i == 3 ? 1e-6 : 0.0);
    }
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void packed_models_survive(void **state)
{
    (void)state;
    accllm_error err;
    tiny_options t = tiny_defaults();
    char *path = tiny_path("to-export.gguf");
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        pack_options o = pack_defaults((acc_format)f);
        t.biases = f == 1;
        o.k_mean = f == 2;
        o.embd_scale = f != 0;
        assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
        export_and_compare(path, "f32", 1e-12);
    }
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void failures_leave_no_file(void **state)
{
    (void)state;
    accllm_error err = {0};
    accllm_runtime rt = {0};
    tiny_options t = tiny_defaults();
    char *path = tiny_path("to-export.gguf"), *out = tiny_path("exported.gguf");
    assert_int_equal(tiny_write(path, &t, &err), ACCLLM_OK);
    assert_int_equal(accllm_export(&rt, path, out, "q4_0", &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_export(&rt, "/nowhere/x", out, "f16", &err), ACCLLM_E_IO);
    assert_int_equal(accllm_export(&rt, path, "/nowhere/x", "f16", &err), ACCLLM_E_IO);
    atomic_store(&rt.abort, true);
    assert_int_equal(accllm_export(&rt, path, out, "f16", &err), ACCLLM_E_CANCELLED);
    atomic_store(&rt.abort, false);
    acc_gguf *g;
    assert_int_equal(acc_gguf_open(&g, path, true, &err), ACCLLM_OK);
    long at = (long)acc_gguf_find(g, "blk.1.ffn_up.weight")->offset;
    acc_gguf_free(&g);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    const float large = 65520.0f; /* the least that f16 rounds to infinity */
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(&large, 4, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(accllm_export(&rt, path, out, "f16", &err), ACCLLM_E_NUMERIC);
    assert_non_null(strstr(err.text, "ffn_up of layer 1"));
    assert_int_not_equal(access(out, F_OK), 0);
    assert_int_equal(accllm_export(&rt, path, out, "f32", &err), ACCLLM_OK);
    assert_int_equal(unlink(out) | unlink(path), 0);
    free(path);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources_survive),
        cmocka_unit_test(packed_models_survive),
        cmocka_unit_test(failures_leave_no_file),
    };
    return cmocka_run_group_tests_name("export", tests, NULL, NULL);
}
