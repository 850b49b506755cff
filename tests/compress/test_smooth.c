/* The scalings that the compressor folds into norms and weights: the same function, other numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "compress/pipeline.h"
#include "core/hash.h"
#include "core/runtime.h"
#include "support/tiny.h"

static double layer_difference(const float *x, const float *y, size_t n)
{
    double diff = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        square += (double)x[i] * (double)x[i];
    }
    return diff / square;
}

/* The rewritten block computes the same function. */
static void smoothing_changes_no_output(void **state)
{
    (void)state;
    enum { N = 40 };
    for (int biases = 0; biases < 2; biases++) {
        const acc_weight shapes[ACC_N_LINEAR] = {[1].format = biases ? ACC_FMT_W2 : ACC_FMT_W4};
        tiny_options o = tiny_defaults();
        accllm_error err;
        accllm_runtime *rt;
        accllm_runtime_params rp;
        char *path = tiny_path("smooth.gguf");
        acc_ref_layer l;
        acc_ref_work *work;
        acc_collector c;
        o.biases = biases;
        accllm_runtime_params_init(&rp);
        rp.n_threads = 2;
        assert_int_equal(accllm_runtime_create(&rt, &rp, &err), ACCLLM_OK);
        assert_int_equal(tiny_write(path, &o, &err), ACCLLM_OK);
        acc_run r = {.rt = rt, .cal = {.seq_len = N, .n_seqs = 1}, .plan = {.page = 16, .sinks = 2}};
        assert_int_equal(acc_checkpoint_open(&r.src, path, true, &err), ACCLLM_OK);
        r.hp = &r.src->hp;
        const size_t n = (size_t)N * r.hp->n_embd;
        float *in = calloc(3 * n, sizeof *in), *before = in + n, *after = before + n;
        for (size_t i = 0; i < n; i++) in[i] = (float)(acc_random_unit(7, i) - 0.5) * (i % 5 == 0 ? 9.0f : 0.4f);
        memcpy(before, in, n * sizeof *in);
        memcpy(after, in, n * sizeof *in);
        const acc_ref_attention att = {2, 24};
        assert_int_equal(acc_ref_layer_load(&l, r.src, 0, &err), ACCLLM_OK);
        assert_int_equal(acc_ref_work_create(&work, r.hp, N, &err), ACCLLM_OK);
        assert_int_equal(acc_collector_create(&c, &r, &err), ACCLLM_OK);
        c.wanted = 15;
        assert_int_equal(acc_ref_layer_forward(rt, r.hp, &l, before, N, &att, work, acc_collector_tap, &c, &err),
                         ACCLLM_OK);
        const float gain = l.attn_norm[0], up = l.up[0], key = l.k[0];
        assert_int_equal(acc_smooth_layer(&l, r.hp, shapes, &c, &err), ACCLLM_OK);
        assert_true(gain != l.attn_norm[0] && up != l.up[0] && key != l.k[0]);
        assert_int_equal(acc_ref_layer_forward(rt, r.hp, &l, after, N, &att, work, NULL, NULL, &err), ACCLLM_OK);
        assert_true(layer_difference(before, after, n) < 1e-10);
        acc_collector_free(&c);
        acc_ref_work_free(&work);
        acc_ref_layer_free(&l);
        r.src->close(r.src);
        free(in);
        (void)unlink(path);
        free(path);
        accllm_runtime_free(&rt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(smoothing_changes_no_output)};
    return cmocka_run_group_tests_name("compress smooth", tests, NULL, NULL);
}
