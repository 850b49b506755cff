/* The float reference against a direct double implementation of its definition, and its promises: chunks do not matter,
 * a wide window is full attention, positions may be huge, calibration sees every input. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "naive.h"
#include "reference/internal.h"
#include "tiny_source.h"

#define N 60u
#define VOCAB 50u

static const tiny_shape plain = {3, 1, false, true}, rich = {4, 2, true, false};

static accllm_runtime *runtime(uint32_t threads)
{
    accllm_runtime *rt = calloc(1, sizeof *rt);
    assert_non_null(rt);
    assert_int_equal(acc_pool_create(&rt->pool, threads, NULL), ACCLLM_OK);
    return rt;
}

static void runtime_free(accllm_runtime *rt)
{
    acc_pool_free(&rt->pool);
    free(rt);
}

static void random_ids(int32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)(acc_random(5, i) % VOCAB);
}

static accllm_session_params lambda(uint32_t sinks, uint32_t window, uint32_t chunk)
{
    return (accllm_session_params){.struct_size = sizeof(accllm_session_params),
                                   .sinks = sinks,
                                   .window = window,
                                   .chunk = chunk,
                                   .max_logits = N};
}

/* Feeds n tokens in pieces of p->chunk, all logits. */
static void run(acc_ref_model *m, const accllm_session_params *p, const int32_t *ids, uint32_t n, float *logits)
{
    void *s;
    const acc_session_ops *ops;
    accllm_error err;
    assert_int_equal(acc_ref_session_create(&s, &ops, m, p, &err), ACCLLM_OK);
    for (uint32_t at = 0; at < n; at += p->chunk) {
        uint32_t here = n - at < p->chunk ? n - at : p->chunk;
        assert_int_equal(ops->step(s, ids + at, here, here, logits + (size_t)at * VOCAB, &err), ACCLLM_OK);
    }
    assert_int_equal(ops->position(s), n);
    assert_true(ops->bytes(s) > 0);
    ops->free(s);
}

static double worst(const float *a, const double *b, size_t n)
{
    double w = 0;
    for (size_t i = 0; i < n; i++) w = fmax(w, fabs((double)a[i] - b[i]));
    return w;
}

static double worst_f(const float *a, const float *b, size_t n)
{
    double w = 0;
    for (size_t i = 0; i < n; i++) w = fmax(w, fabs((double)a[i] - (double)b[i]));
    return w;
}

static void equals_the_definition(void **state)
{
    (void)state;
    const struct {
        uint32_t sinks, window, chunk, threads;
    } cases[] = {{0, 7, 5, 1}, {3, 5, 1, 2}, {3, 5, 60, 1}, {4, 16, 7, 2}, {5, 1, 9, 1}, {20, 9, 6, 2}, {1, 30, 13, 3}};
    int32_t ids[N];
    static float got[N * VOCAB];
    static double want[N * VOCAB];
    random_ids(ids, N);
    for (int which = 0; which < 2; which++) {
        acc_source *src = tiny_source(11, which ? &rich : &plain);
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            accllm_runtime *rt = runtime(cases[c].threads);
            acc_ref_model *m;
            assert_int_equal(acc_ref_model_create(&m, rt, src, NULL), ACCLLM_OK);
            accllm_session_params p = lambda(cases[c].sinks, cases[c].window, cases[c].chunk);
            run(m, &p, ids, N, got);
            naive_logits(src, ids, N, cases[c].sinks, cases[c].window, want);
            assert_true(worst(got, want, N * VOCAB) < 2e-5);
            p = (accllm_session_params){.full_attention = true, .n_ctx = N, .chunk = cases[c].chunk};
            run(m, &p, ids, N, got);
            naive_logits(src, ids, N, 0, UINT64_MAX / 2, want);
            assert_true(worst(got, want, N * VOCAB) < 2e-5);
            acc_ref_model_free(&m);
            runtime_free(rt);
        }
        src->close(src);
    }
}

/* A longer chunk gives the same logits. */
static void chunks_agree(acc_ref_model *m, accllm_session_params p, const int32_t *ids, const float *want)
{
    static float other[N * VOCAB];
    for (p.chunk = 2; p.chunk <= N; p.chunk = p.chunk * 2 + 1) {
        run(m, &p, ids, N, other);
        assert_true(worst_f(want, other, N * VOCAB) < 1e-5);
    }
}

static void chunks_and_wide_windows_do_not_matter(void **state)
{
    (void)state;
    int32_t ids[N];
    static float one[N * VOCAB], other[N * VOCAB], full[N * VOCAB];
    random_ids(ids, N);
    accllm_runtime *rt = runtime(2);
    acc_source *src = tiny_source(12, &rich);
    acc_ref_model *m;
    assert_int_equal(acc_ref_model_create(&m, rt, src, NULL), ACCLLM_OK);
    accllm_session_params p = lambda(4, 11, 1);
    run(m, &p, ids, N, one);
    chunks_agree(m, p, ids, one);
    p = (accllm_session_params){.full_attention = true, .chunk = 16}; /* n_ctx: the trained context */
    run(m, &p, ids, N, full);
    assert_true(worst_f(one, full, N * VOCAB) > 1e-2); /* a short window is not the same */
    p = lambda(4, N, 16);
    run(m, &p, ids, N, other);
    assert_true(worst_f(full, other, N * VOCAB) < 1e-5);
    p = lambda(4, N - 4, 16); /* sinks + window reach just as far */
    run(m, &p, ids, N, other);
    assert_true(worst_f(full, other, N * VOCAB) < 1e-5);
    acc_ref_model_free(&m);
    src->close(src);
    runtime_free(rt);
}

/* What is near is seen at 8 bits: all of it equals an 8-bit cache, and chunks do not move its border. */
static void near_positions_keep_eight_bits(void **state)
{
    (void)state;
    int32_t ids[N];
    static float four[N * VOCAB], eight[N * VOCAB], one[N * VOCAB], other[N * VOCAB];
    random_ids(ids, N);
    accllm_runtime *rt = runtime(2);
    acc_source *src = tiny_source(12, &rich);
    acc_ref_model *m;
    assert_int_equal(acc_ref_model_create(&m, rt, src, NULL), ACCLLM_OK);
    accllm_session_params p = lambda(4, 11, 7);
    p.kv_bits = 8;
    run(m, &p, ids, N, eight);
    p.kv_bits = 4;
    run(m, &p, ids, N, four);
    p.kv_near = 11;
    run(m, &p, ids, N, other);
    assert_true(worst_f(eight, other, N * VOCAB) < 1e-5);
    assert_true(worst_f(eight, four, N * VOCAB) > 1e-3);
    p.kv_near = 5;
    p.chunk = 1;
    run(m, &p, ids, N, one);
    assert_true(worst_f(one, four, N * VOCAB) > 1e-3 && worst_f(one, eight, N * VOCAB) > 1e-3);
    chunks_agree(m, p, ids, one);
    acc_ref_model_free(&m);
    src->close(src);
    runtime_free(rt);
}

typedef struct seen {
    const acc_hparams *hp;
    const acc_ref_layer *l;
    uint32_t n, calls;
    float x[N * 24], k[N * 16], rebuilt[N * 24];
} seen;

static void multiply(const float *w, const float *bias, const float *x, float *y, uint32_t n, uint32_t rows,
                     uint32_t cols, bool add)
{
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t r = 0; r < rows; r++) {
            double sum = bias ? (double)bias[r] : 0;
            for (uint32_t c = 0; c < cols; c++) sum += (double)w[r * cols + c] * (double)x[t * cols + c];
            y[t * rows + r] = (float)sum + (add ? y[t * rows + r] : 0);
        }
}

static void tap(void *user, acc_tensor_id which, const float *x, uint32_t n, uint32_t cols)
{
    seen *s = user;
    static const struct {
        acc_tensor_id id;
        uint32_t cols;
    } order[] = {{ACC_T_ATTN_NORM, 24}, {ACC_T_ATTN_Q, 24},   {ACC_T_ATTN_K, 16},  {ACC_T_ATTN_OUT, 32},
                 {ACC_T_FFN_NORM, 24},  {ACC_T_FFN_GATE, 24}, {ACC_T_FFN_DOWN, 40}};
    assert_true(s->calls < 7 && which == order[s->calls].id && cols == order[s->calls].cols && n == s->n);
    s->calls++;
    if (which == ACC_T_ATTN_Q) multiply(s->l->k, s->l->k_bias, x, s->k, n, 16, 24, false);
    if (which == ACC_T_ATTN_K) assert_true(worst_f(x, s->k, (size_t)n * 16) < 1e-6);
    if (cols == 24 && which != ACC_T_ATTN_Q && which != ACC_T_FFN_GATE)
        assert_true(worst_f(x, s->rebuilt, (size_t)n * 24) < 1e-5); /* the residual, as the taps so far make it */
    if (which == ACC_T_ATTN_OUT) multiply(s->l->o, NULL, x, s->rebuilt, n, 24, 32, true);
    if (which == ACC_T_FFN_DOWN) multiply(s->l->down, NULL, x, s->rebuilt, n, 24, 40, true);
}

static void a_layer_over_a_sequence(void **state)
{
    (void)state;
    static seen s;
    static double want[N * 24];
    static float x[N * 24];
    accllm_runtime *rt = runtime(2);
    acc_source *src = tiny_source(13, &rich);
    acc_ref_layer l;
    acc_ref_work *w;
    assert_int_equal(acc_ref_layer_load(&l, src, 1, NULL), ACCLLM_OK);
    assert_int_equal(acc_ref_work_create(&w, &src->hp, N, NULL), ACCLLM_OK);
    const acc_ref_attention att[] = {{0, N}, {4, 9}, {100, 9}, {0, UINT32_MAX}, {0, 1}};
    for (size_t a = 0; a < sizeof att / sizeof att[0]; a++)
        for (uint32_t n = N; n > 0; n /= 4) {
            for (uint32_t i = 0; i < n * 24; i++) want[i] = (double)(x[i] = (float)acc_random_unit(14, i) - 0.5f);
            s = (seen){.hp = &src->hp, .l = &l, .n = n};
            memcpy(s.rebuilt, x, sizeof x);
            assert_int_equal(acc_ref_layer_forward(rt, &src->hp, &l, x, n, &att[a], w, tap, &s, NULL), ACCLLM_OK);
            assert_int_equal(s.calls, 7);
            naive_block(&src->hp, &l, want, n, att[a].sinks, att[a].window);
            assert_true(worst(x, want, (size_t)n * 24) < 1e-5);
            assert_true(worst_f(x, s.rebuilt, (size_t)n * 24) < 1e-5); /* the taps saw what was used */
        }
    accllm_error err;
    assert_int_equal(acc_ref_layer_forward(rt, &src->hp, &l, x, N + 1, &att[0], w, NULL, NULL, &err), ACCLLM_E_ARG);
    x[3] = NAN;
    assert_int_equal(acc_ref_layer_forward(rt, &src->hp, &l, x, N, &att[0], w, NULL, NULL, &err), ACCLLM_E_NUMERIC);
    acc_ref_work_free(&w);
    acc_ref_layer_free(&l);
    src->close(src);
    runtime_free(rt);
}

static void angles_far_out_are_right(void **state)
{
    (void)state;
    acc_source *src = tiny_source(15, &plain);
    const acc_hparams *hp = &src->hp;
    const uint64_t positions[] = {0, 1, 8191, 1000000, 4294967297u};
    float c[4], s[4];
    for (size_t p = 0; p < sizeof positions / sizeof positions[0]; p++) {
        acc_ref_angles(hp, positions[p], c, s);
        for (int i = 0; i < 4; i++) {
            long double a = (long double)positions[p] * powl(10000.0L, -2.0L * i / 8);
            assert_true(fabsl((long double)c[i] - cosl(a)) < 1e-6L && fabsl((long double)s[i] - sinl(a)) < 1e-6L);
        }
    }
    src->close(src);
}

/* Attention of the same queries, keys and values at positions that differ by a shift, behind no sinks. */
static void attention_does_not_depend_on_the_position(void **state)
{
    (void)state;
    enum { ROWS = 23, WINDOW = 12, CHUNK = 8, STEPS = 6 };
    accllm_runtime *rt = runtime(2);
    acc_source *src = tiny_source(16, &rich);
    const acc_hparams *hp = &src->hp;
    static float cache[2][2 * ROWS * 8], k[CHUNK * 16], v[CHUNK * 16], q[CHUNK * 32], out[2][STEPS][CHUNK * 32];
    const uint64_t start[] = {0, 1000000 - 3};
    for (int which = 0; which < 2; which++) {
        acc_ref_work *w;
        assert_int_equal(acc_ref_work_init(&w, hp, CHUNK, ROWS, false, NULL), ACCLLM_OK);
        assert_int_equal(acc_ref_work_reserve(w, 2, NULL), ACCLLM_OK);
        acc_ref_kv kv = {.ring_k = cache[0], .ring_v = cache[1], .ring_rows = ROWS, .window = WINDOW};
        for (uint32_t step = 0; step < STEPS; step++) {
            for (uint32_t i = 0; i < CHUNK * 16; i++) {
                k[i] = 4 * (float)acc_random_unit(17 + step, i) - 2;
                v[i] = (float)acc_random_unit(37 + step, i);
            }
            for (uint32_t i = 0; i < CHUNK * 32; i++) q[i] = 4 * (float)acc_random_unit(57 + step, i) - 2;
            acc_ref_span span = acc_ref_work_span(w, &kv, start[which] + (uint64_t)step * CHUNK, CHUNK);
            assert_true(acc_ref_kv_put(&kv, hp, &span, k, v));
            acc_ref_attend(rt, &kv, hp, &span, q, out[which][step], w->scratch, w->block);
        }
        acc_ref_work_free(&w);
    }
    /* the first two chunks at 10^6 see an empty cache's rows, later ones only their own */
    for (uint32_t step = 2; step < STEPS; step++) assert_true(worst_f(out[0][step], out[1][step], CHUNK * 32) < 1e-5);
    src->close(src);
    runtime_free(rt);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    accllm_runtime *rt = runtime(1);
    acc_source *src = tiny_source(18, &plain);
    acc_ref_model *m;
    void *s;
    const acc_session_ops *ops;
    accllm_error err;
    float logits[4 * VOCAB];
    int32_t ids[4] = {1, 2, 3, 4};
    assert_int_equal(acc_ref_model_create(&m, rt, src, &err), ACCLLM_OK);
    accllm_session_params p = lambda(4, 300, 4);
    assert_int_equal(acc_ref_session_create(&s, &ops, m, &p, &err), ACCLLM_E_LIMIT);
    p.force = true;
    assert_int_equal(acc_ref_session_create(&s, &ops, m, &p, &err), ACCLLM_OK);
    ops->free(s);
    p = lambda(4, 16, 4);
    p.kv_bits = 2;
    assert_int_equal(acc_ref_session_create(&s, &ops, m, &p, &err), ACCLLM_E_UNSUPPORTED);
    p = (accllm_session_params){.full_attention = true, .n_ctx = 6, .chunk = 4, .trace = true};
    assert_int_equal(acc_ref_session_create(&s, &ops, m, &p, &err), ACCLLM_OK);
    assert_int_equal(ops->step(s, ids, 4, 5, logits, &err), ACCLLM_E_ARG);
    assert_int_equal(ops->step(s, ids, 0, 0, logits, &err), ACCLLM_E_ARG);
    assert_int_equal(ops->step(s, ids, 4, 4, logits, &err), ACCLLM_OK);
    uint64_t hash = ops->trace_hash(s);
    assert_int_equal(ops->step(s, ids, 4, 1, logits, &err), ACCLLM_E_LIMIT);
    ids[1] = VOCAB;
    assert_int_equal(ops->step(s, ids, 2, 1, logits, &err), ACCLLM_E_ARG);
    ids[1] = 2;
    ops->reset(s);
    assert_int_equal(ops->position(s), 0);
    assert_int_equal(ops->step(s, ids, 4, 4, logits, &err), ACCLLM_OK);
    assert_true(ops->trace_hash(s) == hash);
    accllm_runtime_abort(rt);
    assert_int_equal(ops->step(s, ids, 1, 1, logits, &err), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(rt);
    ops->free(s);
    acc_ref_model_free(&m);
    tiny_source_poke(src, ACC_T_FFN_DOWN, 0, 3, 2, INFINITY);
    assert_int_equal(acc_ref_model_create(&m, rt, src, &err), ACCLLM_OK);
    assert_int_equal(acc_ref_session_create(&s, &ops, m, &p, &err), ACCLLM_OK);
    assert_int_equal(ops->step(s, ids, 4, 1, logits, &err), ACCLLM_E_NUMERIC);
    assert_non_null(strstr(err.text, "layer 1"));
    ops->free(s);
    acc_ref_model_free(&m);
    src->close(src);
    runtime_free(rt);
}

/* Coded keys and values stay within half a step of the true ones, wherever the page starts. */
static void simulated_codes_are_close(void **state)
{
    (void)state;
    enum { CHUNK = 20, ROWS = 32, PAGE = 16 };
    acc_source *src = tiny_source(19, &rich);
    const acc_hparams *hp = &src->hp;
    static float exact[2][2 * ROWS * 8], coded[2][2 * ROWS * 8], sink[2][2 * 3 * 8], k[CHUNK * 16], v[CHUNK * 16];
    float mean[16];
    acc_ref_work *w;
    assert_int_equal(acc_ref_work_init(&w, hp, CHUNK, ROWS, false, NULL), ACCLLM_OK);
    for (uint32_t i = 0; i < CHUNK * 16; i++) k[i] = (float)acc_random_unit(20, i) - 0.5f, v[i] = k[i] + 0.25f;
    for (uint32_t i = 0; i < 16; i++) mean[i] = 0.1f * (float)acc_random_unit(21, i);
    for (uint32_t bits = 8; bits >= 4; bits -= 4) {
        acc_ref_kv kv = {.sink_k = sink[0],
                         .sink_v = sink[1],
                         .ring_k = exact[0],
                         .ring_v = exact[1],
                         .sink_rows = 3,
                         .ring_rows = ROWS,
                         .sinks = 3,
                         .window = ROWS,
                         .page = PAGE,
                         .k_mean = mean};
        acc_ref_span span = acc_ref_work_span(w, &kv, 1000, CHUNK);
        assert_true(acc_ref_kv_put(&kv, hp, &span, k, v));
        kv.ring_k = coded[0];
        kv.ring_v = coded[1];
        kv.bits = bits;
        w->n_angles = 0; /* the rotations in pages are not there yet */
        span = acc_ref_work_span(w, &kv, 1000, CHUNK);
        assert_true(acc_ref_kv_put(&kv, hp, &span, k, v));
        double off = worst_f(exact[0], coded[0], 2 * ROWS * 8), off_v = worst_f(exact[1], coded[1], 2 * ROWS * 8);
        double step = bits == 4 ? 1.0 / 15 : 0.75 / 127; /* of values; a key's error is the mean of 8 */
        assert_true(off > 0.1 * step && off < 1.5 * step);
        assert_true(off_v > 0.3 * step && off_v < (bits == 4 ? 1.01 : 0.51) * step);
    }
    v[5] = INFINITY;
    acc_ref_kv kv = {
        .ring_k = coded[0], .ring_v = coded[1], .ring_rows = ROWS, .window = ROWS, .page = PAGE, .bits = 4};
    acc_ref_span span = acc_ref_work_span(w, &kv, 2000, CHUNK);
    assert_false(acc_ref_kv_put(&kv, hp, &span, k, v));
    acc_ref_work_free(&w);
    src->close(src);
}

static void exponentials_and_norms(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 70; n++) {
        float x[70], y[70];
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) x[i] = y[i] = 3.0f - 1.2f * (float)(i * 5 % n);
        assert_true(acc_ref_max(x, n, -INFINITY) == 3.0f);
        float got = acc_ref_exp_row(y, n, 3.0f);
        for (uint32_t i = 0; i < n; i++) {
            double want = exp((double)x[i] - 3);
            sum += want;
            assert_true(fabs((double)y[i] - want) <= 3e-7 * want);
        }
        assert_true(fabs((double)got - sum) < 1e-6 * sum);
    }
    float limits[4] = {-INFINITY, -1000, 1000, NAN};
    (void)acc_ref_exp_row(limits, 4, 0);
    assert_true(limits[0] > 0 && limits[0] < 1e-37f && limits[1] == limits[0]);
    assert_true(limits[2] > 1e38f && isfinite(limits[2]) && isnan(limits[3]));
    const float negative[3] = {-2, -INFINITY, -0.5f};
    assert_true(acc_ref_max(negative, 3, -INFINITY) == -0.5f && acc_ref_max(negative, 0, -1) == -1);
    float x[2] = {1e30f, -1e30f}, g[2] = {1, 1}, y[2];
    assert_true(acc_ref_norm(x, g, 2, 1e-5f, y)); /* squares beyond float's range */
    assert_true(fabsf(y[0] - 1) < 1e-6f);
}

/* Blocks of 16, and what is left behind them; in place too. */
static void silu_times_up(void **state)
{
    (void)state;
    accllm_runtime *rt = runtime(2);
    float gate[75], up[75], y[75];
    for (uint32_t n = 1; n < 75; n++) {
        for (uint32_t i = 0; i < n; i++) {
            gate[i] = i % 9 == 0 ? 200.0f * ((float)(i % 2) - 0.5f) : 16 * (float)acc_random_unit(71, i) - 8;
            up[i] = (float)acc_random_unit(72, i) - 0.5f;
        }
        acc_ref_silu_mul(rt, gate, up, n, y);
        for (uint32_t i = 0; i < n; i++) {
            const double want = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];
            assert_true(fabs((double)y[i] - want) <= 1e-6 * fabs(want) + 1e-30);
        }
        acc_ref_silu_mul(rt, gate, up, n, gate);
        assert_memory_equal(gate, y, n * sizeof *y);
    }
    runtime_free(rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_definition),          cmocka_unit_test(chunks_and_wide_windows_do_not_matter),
        cmocka_unit_test(near_positions_keep_eight_bits), cmocka_unit_test(a_layer_over_a_sequence),
        cmocka_unit_test(angles_far_out_are_right),       cmocka_unit_test(attention_does_not_depend_on_the_position),
        cmocka_unit_test(bad_input_is_refused),           cmocka_unit_test(simulated_codes_are_close),
        cmocka_unit_test(exponentials_and_norms),         cmocka_unit_test(silu_times_up),
    };
    return cmocka_run_group_tests_name("reference", tests, NULL, NULL);
}
