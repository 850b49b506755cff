/*
 * What is wrong with a program or an image is refused by name, and a device that is given it all the same ends in a
 * named error.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "accel/compile.h"
#include "accel/device_model.h"
#include "accel/image_rig.h"
#include "accel/rtl_device.h"
#include "core/memory.h"

#define E (1u << ACC_QUEUE_ENGINE)
#define V (1u << ACC_QUEUE_VECTOR)

static acc_inst *program(acc_image *im)
{
    return (acc_inst *)(void *)im->data;
}

static uint32_t find(const acc_image *im, acc_isa_opcode op)
{
    for (uint32_t i = 0; i < im->h.n_instructions; i++)
        if (acc_inst_opcode(&acc_image_program(im)[i]) == op) return i;
    fail_msg("no such instruction");
    return 0;
}

static void set(acc_image *im, acc_isa_opcode op, acc_isa_operand f, uint32_t value)
{
    assert_true(acc_inst_set(&program(im)[find(im, op)], f, value));
}

static void unknown_opcode(acc_image *im)
{
    program(im)[3].w[1] |= UINT64_C(0xf) << 60;
}
static void spare_bits(acc_image *im)
{
    program(im)[find(im, ACC_OP_TOP)].w[1] |= 1;
}
static void waits_for_itself(acc_image *im)
{
    program(im)[find(im, ACC_OP_MM)].w[1] |= (uint64_t)E << 57;
}
static void endless_wait(acc_image *im)
{
    program(im)[find(im, ACC_OP_ATT)].w[1] |= (uint64_t)V << 57;
}
static void signal_too_many(acc_image *im)
{
    program(im)[find(im, ACC_OP_ATT)].w[1] |= (uint64_t)E << 54;
}
static void unknown_levels(acc_image *im)
{
    set(im, ACC_OP_MM, ACC_F_LEVELS, 3);
}
static void unknown_group(acc_image *im)
{
    set(im, ACC_OP_MM, ACC_F_GROUP, 3);
}
static void empty_matrix(acc_image *im)
{
    set(im, ACC_OP_MM, ACC_F_BLOCKS, 0);
}
static void wide_matrix(acc_image *im)
{
    set(im, ACC_OP_MM, ACC_F_GROUPS, 1023);
}
static void stream_address(acc_image *im)
{
    set(im, ACC_OP_MM, ACC_F_STREAM, im->h.region[ACC_REGION_CACHE].line - 1);
}
static void program_as_weights(acc_image *im)
{
    set(im, ACC_OP_MM, ACC_F_STREAM, 0);
}
static void cache_address(acc_image *im)
{
    set(im, ACC_OP_KVW, ACC_F_CACHE, 1);
}
static void params_address(acc_image *im)
{
    set(im, ACC_OP_ATT, ACC_F_PARAMS, 0xffffff);
}
static void gain_address(acc_image *im)
{
    set(im, ACC_OP_VEC, ACC_F_GAIN, 0xffffff);
}
static void embedding_address(acc_image *im)
{
    set(im, ACC_OP_MOV, ACC_F_ADDRESS, 0);
}
static void logits_address(acc_image *im)
{
    set(im, ACC_OP_TOP, ACC_F_ADDRESS, 0);
}
static void vector_memory(acc_image *im)
{
    set(im, ACC_OP_ATT, ACC_F_DST, 1023);
}
static void vector_length(acc_image *im)
{
    set(im, ACC_OP_VEC, ACC_F_N, 0x7fff);
}
static void no_rounds(acc_image *im)
{
    set(im, ACC_OP_LOOP, ACC_F_ROUNDS, 0);
}
static void stride_of_weights(acc_image *im)
{
    set(im, ACC_OP_LOOP, ACC_F_WEIGHTS, 0xffffff);
}
static void overlapping_rounds(acc_image *im)
{
    set(im, ACC_OP_LOOP, ACC_F_WEIGHTS, 1);
}
static void loop_beyond_the_end(acc_image *im)
{
    set(im, ACC_OP_LOOP, ACC_F_LENGTH, 255);
}
static void loop_in_a_loop(acc_image *im)
{
    const uint32_t at = find(im, ACC_OP_LOOP);
    program(im)[at + 1] = program(im)[at];
}
static void endless_program(acc_image *im)
{
    program(im)[im->h.n_instructions - 1] = acc_inst_make(ACC_OP_END, 0, 0), set(im, ACC_OP_END, ACC_F_WHEN, 0);
}
static void wrong_lanes(acc_image *im)
{
    im->h.lanes = 32;
}
static void wrong_version(acc_image *im)
{
    im->h.version++;
}
static void wrong_magic(acc_image *im)
{
    im->h.magic++;
}
static void wrong_heads(acc_image *im)
{
    im->h.g.n_heads++;
}
static void wrong_page(acc_image *im)
{
    im->h.g.page = 48;
}
static void small_ring(acc_image *im)
{
    im->h.g.ring_pages = 1;
}
static void moved_region(acc_image *im)
{
    im->h.region[ACC_REGION_TRACE].line++;
}
static void wide_window(acc_image *im)
{
    im->h.g.window = 1u << 30;
}
static void rope_address(acc_image *im)
{
    im->h.rope = 0;
}
static void reserved_code(acc_image *im)
{
    const acc_inst *mm = &program(im)[find(im, ACC_OP_MM)];
    memset(acc_image_line(im, 0, acc_inst_get(mm, ACC_F_STREAM)) + 56, 0xff, 8); /* of column 7 */
}
static void scale_not_finite(acc_image *im)
{
    const acc_inst *mm = &program(im)[find(im, ACC_OP_MM)];
    const float inf = INFINITY;
    memcpy(acc_image_line(im, 0, acc_inst_get(mm, ACC_F_STREAM) + acc_block_lines(mm) - 1), &inf, sizeof inf);
}

/* Each with the right hash, so that the check behind it has to find what is wrong. */
static void bad_images_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        void (*spoil)(acc_image *im);
        const char *says;
    } cases[] = {
        {unknown_opcode, "opcode 15: unknown"},
        {spare_bits, "bits that have no meaning"},
        {waits_for_itself, "a queue does not wait for itself"},
        {endless_wait, "waits for ever"},
        {signal_too_many, "a semaphore"},
        {unknown_levels, "unknown levels"},
        {unknown_group, "unknown group"},
        {empty_matrix, "an empty matrix"},
        {wide_matrix, "more columns than there are activation codes"},
        {stream_address, "an address outside its region"},
        {program_as_weights, "MM format=0"},
        {cache_address, "KVW keys="},
        {params_address, "ATT queries="},
        {gain_address, "VEC op=0"},
        {embedding_address, "MOV op=0"},
        {logits_address, "TOP n=300"},
        {vector_memory, "reaches beyond the vector memory"},
        {vector_length, "more elements than there are activation codes"},
        {no_rounds, "a loop of no rounds"},
        {stride_of_weights, "an address outside its region"},
        {overlapping_rounds, "streams of two rounds overlap"},
        {loop_in_a_loop, "inside a loop"},
        {loop_beyond_the_end, "the loop reaches beyond the program"},
        {endless_program, "an end that is not the last"},
        {wrong_lanes, "made for 32 lanes"},
        {wrong_version, "version 2"},
        {wrong_magic, "the magic number is wrong"},
        {wrong_heads, "heads out of range"},
        {wrong_page, "page out of range"},
        {small_ring, "window or ring out of range"},
        {moved_region, "region trace is not where the one before it ends"},
        {wide_window, "window or ring out of range"},
        {rope_address, "the rotation steps lie outside the weights"},
        {reserved_code, "a reserved weight code"},
        {scale_not_finite, "a row scale or bias that is not finite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        acc_image im = image_rig_compile(2), r;
        accllm_error err = {0};
        uint8_t *bytes;
        size_t n;
        cases[i].spoil(&im);
        im.h.content = acc_image_content(&im);
        assert_int_equal(acc_image_write(&im, &bytes, &n, NULL), ACCLLM_OK);
        if (acc_image_read(&r, bytes, n, &err) == ACCLLM_OK) fail_msg("case %zu was accepted", i);
        if (!strstr(err.text, cases[i].says)) fail_msg("case %zu: %s", i, err.text);
        acc_free(bytes);
        acc_image_free(&im);
    }
}

/* Writes a W2S code of 7 bits into an octet (image.h). */
static void put_code(uint8_t *octet, unsigned column, unsigned row, unsigned code)
{
    for (unsigned k = 0; k < 7; k++) {
        const unsigned bit = 7 * row + k, b = bit / 8;
        uint8_t *at = column < 7 ? octet + 64 * column + b : octet + 64 * (b / 8) + 56 + b % 8;
        *at = (uint8_t)((*at & ~(1u << bit % 8)) | (code >> k & 1u) << bit % 8);
    }
}

/* In any column of an octet; the last code that means something is not one. */
static void every_reserved_code_is_refused(void **state)
{
    (void)state;
    acc_image im = image_rig_compile(1);
    const acc_inst *mm = &program(&im)[find(&im, ACC_OP_MM)];
    uint8_t *octet = acc_image_line(&im, 0, acc_inst_get(mm, ACC_F_STREAM)), saved[7 * 64];
    memcpy(saved, octet, sizeof saved);
    for (unsigned code = ACC_W2S_CODES - 1; code < 128; code++)
        for (unsigned column = 0; column < 8; column++) {
            accllm_error err = {0};
            put_code(octet, column, (9 * code + 5 * column) % ACC_TILE_ROWS, code);
            im.h.content = acc_image_content(&im);
            const bool refused = acc_image_check(&im, &err) != ACCLLM_OK && strstr(err.text, "a reserved weight code");
            if (refused != (code >= 121)) fail_msg("code %u in column %u: %s", code, column, err.text);
            memcpy(octet, saved, sizeof saved);
        }
    acc_image_free(&im);
}

static void a_device_of_another_shape_is_refused(void **state)
{
    (void)state;
    acc_image im = image_rig_compile(2);
    accllm_error err;
    acc_device d;
    assert_int_equal(acc_device_model_open(&d, 1, 1u << 16, NULL, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_device_load(&d, &im, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "channels 1; the image is for 2"));
    acc_device_close(&d);
    assert_int_equal(acc_device_model_open(&d, 2, im.h.lines, NULL, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_device_load(&d, &im, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "lines; the image needs"));
    acc_device_close(&d);
    acc_image_free(&im);
}

/* What reaches a device without the check ends in a named error, never in a hang or a stray access. */
static const struct {
    void (*spoil)(acc_image *im);
    const char *says;
} bad_programs[] = {
    {unknown_opcode, "bad opcode"},  {endless_wait, "deadlock"},      {wide_matrix, "bad field"},
    {params_address, "bad address"}, {gain_address, "bad address"},   {vector_memory, "bad field"},
    {vector_length, "bad field"},    {wrong_heads, "bad field"},      {small_ring, "bad field"},
    {spare_bits, "bad field"},       {waits_for_itself, "bad field"}, {unknown_levels, "bad field"},
    {empty_matrix, "bad field"},     {no_rounds, "bad field"},        {loop_in_a_loop, "bad field"},
};
#define N_BAD_PROGRAMS (sizeof bad_programs / sizeof *bad_programs)

static acc_device model_of(const acc_image *im)
{
    const acc_image_region last = im->h.region[ACC_REGION_LOGITS];
    acc_device d;
    assert_int_equal(acc_device_model_open(&d, im->h.channels, last.line + last.lines, NULL, 0, NULL), ACCLLM_OK);
    return d;
}

static void ends_in_its_error(size_t i, acc_device *d, const acc_image *bad, accllm_error *err)
{
    assert_int_equal(acc_device_load(d, bad, NULL), ACCLLM_OK);
    if (acc_device_run(d, 5, 0, true, err) != ACCLLM_E_IO) fail_msg("case %zu", i);
    if (!strstr(err->text, bad_programs[i].says)) fail_msg("case %zu: %s", i, err->text);
}

static void a_device_survives_bad_programs(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_BAD_PROGRAMS; i++) {
        acc_image im = image_rig_compile(1);
        acc_device d = model_of(&im);
        accllm_error err;
        bad_programs[i].spoil(&im);
        ends_in_its_error(i, &d, &im, &err);
        acc_device_close(&d);
        acc_image_free(&im);
    }
}

/* With the model's words and place, and the next run works. */
static void the_rtl_survives_bad_programs(void **state)
{
    (void)state;
    accllm_error err;
    accllm_runtime *rt;
    uint32_t channels;
    assert_int_equal(accllm_runtime_create(&rt, NULL, NULL), ACCLLM_OK);
    if (acc_rtl_channels(&channels, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    acc_image good = image_rig_compile(channels);
    acc_device rtl, d = model_of(&good);
    if (acc_rtl_open(&rtl, &good.h, rt, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    for (size_t i = 0; i < N_BAD_PROGRAMS; i++) {
        acc_image bad = image_rig_compile(channels);
        float want[300], logits[300];
        accllm_error model_err;
        bad_programs[i].spoil(&bad);
        ends_in_its_error(i, &d, &bad, &model_err);
        ends_in_its_error(i, &rtl, &bad, &err);
        assert_string_equal(err.text, model_err.text);
        acc_image_free(&bad);
        for (int on_rtl = 0; on_rtl < 2; on_rtl++) {
            acc_device *of = on_rtl ? &rtl : &d;
            assert_int_equal(acc_device_load(of, &good, NULL), ACCLLM_OK);
            assert_int_equal(acc_device_run(of, 5, 0, true, NULL), ACCLLM_OK);
            assert_int_equal(acc_device_logits(of, on_rtl ? logits : want, NULL), ACCLLM_OK);
        }
        assert_memory_equal(logits, want, sizeof want);
    }
    acc_device_close(&d);
    acc_device_close(&rtl);
    acc_image_free(&good);
    accllm_runtime_free(&rt);
}

/* "rtl": the one test that needs the RTL (ACCLLM_RTL); otherwise all others. */
int main(int argc, char **argv)
{
    const struct CMUnitTest on_the_rtl[] = {cmocka_unit_test(the_rtl_survives_bad_programs)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_images_are_refused_by_name),
        cmocka_unit_test(every_reserved_code_is_refused),
        cmocka_unit_test(a_device_of_another_shape_is_refused),
        cmocka_unit_test(a_device_survives_bad_programs),
    };
    if (argc == 2 && strcmp(argv[1], "rtl") == 0)
        return cmocka_run_group_tests_name("refusals-rtl", on_the_rtl, image_rig_setup, image_rig_teardown);
    return cmocka_run_group_tests_name("refusals", tests, image_rig_setup, image_rig_teardown);
}
