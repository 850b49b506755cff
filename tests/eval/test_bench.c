/* The benchmark on a built-in shape: its figures fit each other, bad parameters are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "accllm/eval.h"
#include "eval/stream.h"

typedef struct fixture {
    accllm_runtime *rt;
    accllm_model *m;
    accllm_session_params sp;
} fixture;

static int make(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    accllm_error err;
    if (!f) return -1;
    *state = f;
    accllm_session_params_init(&f->sp);
    if (accllm_runtime_create(&f->rt, NULL, &err) != ACCLLM_OK) return -1;
    return accllm_model_random(&f->m, f->rt, "smollm2-135m", "w2s", "w8", &err) == ACCLLM_OK ? 0 : -1;
}

static int drop(void **state)
{
    fixture *f = *state;
    accllm_model_free(&f->m);
    accllm_runtime_free(&f->rt);
    free(f);
    return 0;
}

/* No prompt: tokens one by one, measured `reps` times. */
static accllm_bench_params decode_only(uint32_t n_gen, uint32_t reps)
{
    accllm_bench_params p;
    accllm_bench_params_init(&p);
    p.n_prompt = 0;
    p.n_gen = n_gen;
    p.reps = reps;
    return p;
}

static void figures_fit_each_other(void **state)
{
    fixture *f = *state;
    accllm_bench_params p;
    accllm_bench_result r;
    accllm_error err;
    accllm_bench_params_init(&p);
    p.n_prompt = 20;
    p.n_gen = 3;
    p.reps = 2;
    p.depth = 700;
    assert_int_equal(accllm_bench(f->m, &f->sp, &p, &r, &err), ACCLLM_OK);
    const accllm_model_info *info = accllm_model_get_info(f->m);
    assert_true(r.prefill_tok_s > 0 && r.decode_tok_s > 0 && r.stream_gb_s > 0);
    assert_true(r.decode_tok_s_min <= r.decode_tok_s && r.decode_tok_s <= r.decode_tok_s_max);
    assert_true(r.weight_bytes_per_token >= info->linear_bytes && r.lm_head_bytes == info->head_bytes);
    assert_true(r.kv_bytes_per_token > 0);
    const double bytes = (double)(r.weight_bytes_per_token + r.lm_head_bytes + r.kv_bytes_per_token);
    assert_true(fabs(r.decode_gb_s - bytes * r.decode_tok_s / 1e9) < 1e-9);
    const double weights = (double)(r.weight_bytes_per_token + r.lm_head_bytes);
    assert_true(r.peak_rss_bytes > r.lm_head_bytes);
    p.reps = 1; /* so that the mean of the readings beside it is their median */
    assert_int_equal(accllm_bench(f->m, &f->sp, &p, &r, &err), ACCLLM_OK);
    if (weights < 8.0 * (double)acc_last_level_cache())
        assert_true(r.roofline_ratio < 0);
    else
        assert_true(fabs(r.roofline_ratio - r.decode_gb_s / r.stream_gb_s) < 1e-9);
}

/* A step reads the weights once and each session's cache; the rates count all sessions. */
static void sessions_share_the_weights(void **state)
{
    fixture *f = *state;
    accllm_bench_params p = decode_only(2, 2);
    accllm_bench_result one, three;
    accllm_error err;
    p.depth = 300;
    assert_int_equal(accllm_bench(f->m, &f->sp, &p, &one, &err), ACCLLM_OK);
    p.n_sessions = 3;
    assert_int_equal(accllm_bench(f->m, &f->sp, &p, &three, &err), ACCLLM_OK);
    assert_true(three.weight_bytes_per_token == one.weight_bytes_per_token);
    assert_true(three.kv_bytes_per_token == one.kv_bytes_per_token && three.session_bytes == one.session_bytes);
    assert_true(one.session_bytes > one.kv_bytes_per_token && three.batch_bytes > one.batch_bytes);
    const double bytes = (double)(three.weight_bytes_per_token + three.lm_head_bytes + 3 * three.kv_bytes_per_token);
    assert_true(fabs(three.decode_gb_s - bytes * three.decode_tok_s / 3 / 1e9) < 1e-9);
    assert_true(three.decode_tok_s_min <= three.decode_tok_s && three.decode_tok_s <= three.decode_tok_s_max);
}

static void more_depth_reads_more(void **state)
{
    fixture *f = *state;
    accllm_bench_params p = decode_only(1, 1);
    accllm_bench_result near, far;
    accllm_error err;
    assert_int_equal(accllm_bench(f->m, &f->sp, &p, &near, &err), ACCLLM_OK);
    p.depth = 100000;
    assert_int_equal(accllm_bench(f->m, &f->sp, &p, &far, &err), ACCLLM_OK);
    assert_true(far.kv_bytes_per_token > near.kv_bytes_per_token);
    assert_true(near.prefill_tok_s == 0);
}

/* One step with the W2S model and kernel set; false: the CPU has no such set. */
static bool step_with(fixture *f, const char *isa, accllm_bench_result *r)
{
    accllm_bench_params p = decode_only(1, 1);
    accllm_error err;
    accllm_runtime_params rp;
    accllm_runtime *rt;
    accllm_model *m;
    accllm_runtime_params_init(&rp);
    rp.isa = isa;
    if (accllm_runtime_create(&rt, &rp, &err) != ACCLLM_OK) return false;
    assert_int_equal(accllm_model_random(&m, rt, "smollm2-135m", "w2s", "w8", &err), ACCLLM_OK);
    assert_int_equal(accllm_bench(m, &f->sp, &p, r, &err), ACCLLM_OK);
    assert_int_equal(r->lm_head_bytes, accllm_model_get_info(m)->head_bytes);
    accllm_model_free(&m);
    accllm_runtime_free(&rt);
    return true;
}

static void the_files_layout_counts(void **state)
{
    fixture *f = *state;
    accllm_bench_result r;
    assert_true(step_with(f, "scalar", &r));
    assert_int_equal(r.weight_bytes_per_token, accllm_model_get_info(f->m)->linear_bytes);
}

/* A kernel set with a layout of its own reads that: one byte for a quad in place of seven bits. */
static void repacked_weights_count(void **state)
{
    fixture *f = *state;
    accllm_bench_result r;
    const uint64_t file = accllm_model_get_info(f->m)->linear_bytes;
    if (!step_with(f, "avx2", &r)) skip();
    assert_in_range(r.weight_bytes_per_token, file / 100 * 113, file / 100 * 115);
}

static void the_reference_reads_floats(void **state)
{
    fixture *f = *state;
    accllm_bench_params p = decode_only(1, 1);
    accllm_bench_result r;
    accllm_error err;
    accllm_model *m;
    assert_int_equal(accllm_model_open(&m, f->rt, TINY_FOLDER "/tiny.gguf", NULL, &err), ACCLLM_OK);
    assert_int_equal(accllm_bench(m, &f->sp, &p, &r, &err), ACCLLM_OK);
    const accllm_model_info *info = accllm_model_get_info(m);
    assert_int_equal(r.weight_bytes_per_token, info->n_linear_params * 4);
    assert_int_equal(r.lm_head_bytes, (uint64_t)info->n_vocab * info->n_embd * 4);
    assert_true(info->linear_bytes < r.weight_bytes_per_token);
    accllm_model_free(&m);
}

static void bad_parameters_are_refused(void **state)
{
    fixture *f = *state;
    accllm_bench_result r;
    for (int i = 0; i < 7; i++) {
        accllm_bench_params p;
        accllm_error err = {0};
        accllm_bench_params_init(&p);
        if (i == 0) p.reps = 0;
        if (i == 1) p.reps = UINT32_MAX;
        if (i == 2) p.n_prompt = UINT32_MAX;
        if (i == 3) p.n_gen = p.n_prompt = 0;
        if (i == 4) p.struct_size = 3;
        if (i == 5) p.n_sessions = 0;
        if (i == 6) p.n_sessions = UINT32_MAX;
        assert_int_equal(accllm_bench(f->m, &f->sp, &p, &r, &err), ACCLLM_E_ARG);
        assert_true(err.text[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_fit_each_other),     cmocka_unit_test(sessions_share_the_weights),
        cmocka_unit_test(more_depth_reads_more),      cmocka_unit_test(the_files_layout_counts),
        cmocka_unit_test(repacked_weights_count),     cmocka_unit_test(the_reference_reads_floats),
        cmocka_unit_test(bad_parameters_are_refused),
    };
    return cmocka_run_group_tests_name("bench", tests, make, drop);
}
