/* GGUF: damaged and hostile headers, metadata and tensor lists are refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/gguf.h"
#include "gguf_bytes.h"

/* Parses a copy of exactly n bytes, so that a sanitizer sees every read beyond. */
static accllm_status parse_copy(const uint8_t *data, size_t n, accllm_error *err)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, data, n);
    acc_gguf *g;
    accllm_status s = acc_gguf_parse(&g, copy, n, err);
    assert_true((s == ACCLLM_OK) == (g != NULL));
    acc_gguf_free(&g);
    free(copy);
    return s;
}

static void refused(const bytes *b, accllm_status code, const char *part)
{
    accllm_error err = {0};
    assert_int_equal(parse_copy(b->data, b->n, &err), code);
    if (!strstr(err.text, part)) fail_msg("\"%s\" does not tell of \"%s\"", err.text, part);
}

static void bad_headers(void **state)
{
    (void)state;
    bytes b = {0};
    refused(&b, ACCLLM_E_FORMAT, "not a GGUF file");
    header(&b, 1, 0, 0);
    refused(&b, ACCLLM_E_UNSUPPORTED, "version 1");
    header(&b, 0x03000000, 0, 0);
    refused(&b, ACCLLM_E_UNSUPPORTED, "big-endian");
    header(&b, 3, UINT64_MAX, 0);
    refused(&b, ACCLLM_E_FORMAT, "do not fit");
    header(&b, 3, 0, UINT64_MAX);
    refused(&b, ACCLLM_E_FORMAT, "do not fit");
    header(&b, 2, 0, 0);
    assert_int_equal(parse_copy(b.data, b.n, NULL), ACCLLM_OK);
}

static void bad_metadata(void **state)
{
    (void)state;
    bytes b;
    header(&b, 3, 0, 1);
    add_str(&b, "k");
    add_u32(&b, 13);
    add_u64(&b, 0);
    refused(&b, ACCLLM_E_FORMAT, "unknown type 13");
    header(&b, 3, 0, 1);
    add_str(&b, "k");
    add_u32(&b, ACC_GGUF_ARRAY);
    add_u32(&b, ACC_GGUF_ARRAY);
    add_u64(&b, 1);
    refused(&b, ACCLLM_E_UNSUPPORTED, "array of arrays");
    for (uint32_t type = 0; type < 13; type++) {
        if (type == ACC_GGUF_ARRAY) continue;
        header(&b, 3, 0, 1);
        add_str(&b, "k");
        add_u32(&b, ACC_GGUF_ARRAY);
        add_u32(&b, type);
        add_u64(&b, UINT64_C(1) << 61);
        add_u64(&b, 0);
        refused(&b, ACCLLM_E_FORMAT, "do not fit");
    }
    header(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        add_str(&b, "same");
        add_u32(&b, ACC_GGUF_U8);
        add(&b, "\1", 1);
    }
    refused(&b, ACCLLM_E_FORMAT, "same stands there twice");
    header(&b, 3, 0, 1);
    add_str(&b, "k");
    add_u32(&b, ACC_GGUF_BOOL);
    add(&b, "\2", 1);
    refused(&b, ACCLLM_E_FORMAT, "truth value");
}

/* What just fits is no damage. */
static void a_file_may_end_where_its_last_part_does(void **state)
{
    (void)state;
    bytes b;
    header(&b, 3, 0, 1);
    add_str(&b, "k");
    add_u32(&b, ACC_GGUF_STRING);
    add_str(&b, "the end");
    assert_int_equal(parse_copy(b.data, b.n, NULL), ACCLLM_OK);
    header(&b, 3, 4, 0);
    for (int i = 0; i < 4; i++)
        tensor_info(
            &b, &"aaa" [i], 1, (const uint64_t[]) { 1 }, ACC_GGML_I8, 0);
    pad(&b, 32);
    add(&b, "\1", 1);
    assert_int_equal(parse_copy(b.data, b.n, NULL), ACCLLM_OK);
}

static void bad_alignment(void **state)
{
    (void)state;
    for (uint32_t a = 0; a < 100; a++) {
        bytes b;
        header(&b, 3, 0, 1);
        add_str(&b, "general.alignment");
        add_u32(&b, ACC_GGUF_U32);
        add_u32(&b, a);
        if (a && (a & (a - 1)) == 0)
            assert_int_equal(parse_copy(b.data, b.n, NULL), ACCLLM_OK);
        else
            refused(&b, ACCLLM_E_FORMAT, "power of two");
    }
}

static void bad_tensor(uint32_t n_dims, const uint64_t *dim, uint32_t type, uint64_t offset, const char *part)
{
    bytes b;
    header(&b, 3, 1, 0);
    tensor_info(&b, "t", n_dims, dim, type, offset);
    pad(&b, 32);
    for (int i = 0; i < 64; i++) add(&b, "", 1);
    refused(&b, ACCLLM_E_FORMAT, part);
}

static void bad_tensors(void **state)
{
    (void)state;
    const uint64_t huge = UINT64_C(1) << 33;
    bad_tensor(0, NULL, 0, 0, "dimensions");
    bad_tensor(5, (const uint64_t[]){1, 1, 1, 1, 1}, 0, 0, "dimensions");
    bad_tensor(2, (const uint64_t[]){0, 4}, 0, 0, "impossible shape");
    bad_tensor(2, (const uint64_t[]){huge, huge}, 0, 0, "impossible shape");
    bad_tensor(1, (const uint64_t[]){INT64_MAX / 2}, 0, 0, "beyond the end");
    bad_tensor(1, (const uint64_t[]){INT64_MAX}, 0, 0, "impossible shape");
    bad_tensor(2, (const uint64_t[]){48, 2}, ACC_GGML_Q8_0, 0, "no whole q8_0 blocks");
    bad_tensor(1, (const uint64_t[]){16}, 0, 1, "not a multiple");
    bad_tensor(1, (const uint64_t[]){16}, 0, 32, "beyond the end");
    bad_tensor(1, (const uint64_t[]){16}, 0, UINT64_MAX - 31, "beyond the end");
    bad_tensor(1, (const uint64_t[]){16}, 77, 4096, "beyond the end");
    bytes b;
    header(&b, 3, 2, 0);
    for (int i = 0; i < 2; i++) tensor_info(&b, "same", 1, (const uint64_t[]){8}, 0, 0);
    pad(&b, 32);
    for (int i = 0; i < 32; i++) add(&b, "", 1);
    refused(&b, ACCLLM_E_FORMAT, "same stands there twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(bad_metadata),
        cmocka_unit_test(a_file_may_end_where_its_last_part_does),
        cmocka_unit_test(bad_alignment),
        cmocka_unit_test(bad_tensors),
    };
    return cmocka_run_group_tests_name("gguf damaged", tests, NULL, NULL);
}
