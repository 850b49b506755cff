/* Packed formats: codes, layout of the bytes, shapes, overflow limits, checks, dequantisation. */
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
#include "weights/weights.h"

static const int levels[3][2] = {{1, 2}, {1, 3}, {2, 5}};

static void every_code_names_its_quad(void **state)
{
    (void)state;
    for (int l = 0; l < 3; l++) {
        const int l1 = levels[l][0], l2 = levels[l][1];
        for (unsigned c = 0; c < 128; c++) {
            int8_t quad[4], again[4];
            acc_w2s_quad(c, l1, l2, quad);
            const int code = acc_w2s_code(quad, l1, l2);
            assert_in_range(code, 0, ACC_W2S_CODES - 1);
            acc_w2s_quad((unsigned)code, l1, l2, again);
            assert_memory_equal(quad, again, 4);
            if (c >= ACC_W2S_CODES) assert_int_equal(code, ACC_W2S_ZERO);
            if (l == 0 && c < ACC_W2S_CODES) assert_int_equal(code, c); /* (1, 2): no quad has two codes */
            int sum = 0;
            for (int k = 0; k < 4; k++) sum += abs(quad[k]);
            assert_true(sum <= 2 * l2);
        }
    }
}

static void codes_follow_the_written_table(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        int8_t quad[4];
    } cases[] = {
        {0, {-2, -2, 0, 0}},  {7, {-1, 2, 0, 0}},          {16 + 9, {1, 0, -1, 0}},     {32 + 14, {2, 0, 0, 1}},
        {48, {0, -2, -2, 0}}, {64 + 3, {0, -2, 0, 2}},     {95, {0, 0, 2, 2}},          {96, {0, 0, 0, 0}},
        {97, {-3, 0, 0, 0}},  {97 + 6 + 2, {0, -1, 0, 0}}, {97 + 12 + 4, {0, 0, 2, 0}}, {120, {0, 0, 0, 3}},
        {121, {0, 0, 0, 0}},  {127, {0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int8_t quad[4];
        acc_w2s_quad(cases[i].code, 1, 2, quad);
        assert_memory_equal(quad, cases[i].quad, 4);
    }
}

static void quads_without_a_code_are_refused(void **state)
{
    (void)state;
    int codes = 0;
    for (int v = 0; v < 7 * 7 * 7 * 7; v++) {
        int8_t quad[4] = {(int8_t)(v % 7 - 3), (int8_t)(v / 7 % 7 - 3), (int8_t)(v / 49 % 7 - 3),
                          (int8_t)(v / 343 - 3)};
        codes += acc_w2s_code(quad, 1, 2) >= 0;
    }
    assert_int_equal(codes, ACC_W2S_CODES);
    assert_int_equal(acc_w2s_code((const int8_t[4]){1, 1, 1, 0}, 1, 2), -1);
    assert_int_equal(acc_w2s_code((const int8_t[4]){3, 1, 0, 0}, 1, 2), -1);
    assert_int_equal(acc_w2s_code((const int8_t[4]){3, 0, 0, 0}, 1, 3), -1);
}

static uint32_t group_of(acc_format f, uint32_t cols, uint32_t l1, uint32_t l2)
{
    acc_weight w;
    assert_int_equal(acc_weight_init(&w, f, 64, cols, 0, l1, l2, NULL), ACCLLM_OK);
    return w.group;
}

static void the_group_rule(void **state)
{
    (void)state;
    static const uint32_t wide[] = {1536, 2048, 4096, 5632, 11008};
    for (size_t i = 0; i < 5; i++) assert_int_equal(group_of(ACC_FMT_W2S, wide[i], 1, 2), 128);
    assert_int_equal(group_of(ACC_FMT_W2S, 576, 1, 2), 64);
    assert_int_equal(group_of(ACC_FMT_W4, 96, 0, 0), 32);
    assert_int_equal(group_of(ACC_FMT_W4, 4096, 0, 0), 32);
    assert_int_equal(group_of(ACC_FMT_W2, 576, 0, 0), 64);
    assert_int_equal(group_of(ACC_FMT_W2, 11008, 0, 0), 128);
    assert_int_equal(group_of(ACC_FMT_W2, 100, 0, 0), 128); /* 2112 against 2 * 1088 and 4 * 576 */
    assert_int_equal(group_of(ACC_FMT_W2S, 4096, 2, 5), 64);
    assert_int_equal(group_of(ACC_FMT_W2S, 4096, 1, 3), 128);
    assert_int_equal(group_of(ACC_FMT_W2S, 1, 1, 2), 32);    /* 512 bytes against 960 and 1856 */
    assert_int_equal(group_of(ACC_FMT_W2S, 127, 1, 2), 128); /* 1856 against 2 * 960 and 4 * 512 */
    assert_int_equal(group_of(ACC_FMT_W8, 100, 0, 0), 128);  /* a tie of 8192 bytes with 64 and 32 */
}

static void sizes_and_places(void **state)
{
    (void)state;
    acc_weight w;
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2S, 65, 256, 128, 1, 2, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_tile_bytes(&w), 1856);
    assert_int_equal(acc_weight_bytes(&w), 4 * 1856 + 65 * 4);
    uint8_t *blob = acc_calloc(acc_weight_bytes(&w), 1);
    acc_weight_bind(&w, blob);
    assert_ptr_equal(w.rscale, blob + 4 * 1856);
    assert_ptr_equal(acc_weight_tile(&w, 1856, 1, 0), blob + 2 * 1856); /* column groups outside, row blocks inside */
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2S, 64, 64, 64, 1, 2, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_tile_bytes(&w), 960);
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2S, 64, 64, 32, 1, 2, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_tile_bytes(&w), 512);
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2, 64, 128, 128, 0, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_tile_bytes(&w), 64 * 128 / 4 + 64); /* 2.0625 bit/weight */
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W4, 64, 64, 64, 0, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_tile_bytes(&w), 64 * 64 / 2 + 64);
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W8, 64, 64, 64, 0, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_tile_bytes(&w), 64 * 64);
    acc_free(blob);
}

static void the_bytes_stand_where_the_format_says(void **state)
{
    (void)state;
    acc_weight w;
    uint8_t blob[4096 + 256 * 4] __attribute__((aligned(64))), m[64];
    int8_t codes[64][32];
    memset(m, 5, sizeof m);
    m[63] = 9;
    /* W2S: row 1's code of quad 1 at bit 7 of the second 56 bytes */
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2S, 64, 32, 32, 1, 2, NULL), ACCLLM_OK);
    int8_t quads[64][8];
    memset(quads, 0, sizeof quads);
    quads[1][1] = 0x55;
    quads[63][0] = 0x41;
    acc_weight_pack_block(&w, blob, 0, &quads[0][0], m);
    assert_int_equal(blob[56] | blob[57] << 8, 0x55 << 7);
    assert_int_equal(blob[55], 0x41 << 1);
    assert_int_equal(blob[8 * 56], 5);
    assert_int_equal(blob[8 * 56 + 63], 9);
    /* W4: row 17 column 2 of quad 3 is the low nibble of byte 6 of line 1; row 49 the high one */
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W4, 64, 32, 32, 0, 0, NULL), ACCLLM_OK);
    memset(codes, 0, sizeof codes);
    codes[17][14] = -8;
    codes[49][14] = 7;
    acc_weight_pack_block(&w, blob, 0, &codes[0][0], m);
    assert_int_equal(blob[3 * 128 + 64 + 6], 0xf0);
    assert_int_equal(blob[3 * 128 + 64 + 7], 0x88);
    assert_int_equal(blob[8 * 128 + 63], 9);
    /* W2: rows 5, 21, 37 and 53 of column 2 of quad 3 share byte 4 * 5 + 2 of its line, from the low bits up */
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2, 64, 32, 32, 0, 0, NULL), ACCLLM_OK);
    memset(codes, -3, sizeof codes);
    codes[5][14] = -1;
    codes[21][14] = 1;
    codes[37][14] = -3;
    codes[53][14] = 3;
    acc_weight_pack_block(&w, blob, 0, &codes[0][0], m);
    assert_int_equal(blob[3 * 64 + 22], 1 | 2 << 2 | 0 << 4 | 3 << 6);
    assert_int_equal(blob[3 * 64 + 21], 0);
    assert_int_equal(blob[8 * 64], 5);
    assert_int_equal(blob[8 * 64 + 63], 9);
    /* W8 */
    memset(codes, 0, sizeof codes);
    codes[49][14] = 7;
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W8, 64, 32, 32, 0, 0, NULL), ACCLLM_OK);
    codes[17][14] = -127;
    acc_weight_pack_block(&w, blob, 0, &codes[0][0], NULL);
    assert_int_equal(blob[3 * 256 + 64 + 6], 0x81);
    assert_int_equal(blob[3 * 256 + 192 + 6], 7); /* row 49 */
}

static void packing_round_trips(void **state)
{
    (void)state;
    static const uint32_t shapes[][3] = {{1, 1, 32}, {63, 31, 32}, {64, 64, 64}, {65, 100, 64}, {130, 257, 128}};
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            acc_weight w;
            const uint32_t rows = shapes[s][0], cols = shapes[s][1];
            assert_int_equal(acc_weight_init(&w, (acc_format)f, rows, cols, shapes[s][2], 1, 2, NULL), ACCLLM_OK);
            uint8_t *blob = acc_calloc(acc_weight_bytes(&w), 1);
            acc_weight_bind(&w, blob);
            const size_t width = (size_t)w.col_groups * w.group, n = f == ACC_FMT_W2S ? width / 4 : width;
            int8_t *codes = acc_calloc(64, n), *ints = acc_calloc(64, width);
            uint8_t *m = acc_calloc(64, w.col_groups), *m2 = acc_calloc(64, w.col_groups);
            for (uint32_t rb = 0; rb < w.row_blocks; rb++) {
                for (size_t i = 0; i < 64 * n; i++) {
                    const uint64_t v = acc_random(s, i + rb * 64 * n);
                    codes[i] = (int8_t)(f == ACC_FMT_W2S  ? v % ACC_W2S_CODES
                                        : f == ACC_FMT_W2 ? v % 4 * 2 - 3
                                        : f == ACC_FMT_W4 ? v % 16 - 8
                                                          : v % 255 - 127);
                }
                for (size_t i = 0; i < 64 * w.col_groups; i++) m[i] = (uint8_t)(acc_random(s + 99, i) % 256);
                acc_weight_pack_block(&w, blob, rb, codes, m);
                acc_weight_unpack_block(&w, rb, ints, m2);
                for (uint32_t r = 0; r < 64; r++) {
                    const int inside = rb * 64 + r < rows;
                    for (uint32_t c = 0; c < width; c++) {
                        int8_t quad[4];
                        if (f == ACC_FMT_W2S) acc_w2s_quad((unsigned)codes[r * n + c / 4], 1, 2, quad);
                        int want = f == ACC_FMT_W2S ? quad[c % 4] : codes[r * n + c];
                        if (!inside || (f == ACC_FMT_W2S ? c / 4 * 4 : c) >= cols)
                            want = f == ACC_FMT_W2 ? ACC_W2_PAD : 0;
                        assert_int_equal(ints[r * width + c], want);
                    }
                    for (uint32_t g = 0; g < w.col_groups; g++)
                        assert_int_equal(m2[r * w.col_groups + g], f == ACC_FMT_W8 ? 1
                                                                   : inside        ? m[r * w.col_groups + g]
                                                                                   : 0);
                }
            }
            acc_free(blob);
            acc_free(codes);
            acc_free(ints);
            acc_free(m);
            acc_free(m2);
        }
    }
}

static void shapes_that_could_overflow_are_refused(void **state)
{
    (void)state;
    acc_weight w;
    accllm_error err;
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W4, 64, 11008, 0, 0, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_mmax(&w), 192);
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2S, 64, 11008, 0, 1, 2, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_mmax(&w), 255);
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W8, 64, 133144, 0, 0, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2, 64, 22100, 0, 0, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_mmax(&w), 255); /* 255 * 127 * 3 * 22100 < 2^31 */
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2, 64, 22104, 0, 0, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_weight_mmax(&w), 254);
    assert_int_equal(acc_weight_init(&w, ACC_FMT_W2, 64, 5636440, 0, 0, 0, NULL), ACCLLM_OK);
    static const struct {
        acc_format f;
        uint32_t rows, cols, group, l1, l2;
    } bad[] = {
        {ACC_FMT_W8, 64, 133145, 0, 0, 0},     {ACC_FMT_W2S, 64, 4096, 128, 2, 5},
        {ACC_FMT_W2S, 64, 64, 0, 2, 3},        {ACC_FMT_W2S, 64, 64, 0, 0, 0},
        {ACC_FMT_W2S, 64, 64, 16, 1, 2},       {ACC_FMT_W2S, 64, 64, 256, 1, 2},
        {ACC_FMT_W4, 0, 64, 0, 0, 0},          {ACC_FMT_W4, 64, 0, 0, 0, 0},
        {ACC_FMT_W4, UINT32_MAX, 64, 0, 0, 0}, {ACC_FMT_W2S, 64, UINT32_MAX, 0, 1, 2},
        {ACC_FMT_W4, 64, 1 << 24, 0, 0, 0},    {ACC_FMT_COUNT, 64, 64, 0, 1, 2},
        {ACC_FMT_W2, 64, 5636444, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = 0;
        assert_int_not_equal(
            acc_weight_init(&w, bad[i].f, bad[i].rows, bad[i].cols, bad[i].group, bad[i].l1, bad[i].l2, &err),
            ACCLLM_OK);
        assert_true(err.text[0] != 0);
    }
}

static void check_catches_every_bad_thing(void **state)
{
    (void)state;
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        acc_weight w;
        accllm_error err;
        /* mmax of W4 at 11008 columns is 192, of W2 at 24064 columns 234 */
        const uint32_t cols = f == ACC_FMT_W2 ? 24064 : 11008;
        assert_int_equal(acc_weight_init(&w, (acc_format)f, 65, cols, 0, 1, 2, NULL), ACCLLM_OK);
        uint8_t *blob = acc_calloc(acc_weight_bytes(&w), 1);
        acc_weight_bind(&w, blob);
        const size_t tile = acc_weight_tile_bytes(&w);
        float *rscale = (float *)(void *)(blob + acc_weight_tiles_bytes(&w));
        assert_int_equal(acc_weight_check(&w, "t", 1, &err), ACCLLM_OK);
        static const float wrong[] = {-1.0f, INFINITY, NAN};
        for (int i = 0; i < 3; i++) {
            rscale[64] = wrong[i];
            assert_int_equal(acc_weight_check(&w, "t", 0, &err), ACCLLM_E_FORMAT);
            assert_non_null(strstr(err.text, "t: row 64"));
            rscale[64] = 0;
        }
        if (f == ACC_FMT_W4 || f == ACC_FMT_W2) { /* every code is allowed */
            const uint8_t most = f == ACC_FMT_W4 ? 192 : 234;
            memset(blob, 0xa7, tile - 64);
            blob[3 * tile - 1] = most;
            assert_int_equal(acc_weight_check(&w, "t", 1, &err), ACCLLM_OK);
            blob[3 * tile - 1] = (uint8_t)(most + 1);
            assert_int_equal(acc_weight_check(&w, "t", 0, &err), ACCLLM_E_FORMAT);
            acc_free(blob);
            continue;
        }
        uint8_t *code = blob + tile + (f == ACC_FMT_W2S ? 56 + 55 : 256 + 255);
        *code = f == ACC_FMT_W2S ? 121 << 1 : 0x80;
        assert_int_equal(acc_weight_check(&w, "t", 0, &err), ACCLLM_OK);
        assert_int_equal(acc_weight_check(&w, "t", 1, &err), ACCLLM_E_FORMAT);
        assert_non_null(strstr(err.text, "row 127, column 4"));
        acc_free(blob);
    }
}

static void dequantised_rows(void **state)
{
    (void)state;
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        acc_weight w;
        const uint32_t rows = 70, cols = 90;
        assert_int_equal(acc_weight_init(&w, (acc_format)f, rows, cols, 32, 1, 3, NULL), ACCLLM_OK);
        uint8_t *blob = acc_calloc(acc_weight_bytes(&w), 1);
        for (size_t i = 0; i < acc_weight_tiles_bytes(&w); i++) blob[i] = (uint8_t)acc_random(7, i);
        acc_weight_bind(&w, blob);
        float *rscale = (float *)(void *)(blob + acc_weight_tiles_bytes(&w)), out[90];
        for (uint32_t r = 0; r < rows; r++) rscale[r] = 0.37f * (float)r;
        static int8_t ints[64 * 96];
        uint8_t m[64 * 3];
        for (uint32_t r = 0; r < rows; r++) {
            if (r % 64 == 0) acc_weight_unpack_block(&w, r / 64, ints, m);
            acc_weight_dequant_row(&w, r, out);
            for (uint32_t c = 0; c < cols; c++)
                assert_true(out[c] == (float)(ints[r % 64 * 96 + c] * m[r % 64 * 3 + c / 32]) * rscale[r]);
        }
        acc_free(blob);
    }
}

static void names(void **state)
{
    (void)state;
    for (int f = 0; f < ACC_FMT_COUNT; f++) assert_int_equal(acc_format_parse(acc_format_name((acc_format)f)), f);
    assert_int_equal(acc_format_parse("w3"), -1);
    assert_string_equal(acc_format_name(ACC_FMT_W2S), "w2s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_names_its_quad),
        cmocka_unit_test(codes_follow_the_written_table),
        cmocka_unit_test(quads_without_a_code_are_refused),
        cmocka_unit_test(the_group_rule),
        cmocka_unit_test(sizes_and_places),
        cmocka_unit_test(the_bytes_stand_where_the_format_says),
        cmocka_unit_test(packing_round_trips),
        cmocka_unit_test(shapes_that_could_overflow_are_refused),
        cmocka_unit_test(check_catches_every_bad_thing),
        cmocka_unit_test(dequantised_rows),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
