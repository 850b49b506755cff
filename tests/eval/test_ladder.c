/* The ladder: every rung is the perplexity it says it is; the 2:4 rung drops what the packed model drops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/accllm.h"
#include "eval/mask.h"
#include "eval/match.h"
#include "model/packed_internal.h"
#include "support/pack.h"

static const char text[] =
    "The keeper climbed the stairs every evening, lamp in hand, and counted the steps aloud so that the wind would not "
    "steal his thoughts. On the last step he paused, because the window there looked out over the reef.";

static accllm_runtime *rt;
static char *source, *w8, *w2s, *w4, *other;

static int setup(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults(), less = tiny_defaults();
    pack_options o8 = pack_defaults(ACC_FMT_W8), o2 = pack_defaults(ACC_FMT_W2S), o4 = pack_defaults(ACC_FMT_W4);
    o2.linear[3] = ACC_FMT_W4; /* one dense matrix a layer */
    less.n_ff = 80;
    source = tiny_path("ladder-source");
    w8 = tiny_path("ladder-w8");
    w2s = tiny_path("ladder-w2s");
    w4 = tiny_path("ladder-w4");
    other = tiny_path("ladder-other");
    return accllm_runtime_create(&rt, NULL, NULL) != ACCLLM_OK || tiny_write(source, &t, NULL) != ACCLLM_OK ||
           pack_tiny(w8, &t, &o8, NULL) != ACCLLM_OK || pack_tiny(w2s, &t, &o2, NULL) != ACCLLM_OK ||
           pack_tiny(w4, &t, &o4, NULL) != ACCLLM_OK || pack_tiny(other, &less, &o8, NULL) != ACCLLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    char *all[] = {source, w8, w2s, w4, other};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        (void)unlink(all[i]);
        free(all[i]);
    }
    accllm_runtime_free(&rt);
    return 0;
}

static accllm_status climb(const char *model, accllm_ladder_params *p, accllm_ladder_result *r, accllm_error *err)
{
    return accllm_eval_ladder(rt, model, source, w8, text, sizeof text - 1, p, r, err);
}

static double ppl_of(const char *path, accllm_numerics numerics, const accllm_session_params *sp)
{
    accllm_model *m;
    accllm_model_params mp;
    accllm_ppl_params p;
    accllm_ppl_result r;
    accllm_model_params_init(&mp);
    mp.numerics = numerics;
    accllm_ppl_params_init(&p);
    p.ctx = 64;
    assert_int_equal(accllm_model_open(&m, rt, path, &mp, NULL), ACCLLM_OK);
    assert_int_equal(accllm_eval_ppl(m, sp, text, sizeof text - 1, &p, &r, NULL), ACCLLM_OK);
    double ppl = r.ppl;
    accllm_ppl_result_free(&r);
    accllm_model_free(&m);
    return ppl;
}

static void count_calls(void *user, double fraction, double so_far, double left)
{
    double *last = user;
    assert_true(fraction > 0 && fraction <= 1 + 1e-9 && fraction >= *last && so_far > 1 && left > -1e-3);
    *last = fraction;
}

static void rungs_are_what_they_say(void **state)
{
    (void)state;
    accllm_ladder_params p;
    accllm_ladder_result r;
    accllm_error err;
    double last = 0;
    accllm_ladder_params_init(&p);
    p.ppl.ctx = 64;
    p.window = 24;
    p.kv_bits = 4;
    p.ppl.progress = count_calls;
    p.ppl.user = &last;
    if (climb(w2s, &p, &r, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    static const char *const names[] = {"FP", "+\u039b", "+KV4", "+A8", "+2:4", "+W2"};
    assert_int_equal(r.n, 6);
    assert_true(fabs(last - 1) < 1e-9 && r.sinks == 4 && r.window == 24 && r.kv_bits == 4);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(r.rung[i].name, names[i]);
        assert_true(r.rung[i].what[0] && r.rung[i].tokens == r.rung[0].tokens);
        assert_true(fabs(r.rung[i].ratio - r.rung[i].ppl / r.rung[0].ppl) < 1e-12);
        assert_true(fabs(r.rung[i].step - r.rung[i].ppl / r.rung[i ? i - 1 : 0].ppl) < 1e-12);
        assert_true(fabs(log(r.rung[i].ppl) - r.rung[i].nll) < 1e-9);
    }
    accllm_session_params sp;
    accllm_session_params_init(&sp);
    sp.full_attention = true;
    sp.n_ctx = 64;
    assert_true(fabs(r.rung[0].ppl / ppl_of(source, ACCLLM_NUMERICS_FLOAT, &sp) - 1) < 1e-6);
    accllm_session_params_init(&sp);
    sp.sinks = 4;
    sp.window = 24;
    assert_true(fabs(r.rung[1].ppl / ppl_of(source, ACCLLM_NUMERICS_FLOAT, &sp) - 1) < 1e-6);
    sp.kv_bits = 4;
    assert_true(fabs(r.rung[2].ppl / ppl_of(w8, ACCLLM_NUMERICS_FLOAT, &sp) - 1) < 1e-6);
    assert_true(r.rung[3].ppl == ppl_of(w8, ACCLLM_NUMERICS_CONTRACT, &sp)); /* the contract: the same bits */
    assert_true(r.rung[5].ppl == ppl_of(w2s, ACCLLM_NUMERICS_CONTRACT, &sp));
    for (size_t i = 1; i < 6; i++) assert_true(r.rung[i].ppl != r.rung[i - 1].ppl);
}

static void dense_models_have_no_pruned_rung(void **state)
{
    (void)state;
    accllm_ladder_params p;
    accllm_ladder_result r;
    accllm_error err;
    accllm_ladder_params_init(&p);
    p.ppl.ctx = 64;
    if (climb(w4, &p, &r, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(r.n, 5);
    assert_string_equal(r.rung[4].name, "+W4");
    assert_int_equal(r.window, 128);
    assert_true(fabs(r.rung[1].step - 1) < 1e-6); /* the window holds all */
}

/* Every weight of the masked file: zero where the model keeps none, else as it was. */
static void the_mask_is_the_models(void **state)
{
    (void)state;
    acc_packed *model, *plain, *masked;
    uint32_t all;
    assert_int_equal(acc_packed_open(&model, w2s, true, false, NULL), ACCLLM_OK);
    assert_int_equal(acc_packed_open(&plain, w8, true, false, NULL), ACCLLM_OK);
    assert_int_equal(acc_packed_open(&masked, w8, true, false, NULL), ACCLLM_OK);
    assert_int_equal(acc_mask_count(model, &all), 12);
    assert_int_equal(all, 14);
    assert_int_equal(acc_mask_apply(model, masked, NULL), ACCLLM_OK);
    size_t zeros = 0, kept = 0;
    for (uint32_t i = 0; i < 14; i++) {
        const acc_tensor_id id = (acc_tensor_id)(ACC_T_ATTN_Q + i % 7);
        const acc_weight *m = acc_packed_weight(model, id, i / 7), *a = acc_packed_weight(plain, id, i / 7),
                         *b = acc_packed_weight(masked, id, i / 7);
        assert_int_equal(acc_weight_check(b, "masked", 1, NULL), ACCLLM_OK);
        float x[128], y[128];
        int8_t ints[64 * 128];
        assert_true(m->cols <= 128 && m->col_groups * m->group <= 128);
        for (uint32_t r = 0; r < m->rows; r++) {
            acc_weight_unpack_block(m, r / 64, ints, NULL);
            acc_weight_dequant_row(a, r, x);
            acc_weight_dequant_row(b, r, y);
            for (uint32_t c = 0; c < m->cols; c++) {
                bool drop = m->format == ACC_FMT_W2S && ints[(size_t)(r % 64) * m->col_groups * m->group + c] == 0;
                assert_true(y[c] == (drop ? 0 : x[c]));
                zeros += drop;
                kept += !drop;
            }
        }
    }
    assert_true(zeros > kept / 2 && kept > zeros);
    acc_packed_free(&model);
    acc_packed_free(&plain);
    acc_packed_free(&masked);
}

static acc_packed *compressed(const char *path, const char *weights, const char *method)
{
    accllm_compress_params p;
    accllm_error err;
    acc_packed *m;
    accllm_compress_params_init(&p);
    p.weights = weights;
    p.method = method;
    p.calib_tokens = 600;
    if (accllm_compress(rt, source, path, &p, NULL, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(acc_packed_open(&m, path, true, false, NULL), ACCLLM_OK);
    return m;
}

static double energy(const acc_weight *w)
{
    double sum = 0;
    float x[256];
    assert_true(w->cols <= 256);
    for (uint32_t r = 0; r < w->rows; r++) {
        acc_weight_dequant_row(w, r, x);
        for (uint32_t c = 0; c < w->cols; c++) sum += (double)x[c] * (double)x[c];
    }
    return sum;
}

static void remove_with_report(char *path)
{
    static const char *const suffixes[] = {"", ".report.json", ".report.html"};
    for (size_t i = 0; i < 3; i++) {
        char name[4096];
        (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        (void)unlink(name);
    }
    free(path);
}

/* The compressor puts channels in another order; the mask still drops the small weights of each quad. */
static void channels_in_another_order_are_found(void **state)
{
    (void)state;
    char *path2 = tiny_path("ladder-ordered"), *path8 = tiny_path("ladder-plain");
    acc_packed *model = compressed(path2, "w2s", "obs"), *plain = compressed(path8, "w8", "rtn"), *masked;
    assert_int_equal(acc_packed_open(&masked, path8, true, false, NULL), ACCLLM_OK);
    acc_match match;
    uint32_t moved = 0;
    assert_int_equal(acc_match_create(&match, &model->hp, NULL), ACCLLM_OK);
    assert_int_equal(acc_match_layer(&match, plain, model, 0, NULL), ACCLLM_OK);
    for (uint32_t i = 0; i < model->hp.n_ff; i++) moved += match.hidden[i] != i;
    assert_true(moved > model->hp.n_ff / 2);
    acc_match_free(&match);
    assert_int_equal(acc_mask_apply(model, masked, NULL), ACCLLM_OK);
    for (uint32_t i = 0; i < 14; i++) {
        const acc_tensor_id id = (acc_tensor_id)(ACC_T_ATTN_Q + i % 7);
        const double rest = energy(acc_packed_weight(masked, id, i / 7)) / energy(acc_packed_weight(plain, id, i / 7));
        assert_true(rest > 0.65 && rest < 0.95); /* positions by chance: 0.5 */
    }
    acc_packed_free(&model);
    acc_packed_free(&plain);
    acc_packed_free(&masked);
    remove_with_report(path2);
    remove_with_report(path8);
}

static void what_does_not_belong_together_is_refused(void **state)
{
    (void)state;
    accllm_ladder_params p;
    accllm_ladder_result r;
    accllm_error err = {0};
    const size_t len = sizeof text - 1;
    accllm_ladder_params_init(&p);
    p.ppl.ctx = 64;
    assert_int_equal(accllm_eval_ladder(rt, source, source, w8, text, len, &p, &r, &err), ACCLLM_E_FORMAT);
    assert_int_equal(accllm_eval_ladder(rt, w2s, other, w8, text, len, &p, &r, &err), ACCLLM_E_ARG);
    assert_non_null(strstr(err.text, "shapes differ"));
    assert_int_equal(accllm_eval_ladder(rt, w2s, source, other, text, len, &p, &r, &err), ACCLLM_E_ARG);
    assert_int_equal(r.n, 0);
    assert_int_equal(accllm_eval_ladder(rt, w2s, source, w4, text, len, &p, &r, &err), ACCLLM_E_ARG);
    assert_non_null(strstr(err.text, "W8"));
    assert_int_equal(accllm_eval_ladder(rt, w4, source, w2s, text, len, &p, &r, &err), ACCLLM_E_ARG);
    p.window = 4000;
    assert_int_equal(climb(w2s, &p, &r, &err), ACCLLM_E_LIMIT);
    p.window = 0;
    p.ppl.stream = true;
    assert_int_equal(climb(w2s, &p, &r, &err), ACCLLM_E_ARG);
    p.ppl.stream = false;
    accllm_runtime_abort(rt);
    assert_int_equal(climb(w2s, &p, &r, &err), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(rt);
    p.struct_size = 0;
    assert_int_equal(climb(w2s, &p, &r, &err), ACCLLM_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rungs_are_what_they_say),
        cmocka_unit_test(dense_models_have_no_pruned_rung),
        cmocka_unit_test(the_mask_is_the_models),
        cmocka_unit_test(channels_in_another_order_are_found),
        cmocka_unit_test(what_does_not_belong_together_is_refused),
    };
    return cmocka_run_group_tests_name("ladder", tests, setup, teardown);
}
