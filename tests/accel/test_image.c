/*
 * Instructions, programs and images: fields round trip, streams hold the file's codes, images survive writing, and a
 * device says which token is best.
 */
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
#include "accel/stream.h"
#include "core/hash.h"
#include "core/memory.h"

#define E (1u << ACC_QUEUE_ENGINE)
/* Every field of every instruction holds its extremes and leaves the others alone. */
static void fields_keep_to_themselves(void **state)
{
    (void)state;
    for (unsigned op = 0; op < ACC_OP_COUNT; op++)
        for (uint32_t k = 0; k < acc_isa_layouts[op].n_fields; k++) {
            const acc_isa_field *f = &acc_isa_layouts[op].fields[k];
            acc_inst i = acc_inst_make((acc_isa_opcode)op, 5, 2);
            const uint32_t most = (uint32_t)((UINT64_C(1) << f->width) - 1);
            assert_true(acc_inst_set(&i, f->id, most));
            assert_false(acc_inst_set(&i, f->id, (uint64_t)most + 1));
            for (uint32_t j = 0; j < acc_isa_layouts[op].n_fields; j++)
                assert_int_equal(acc_inst_get(&i, acc_isa_layouts[op].fields[j].id), j == k ? most : 0);
            assert_int_equal(acc_inst_opcode(&i), op);
            assert_int_equal(acc_inst_wait(&i), 5);
            assert_int_equal(acc_inst_signal(&i), 2);
        }
}

static void text_names_everything(void **state)
{
    (void)state;
    char text[200];
    acc_inst i = acc_inst_make(ACC_OP_KVW, E, 0);
    assert_true(acc_inst_set(&i, ACC_F_CACHE, 77));
    acc_inst_text(&i, text, sizeof text);
    assert_string_equal(text, "KVW keys=0 values=0 cache=77 params=0 mean=0 direction=0 wait=E");
    acc_inst_text(&i, text, 10);
    assert_string_equal(text, "KVW keys=");
}

/* The columns that the hardware cuts out of a stream are the file's. */
static void octets_hold_the_files_codes(void **state)
{
    (void)state;
    const acc_weight *w = &image_rig_model()->layers[1].down;
    const acc_stream_part part = {w, NULL};
    const size_t tile = acc_weight_tile_bytes(w);
    uint8_t *lines = calloc(1, w->col_groups * tile + 8 * 64);
    assert_non_null(lines);
    acc_stream_block(&part, w->row_blocks - 1, lines);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        const uint8_t *src = acc_weight_tile(w, tile, cg, w->row_blocks - 1), *at = lines + cg * tile;
        for (uint32_t q = 0; q < w->group / 4; q++) {
            uint8_t column[56];
            const uint8_t *octet = at + q / 8 * 7 * 64;
            if (q % 8 < 7)
                memcpy(column, octet + q % 8 * 64, sizeof column);
            else
                for (int k = 0; k < 7; k++) memcpy(column + 8 * k, octet + 64 * k + 56, 8);
            assert_memory_equal(column, src + q * 56, sizeof column);
        }
        assert_memory_equal(at + tile - 64, src + tile - 64, 64);
    }
    free(lines);
}

/* Compiling twice gives the same bytes; written and read back it is the same image; any flipped bit is noticed. */
static void images_survive_writing(void **state)
{
    (void)state;
    for (uint32_t channels = 1; channels <= 3; channels++) {
        acc_image a = image_rig_compile(channels), b = image_rig_compile(channels), r;
        uint8_t *bytes;
        size_t n;
        accllm_error err;
        assert_true(a.h.content == b.h.content);
        assert_int_equal(acc_image_write(&a, &bytes, &n, NULL), ACCLLM_OK);
        assert_int_equal(acc_image_read(&r, bytes, n, NULL), ACCLLM_OK);
        assert_memory_equal(&r.h, &a.h, sizeof a.h);
        acc_image_free(&r);
        for (uint32_t i = 0; i < 200; i++) {
            const size_t at = acc_random(1, i) % n;
            bytes[at] ^= (uint8_t)(1u << i % 8);
            assert_int_not_equal(acc_image_read(&r, bytes, n, &err), ACCLLM_OK);
            if (at >= sizeof a.h) assert_non_null(strstr(err.text, "its hash differs"));
            bytes[at] ^= (uint8_t)(1u << i % 8);
        }
        for (size_t cut = 0; cut < n; cut += 1 + n / 97) {
            assert_int_not_equal(acc_image_read(&r, bytes, cut, &err), ACCLLM_OK);
            assert_non_null(
                strstr(err.text, cut < sizeof a.h ? "hold no header" : "bytes behind the header instead of"));
        }
        acc_free(bytes);
        acc_image_free(&a);
        acc_image_free(&b);
    }
}

/* The device's own argmax is the lowest index of the largest logit. */
static void the_best_token_is_found(void **state)
{
    (void)state;
    acc_image im = image_rig_compile(3);
    const acc_image_region last = im.h.region[ACC_REGION_LOGITS];
    float logits[300];
    acc_device d;
    assert_int_equal(acc_device_model_open(&d, 3, last.line + last.lines, NULL, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_device_load(&d, &im, NULL), ACCLLM_OK);
    for (uint32_t t = 0; t < 8; t++) {
        uint32_t best = 0;
        assert_int_equal(acc_device_run(&d, t, t, true, NULL), ACCLLM_OK);
        assert_int_equal(acc_device_logits(&d, logits, NULL), ACCLLM_OK);
        for (uint32_t i = 0; i < 300; i++)
            if (logits[i] > logits[best]) best = i;
        assert_int_equal(d.ops->get(d.self, ACC_REG_BEST_TOKEN), best);
        assert_int_equal(d.ops->get(d.self, ACC_REG_CONTROL), 14); /* done, idle and ready; */
        assert_int_equal(d.ops->get(d.self, ACC_REG_CONTROL), 4);  /* done and ready are cleared by reading */
    }
    assert_int_equal(acc_device_run(&d, 300, 8, true, NULL), ACCLLM_E_ARG);
    acc_device_close(&d);
    acc_image_free(&im);
}

static void models_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    accllm_error err;
    acc_image im;
    acc_compile_params p = {.channels = 33, .sinks = 4, .window = 40, .kv_bits = 4, .near = 16};
    assert_int_equal(acc_compile(&im, image_rig_model(), &p, &err), ACCLLM_E_ARG);
    p.channels = 1;
    p.window = 1u << 29;
    assert_int_equal(acc_compile(&im, image_rig_model(), &p, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "window or ring"));
    p.window = 200000; /* more segments of 512 than a query may have */
    p.kv_bits = 8;
    p.near = 0;
    assert_int_equal(acc_compile(&im, image_rig_model(), &p, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "window (segments)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_keep_to_themselves),   cmocka_unit_test(text_names_everything),
        cmocka_unit_test(octets_hold_the_files_codes), cmocka_unit_test(images_survive_writing),
        cmocka_unit_test(the_best_token_is_found),     cmocka_unit_test(models_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests_name("image", tests, image_rig_setup, image_rig_teardown);
}
