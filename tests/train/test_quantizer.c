/* The trainer's quantisers: nearest quads against all 121 codes, packing against values, unpacking back to the same
 * codes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "core/memory.h"
#include "train/internal.h"

static float normal(uint64_t key, uint64_t i)
{
    float sum = 0;
    for (uint64_t k = 0; k < 12; k++) sum += (float)acc_random_unit(key, 12 * i + k);
    return sum - 6;
}

static float error_of(const float u[4], const int8_t q[4])
{
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += (u[i] - (float)q[i]) * (u[i] - (float)q[i]);
    return sum;
}

static void check_quads(int l1, int l2)
{
    enum { QUADS = 20005 }; /* the last ones do not fill the vectors */
    static float all[4 * QUADS];
    static int8_t codes[4 * QUADS];
    for (uint64_t i = 0; i < 4 * QUADS; i++) all[i] = normal(3, i) * (float)(i / 4 % 5 + 1) * 0.7f;
    acc_train_quads(all, 4 * QUADS, 1, (float)l1, (float)l2, codes);
    for (uint64_t i = 0; i < QUADS; i++) {
        const float *u = all + 4 * i;
        const int8_t *q = codes + 4 * i;
        float best = INFINITY;
        int8_t quad[4];
        assert_true(acc_w2s_code(q, l1, l2) >= 0);
        for (unsigned code = 0; code < ACC_W2S_CODES; code++) {
            acc_w2s_quad(code, l1, l2, quad);
            const float e = error_of(u, quad);
            best = e < best ? e : best;
        }
        assert_true(error_of(u, q) <= best * 1.00001f + 1e-5f);
    }
}

static void test_quads(void **state)
{
    (void)state;
    check_quads(1, 2);
    check_quads(1, 3);
    check_quads(2, 5);
}

static void make(acc_train_tensor *t, acc_format format, uint32_t rows, uint32_t cols)
{
    acc_weight shape;
    assert_int_equal(acc_weight_init(&shape, format, rows, cols, 32, 1, 2, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_tensor_create(t, ACC_T_ATTN_Q, 0, &shape, true, false, NULL), ACCLLM_OK);
    for (size_t i = 0; i < acc_train_size(t); i++) t->latent[i] = normal(5, i);
    for (size_t i = 0; i < acc_train_scales(t); i++) t->log_scale[i] = normal(6, i) * 0.2f - 1;
}

/* Packed codes mean what the values are, and unpacking gives codes that stay as they are. */
static void check_format(acc_format format, uint32_t rows, uint32_t cols)
{
    acc_pool *pool;
    acc_train_tensor t, back;
    assert_int_equal(acc_pool_create(&pool, 2, NULL), ACCLLM_OK);
    make(&t, format, rows, cols);
    uint8_t *blob = acc_calloc(1, acc_weight_bytes(&t.shape)), *again = acc_calloc(1, acc_weight_bytes(&t.shape));
    assert_non_null(blob);
    assert_non_null(again);
    acc_train_quantize(pool, &t);
    assert_int_equal(acc_train_tensor_pack(&t, blob, NULL), ACCLLM_OK);
    acc_weight w = t.shape;
    acc_weight_bind(&w, blob);
    assert_int_equal(acc_weight_check(&w, "w", 1, NULL), ACCLLM_OK);
    float *row = malloc(cols * sizeof *row);
    assert_non_null(row);
    for (uint32_t r = 0; r < rows; r++) {
        acc_weight_dequant_row(&w, r, row);
        for (uint32_t c = 0; c < cols; c++)
            assert_true(fabsf(row[c] - t.value[(size_t)r * cols + c]) <= 1e-6f * fabsf(row[c]));
    }
    assert_int_equal(acc_train_tensor_create(&back, ACC_T_ATTN_Q, 0, &t.shape, true, false, NULL), ACCLLM_OK);
    acc_train_tensor_unpack(&back, &w);
    acc_train_quantize(pool, &back);
    for (size_t i = 0; i < acc_train_size(&t); i++)
        assert_true(fabsf(back.value[i] - t.value[i]) <= 1e-4f * fabsf(t.value[i]));
    free(row);
    acc_free(blob);
    acc_free(again);
    acc_train_tensor_free(&t);
    acc_train_tensor_free(&back);
    acc_pool_free(&pool);
}

static void test_formats(void **state)
{
    (void)state;
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        check_format((acc_format)f, 64, 64);
        check_format((acc_format)f, 70, 96);
        check_format((acc_format)f, 3, 44);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quads), cmocka_unit_test(test_formats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
