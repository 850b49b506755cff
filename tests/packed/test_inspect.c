/* Inspection: shapes, formats and sums of packed and source files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/eval.h"
#include "support/pack.h"

static const accllm_tensor_info *find(const accllm_inspection *x, const char *name)
{
    const accllm_tensor_info *t;
    size_t n = accllm_inspection_tensors(x, &t);
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].name, name) == 0) return &t[i];
    fail_msg("%s is not listed", name);
    return NULL;
}

static accllm_inspection *inspect(const char *path)
{
    accllm_error err = {0};
    accllm_inspection *x;
    if (accllm_inspect(&x, path, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return x;
}

static void a_packed_file(void **state)
{
    (void)state;
    accllm_error err;
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W2S);
    o.linear[5] = ACC_FMT_W2;
    o.linear[6] = ACC_FMT_W4;
    o.k_mean = true;
    char *path = tiny_path("inspect.gguf");
    assert_int_equal(pack_tiny(path, &t, &o, &err), ACCLLM_OK);
    accllm_inspection *x = inspect(path);
    const accllm_model_info *m = accllm_inspection_info(x);
    const accllm_tensor_info *down = find(x, "blk.1.ffn_down.w4"), *q = find(x, "blk.0.attn_q.w2s"),
                             *up = find(x, "blk.1.ffn_up.w2"), *norm = find(x, "output_norm"),
                             *embd = find(x, "token_embd.w8");
    assert_int_equal(accllm_inspection_format_version(x), ACC_FORMAT_VERSION);
    assert_true(m->packed && strcmp(m->architecture, "llama") == 0 && strcmp(m->name, "tiny") == 0);
    assert_string_equal(down->format, "w4");
    assert_true(down->rows == 128 && down->cols == 100 && down->group != 0);
    /* 128 x 128: 2 row blocks x 1 group of 1856 bytes, 128 scales */
    assert_true(q->group == 128 && q->bytes == 2 * 1856 + 128 * 4 && strcmp(q->format, "w2s") == 0);
    /* 100 x 128: 2 row blocks x 1 group of 2112 bytes, 100 scales */
    assert_true(up->group == 128 && up->bytes == 2 * 2112 + 100 * 4 && strcmp(up->format, "w2") == 0);
    assert_true(norm->rows == 1 && norm->cols == 128 && norm->group == 0 && strcmp(norm->format, "f32") == 0);
    assert_int_equal(m->head_bytes, embd->bytes);
    uint64_t linear = 2 * (128 * 128 * 2 + 64 * 128 * 2 + 3 * 100 * 128);
    assert_int_equal(m->n_linear_params, linear);
    assert_int_equal(m->n_params, linear + 300 * 128 + 5 * 128);
    const accllm_tensor_info *all;
    size_t n = accllm_inspection_tensors(x, &all);
    uint64_t bytes = 0, linear_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += all[i].bytes;
        if (strncmp(all[i].name, "blk.", 4) == 0 && all[i].group) linear_bytes += all[i].bytes;
    }
    assert_int_equal(m->linear_bytes, linear_bytes);
    assert_true(fabs(m->bits_per_weight - 8.0 * (double)linear_bytes / (double)linear) < 1e-12);
    assert_true(fabs(m->bits_per_weight_total - 8.0 * (double)bytes / (double)m->n_params) < 1e-12);
    assert_true(m->file_bytes > bytes && m->page == 64 && m->default_sinks == 4 && m->default_window == 128);
    accllm_inspection_free(&x);
    accllm_inspection_free(&x);
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void a_source_and_another_architecture(void **state)
{
    (void)state;
    accllm_error err;
    tiny_options t = tiny_defaults();
    char *path = tiny_path("inspect.gguf");
    for (int i = 0; i < 2; i++) {
        t.f16 = true;
        t.arch = i ? "gemma" : "llama";
        assert_int_equal(tiny_write(path, &t, &err), ACCLLM_OK);
        accllm_inspection *x = inspect(path);
        const accllm_model_info *m = accllm_inspection_info(x);
        assert_int_equal(accllm_inspection_format_version(x), 0);
        assert_false(m->packed);
        assert_string_equal(m->architecture, t.arch);
        assert_string_equal(find(x, "blk.1.attn_k.weight")->format, "f16");
        assert_int_equal(find(x, "blk.1.attn_k.weight")->bytes, 64 * 128 * 2);
        if (!i) assert_true(fabs(m->bits_per_weight - 16.0) < 1e-12);
        accllm_inspection_free(&x);
    }
    assert_int_equal(unlink(path), 0);
    accllm_inspection *x;
    assert_int_equal(accllm_inspect(&x, path, false, &err), ACCLLM_E_IO);
    assert_null(x);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packed_file),
        cmocka_unit_test(a_source_and_another_architecture),
    };
    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
