/* GGUF: what the writer writes the reader reads; tensor types against values worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/gguf.h"
#include "gguf_bytes.h"

static void one_tensor(bytes *b, uint32_t type, const void *data, size_t n, uint64_t columns, uint64_t rows)
{
    header(b, 3, 1, 0);
    tensor_info(b, "t", 2, (uint64_t[]){columns, rows}, type, 0);
    pad(b, 32);
    add(b, data, n);
}

static void check_values(uint32_t type, const void *data, size_t bytes_n, const float *want, size_t n)
{
    bytes b;
    acc_gguf *g;
    accllm_error err;
    float got[64];
    one_tensor(&b, type, data, bytes_n, n, 1);
    assert_int_equal(acc_gguf_parse(&g, b.data, b.n, &err), ACCLLM_OK);
    const acc_gguf_tensor *t = acc_gguf_find(g, "t");
    assert_non_null(t);
    assert_int_equal(t->bytes, bytes_n);
    assert_int_equal(acc_gguf_read_f32(g, t, 0, n, got, &err), ACCLLM_OK);
    assert_memory_equal(got, want, n * sizeof *want);
    assert_int_equal(acc_gguf_read_f32(g, t, 0, n + 32, got, &err), ACCLLM_E_ARG);
    assert_int_equal(acc_gguf_read_f32(g, t, UINT64_MAX - 31, 64, got, &err), ACCLLM_E_ARG);
    acc_gguf_free(&g);
}

static void plain_types_become_floats(void **state)
{
    (void)state;
    const float f32[] = {1.5f, -0.0f, 0x1p-149f, INFINITY};
    check_values(ACC_GGML_F32, f32, sizeof f32, f32, 4);
    const uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0x7c00, 0xfc00};
    const float half[] = {1.0f, -2.0f, 0x1p-24f, -1023 * 0x1p-24f, 0x1p-14f, 65504.0f, INFINITY, -INFINITY};
    check_values(ACC_GGML_F16, f16, sizeof f16, half, 8);
    const uint16_t bf16[] = {0x3f80, 0xc040, 0x0001, 0x7f80};
    const float brain[] = {1.0f, -3.0f, 0x1p-133f, INFINITY};
    check_values(ACC_GGML_BF16, bf16, sizeof bf16, brain, 4);
    const int8_t i8[] = {-128, 0, 127};
    check_values(ACC_GGML_I8, i8, sizeof i8, (const float[]){-128.0f, 0.0f, 127.0f}, 3);
}

static void block_types_become_floats(void **state)
{
    (void)state;
    uint8_t q[64] = {0x00, 0x38}; /* scale 0.5 */
    float want[32];
    for (int i = 0; i < 32; i++) {
        q[2 + i] = (uint8_t)(i * 8 - 128);
        want[i] = 0.5f * (float)(i * 8 - 128);
    }
    check_values(ACC_GGML_Q8_0, q, 34, want, 32);
    for (int i = 0; i < 16; i++) {
        q[2 + i] = (uint8_t)(i | (15 - i) << 4);
        want[i] = 0.5f * (float)(i - 8);
        want[16 + i] = 0.5f * (float)(15 - i - 8);
    }
    check_values(ACC_GGML_Q4_0, q, 18, want, 32);
    q[2] = 0x00;
    q[3] = 0xbc; /* minimum -1 */
    for (int i = 0; i < 16; i++) {
        q[4 + i] = (uint8_t)(i | (15 - i) << 4);
        want[i] = 0.5f * (float)i - 1.0f;
        want[16 + i] = 0.5f * (float)(15 - i) - 1.0f;
    }
    check_values(ACC_GGML_Q4_1, q, 20, want, 32);
}

static void a_type_that_is_not_read_is_named(void **state)
{
    (void)state;
    bytes b;
    acc_gguf *g;
    accllm_error err;
    float x[256];
    uint8_t data[210] = {0};
    one_tensor(&b, 14, data, sizeof data, 256, 1);
    assert_int_equal(acc_gguf_parse(&g, b.data, b.n, &err), ACCLLM_OK);
    assert_int_equal(acc_gguf_tensor_at(g, 0)->bytes, 0);
    assert_int_equal(acc_gguf_read_f32(g, acc_gguf_tensor_at(g, 0), 0, 256, x, &err), ACCLLM_E_UNSUPPORTED);
    assert_string_equal(err.text, "tensor t has type q6_k (14), which is not read");
    assert_null(acc_gguf_tensor_at(g, 1));
    acc_gguf_free(&g);
    assert_string_equal(acc_ggml_type_name(0), "f32");
    assert_string_equal(acc_ggml_type_name(30), "bf16");
    assert_string_equal(acc_ggml_type_name(12345), "unknown type");
}

/* ---- writer and reader ---- */

static void write_sample(const char *path, const acc_gguf *copied)
{
    accllm_error err;
    acc_gguf_out *o;
    acc_writer w;
    assert_int_equal(acc_gguf_out_create(&o, &err), ACCLLM_OK);
    acc_gguf_out_str(o, "general.name", "sample");
    acc_gguf_out_u32(o, "a.u32", 7);
    acc_gguf_out_u64(o, "a.u64", UINT64_MAX);
    acc_gguf_out_f32(o, "a.f32", 0.25f);
    acc_gguf_out_bool(o, "a.bool", true);
    acc_gguf_out_str_array(o, "b.str", (const acc_str[]){{"x", 1}, {"", 0}, {"a\0b", 3}}, 3);
    acc_gguf_out_u32_array(o, "b.u32", (const uint32_t[]){1, UINT32_MAX}, 2);
    acc_gguf_out_u64_array(o, "b.u64", (const uint64_t[]){1, UINT64_MAX}, 2);
    acc_gguf_out_i32_array(o, "b.i32", (const int32_t[]){-1, 5}, 2);
    acc_gguf_out_f32_array(o, "b.f32", (const float[]){-1.5f}, 1);
    if (copied) acc_gguf_out_copy(o, copied, "tokenizer.");
    acc_gguf_out_tensor(o, "one", ACC_GGML_F32, 2, (const uint64_t[]){3, 2});
    acc_gguf_out_tensor(o, "two", ACC_GGML_I8, 1, (const uint64_t[]){65});
    assert_int_equal(acc_writer_open(&w, path, &err), ACCLLM_OK);
    assert_int_equal(acc_gguf_out_begin(o, &w, &err), ACCLLM_OK);
    assert_int_equal(acc_gguf_out_put(o, &w, (const float[]){0, 1, 2, 3, 4, 5}, 24, &err), ACCLLM_OK);
    uint8_t blob[65];
    memset(blob, 9, sizeof blob);
    acc_gguf_out_piece_begin(o, &w);
    acc_writer_put(&w, blob, 60);
    acc_writer_put(&w, blob, 5);
    assert_int_equal(acc_gguf_out_piece_end(o, &w, &err), ACCLLM_OK);
    assert_int_equal(acc_gguf_out_put(o, &w, blob, 1, &err), ACCLLM_E_ARG);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_OK);
    acc_gguf_out_free(&o);
}

static void check_scalars(const acc_gguf *g)
{
    uint32_t u32;
    uint64_t u64;
    double f64;
    bool yes = false;
    acc_str s;
    assert_true(acc_gguf_str(g, "general.name", &s) && s.n == 6 && memcmp(s.s, "sample", 6) == 0);
    assert_true(acc_gguf_u32(g, "a.u32", &u32) && u32 == 7);
    assert_true(acc_gguf_u64(g, "a.u64", &u64) && u64 == UINT64_MAX);
    assert_false(acc_gguf_u32(g, "a.u64", &u32));
    assert_true(acc_gguf_f64(g, "a.f32", &f64) && f64 == 0.25);
    assert_true(acc_gguf_bool(g, "a.bool", &yes) && yes);
    assert_false(acc_gguf_has(g, "a.u3"));
    assert_false(acc_gguf_has(g, "a.u322"));
    assert_false(acc_gguf_u32(g, "a.f32", &u32));
    assert_false(acc_gguf_f64(g, "a.u32", &f64));
    assert_false(acc_gguf_str(g, "a.u32", &s));
}

static void check_arrays(const acc_gguf *g)
{
    acc_gguf_kv_type type;
    size_t n;
    acc_str s;
    uint64_t u64;
    int64_t i64;
    double f64;
    assert_true(acc_gguf_array(g, "b.str", &type, &n) && type == ACC_GGUF_STRING && n == 3);
    assert_true(acc_gguf_array_str(g, "b.str", 2, &s) && s.n == 3 && memcmp(s.s, "a\0b", 3) == 0);
    assert_true(acc_gguf_array_str(g, "b.str", 1, &s) && s.n == 0);
    assert_false(acc_gguf_array_str(g, "b.str", 3, &s));
    assert_false(acc_gguf_array_str(g, "b.u32", 0, &s));
    assert_true(acc_gguf_array_u64(g, "b.u32", 1, &u64) && u64 == UINT32_MAX);
    assert_true(acc_gguf_array_u64(g, "b.u64", 1, &u64) && u64 == UINT64_MAX);
    assert_false(acc_gguf_array_i64(g, "b.u64", 1, &i64));
    assert_true(acc_gguf_array_i64(g, "b.i32", 0, &i64) && i64 == -1);
    assert_false(acc_gguf_array_u64(g, "b.i32", 0, &u64));
    assert_true(acc_gguf_array_f64(g, "b.f32", 0, &f64) && f64 == -1.5);
    assert_false(acc_gguf_array_f64(g, "b.f32", 1, &f64));
    assert_false(acc_gguf_array(g, "a.u32", &type, &n));
}

static void the_reader_reads_what_the_writer_wrote(void **state)
{
    (void)state;
    char path[] = "/tmp/acc-gguf-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    write_sample(path, NULL);
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        accllm_error err;
        acc_gguf *g;
        float x[6];
        assert_int_equal(acc_gguf_open(&g, path, use_mmap, &err), ACCLLM_OK);
        check_scalars(g);
        check_arrays(g);
        assert_int_equal(acc_gguf_n_tensors(g), 2);
        const acc_gguf_tensor *t = acc_gguf_find(g, "one");
        assert_true(t && t->dim[0] == 3 && t->dim[1] == 2 && t->dim[2] == 1 && t->offset % 64 == 0);
        assert_int_equal(acc_gguf_read_f32(g, t, 1, 5, x, &err), ACCLLM_OK);
        assert_true(x[0] == 1.0f && x[4] == 5.0f);
        t = acc_gguf_find(g, "two");
        assert_true(t && t->bytes == 65 && t->offset % 64 == 0 && acc_gguf_data(g, t)[64] == 9);
        assert_null(acc_gguf_find(g, "tw"));
        acc_gguf_free(&g);
        acc_gguf_free(&g);
    }
    assert_int_equal(unlink(path), 0);
}

static void keys_are_copied_byte_for_byte(void **state)
{
    (void)state;
    bytes b;
    header(&b, 3, 0, 3);
    size_t from = b.n;
    add_str(&b, "tokenizer.x");
    add_u32(&b, ACC_GGUF_I16);
    add(&b, "\xff\xfe", 2);
    add_str(&b, "tokenizer.y");
    add_u32(&b, ACC_GGUF_ARRAY);
    add_u32(&b, ACC_GGUF_STRING);
    add_u64(&b, 2);
    add_str(&b, "abc");
    add_str(&b, "");
    size_t to = b.n;
    add_str(&b, "other");
    add_u32(&b, ACC_GGUF_U8);
    add(&b, "\1", 1);
    acc_gguf *g;
    acc_file f;
    accllm_error err;
    char path[] = "/tmp/acc-gguf-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(acc_gguf_parse(&g, b.data, b.n, &err), ACCLLM_OK);
    write_sample(path, g);
    acc_gguf_free(&g);
    assert_int_equal(acc_file_open(&f, path, true, &err), ACCLLM_OK);
    assert_non_null(memmem(f.data, f.size, b.data + from, to - from));
    assert_null(memmem(f.data, f.size, "other", 5));
    acc_file_close(&f);
    assert_int_equal(unlink(path), 0);
}

static void the_writer_refuses_nonsense(void **state)
{
    (void)state;
    accllm_error err;
    for (int i = 0; i < 4; i++) {
        acc_gguf_out *o;
        acc_writer w = {0};
        assert_int_equal(acc_gguf_out_create(&o, &err), ACCLLM_OK);
        acc_gguf_out_u32(o, "k", 1);
        acc_gguf_out_tensor(o, "t", ACC_GGML_I8, 1, (const uint64_t[]){1});
        if (i == 0) acc_gguf_out_u32(o, "k", 1);
        if (i == 1) acc_gguf_out_tensor(o, "t", ACC_GGML_I8, 1, (const uint64_t[]){1});
        if (i == 2) acc_gguf_out_tensor(o, "u", ACC_GGML_Q4_0, 1, (const uint64_t[]){31});
        if (i == 3) acc_gguf_out_tensor(o, "u", ACC_GGML_F32, 2, (const uint64_t[]){1u << 31, UINT64_C(1) << 40});
        assert_int_equal(acc_gguf_out_begin(o, &w, &err), ACCLLM_E_ARG);
        acc_gguf_out_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_types_become_floats),        cmocka_unit_test(block_types_become_floats),
        cmocka_unit_test(a_type_that_is_not_read_is_named), cmocka_unit_test(the_reader_reads_what_the_writer_wrote),
        cmocka_unit_test(keys_are_copied_byte_for_byte),    cmocka_unit_test(the_writer_refuses_nonsense),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
