/* The walk over a text: every token scored once, in the right window, behind the right tokens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/threads.h"
#include "eval/walk.h"
#include "reference/logits.h"

#define N 103u

static accllm_ppl_params params(uint32_t ctx, uint32_t stride)
{
    accllm_ppl_params p;
    accllm_ppl_params_init(&p);
    p.ctx = ctx;
    p.stride = stride;
    return p;
}

/* Replays a walk: what a session would hold, and for every scored token the number of tokens before it. */
static void replay(uint32_t ctx, uint32_t stride, bool stream, int32_t bos, size_t rows, int behind[N])
{
    int32_t ids[N], held[N + 2];
    acc_walk w;
    acc_walk_step s;
    accllm_ppl_params p = params(ctx, stride);
    p.stream = stream;
    for (uint32_t i = 0; i < N; i++) ids[i] = (int32_t)(1000 + i), behind[i] = -1;
    assert_int_equal(acc_walk_init(&w, ids, N, bos, &p, rows, NULL), ACCLLM_OK);
    size_t n = 0;
    while (acc_walk_next(&w, &s)) {
        if (s.reset) n = 0;
        assert_true(s.n_ids >= 1 && s.n_ids <= rows && s.n_rows <= s.n_ids);
        memcpy(held + n, s.ids, s.n_ids * sizeof *held);
        n += s.n_ids;
        assert_true(stream || n < ctx); /* the window's last token needs no evaluation */
        if (bos >= 0) assert_int_equal(held[0], bos);
        for (size_t i = 0; i < s.n_rows; i++) {
            size_t target = s.first_target + i, before = n - s.n_rows + i + 1; /* tokens that this row has seen */
            assert_true(target < N && behind[target] == -1);
            behind[target] = (int)before;
            if (before > (bos >= 0)) assert_int_equal(held[before - 1], ids[target - 1]);
        }
    }
    acc_walk_free(&w);
}

static void back_to_back_windows(void **state)
{
    (void)state;
    int behind[N];
    for (size_t rows = 1; rows < 30; rows += 4) {
        replay(10, 0, false, -1, rows, behind);
        for (uint32_t i = 0; i < N; i++) assert_int_equal(behind[i], i % 10 ? (int)(i % 10) : -1);
        replay(10, 10, false, 7, rows, behind);
        for (uint32_t i = 0; i < N; i++) assert_int_equal(behind[i], (int)(i % 9) + 1);
    }
}

static void overlapping_windows(void **state)
{
    (void)state;
    int behind[N];
    for (size_t rows = 1; rows < 30; rows += 4) {
        replay(10, 4, false, -1, rows, behind);
        assert_int_equal(behind[0], -1);
        for (uint32_t i = 1; i < N; i++) assert_int_equal(behind[i], i < 10 ? (int)i : 6 + (int)((i - 10) % 4));
        replay(11, 4, false, 7, rows, behind);
        for (uint32_t i = 0; i < N; i++) assert_int_equal(behind[i], 1 + (i < 10 ? (int)i : 6 + (int)((i - 10) % 4)));
    }
}

static void a_stream_is_one_window(void **state)
{
    (void)state;
    int behind[N];
    replay(10, 3, true, -1, 16, behind);
    for (uint32_t i = 0; i < N; i++) assert_int_equal(behind[i], i ? (int)i : -1);
    replay(10, 3, true, 7, 16, behind);
    for (uint32_t i = 0; i < N; i++) assert_int_equal(behind[i], (int)i + 1);
}

/* 103 tokens in windows of 10: 3 are left over; with a stride of 4 after the first window, 1. */
static void only_whole_windows(void **state)
{
    (void)state;
    int32_t ids[N];
    for (uint32_t i = 0; i < N; i++) ids[i] = (int32_t)i;
    const struct {
        uint32_t ctx, stride;
        int32_t bos;
        size_t scored, windows;
    } cases[] = {{10, 0, -1, 90, 10}, {11, 0, 7, 100, 10}, {10, 4, -1, 101, 24}, {103, 0, -1, 102, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        acc_walk w;
        acc_walk_step s;
        accllm_ppl_params p = params(cases[i].ctx, cases[i].stride);
        p.whole_windows = true;
        assert_int_equal(acc_walk_init(&w, ids, N, cases[i].bos, &p, 16, NULL), ACCLLM_OK);
        size_t scored = 0, windows = 0;
        while (acc_walk_next(&w, &s)) {
            scored += s.n_rows;
            windows += s.reset;
        }
        assert_int_equal(scored, cases[i].scored);
        assert_int_equal(windows, cases[i].windows);
        acc_walk_free(&w);
        p.ctx = 105;
        assert_int_equal(acc_walk_init(&w, ids, N, cases[i].bos, &p, 16, NULL), ACCLLM_E_ARG);
    }
}

static void senseless_walks_are_refused(void **state)
{
    (void)state;
    int32_t id[2] = {1, 2};
    acc_walk w;
    accllm_error err;
    accllm_ppl_params p = params(1, 0);
    assert_int_equal(acc_walk_init(&w, id, 2, -1, &p, 4, &err), ACCLLM_E_ARG);
    p = params(8, 9);
    assert_int_equal(acc_walk_init(&w, id, 2, -1, &p, 4, &err), ACCLLM_E_ARG);
    p = params(8, 0);
    assert_int_equal(acc_walk_init(&w, id, 1, -1, &p, 4, &err), ACCLLM_E_ARG);
    assert_int_equal(acc_walk_init(&w, id, 1, 5, &p, 4, &err), ACCLLM_OK);
    acc_walk_free(&w);
}

static void log_of_a_sum(void **state)
{
    (void)state;
    const float x[7] = {1000, 999, 998.5f, -200, 1000, 0, 997};
    double want = 1000 + log(2 + exp(-1) + exp(-1.5) + exp(-3));
    assert_true(fabs(acc_log_sum_exp(x, 7) - want) < 1e-9);
    assert_true(fabs(acc_log_sum_exp(x, 1) - 1000) < 1e-12);
    const float far[3] = {0, -INFINITY, -1e30f};
    assert_true(acc_log_sum_exp(far, 3) == 0);
}

/* Logits of n tokens, from -40 to 40 but a few far below. */
static void fill_logits(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * (80.0f / (1 << 24)) - 40;
        if (seed % 97 == 0) x[i] = -3000;
    }
}

static double plain_log_sum(const float *x, size_t n)
{
    double max = x[0], sum = 0;
    for (size_t i = 1; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

static double plain_divergence(const float *p, const float *q, size_t n)
{
    const double log_p = plain_log_sum(p, n), log_q = plain_log_sum(q, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp(p[i] - log_p) * (p[i] - log_p - (q[i] - log_q));
    return sum;
}

static void rows_of_logits(void **state)
{
    (void)state;
    enum { VOCAB = 1000, ROWS = 5 };
    static float x[ROWS * VOCAB];
    double out[ROWS];
    acc_pool *pool;
    accllm_error err;
    fill_logits(x, ROWS * VOCAB, 1);
    assert_int_equal(acc_pool_create(&pool, 3, &err), ACCLLM_OK);
    acc_log_sum_exp_rows(pool, x, ROWS, VOCAB, out);
    acc_log_sum_exp_rows(pool, NULL, 0, VOCAB, NULL);
    acc_pool_free(&pool);
    for (uint32_t i = 0; i < ROWS; i++) {
        assert_true(out[i] == acc_log_sum_exp(x + i * VOCAB, VOCAB));
        assert_true(fabs(out[i] - plain_log_sum(x + i * VOCAB, VOCAB)) < 1e-12);
    }
}

static void divergences(void **state)
{
    (void)state;
    static float p[1000], q[1000];
    for (uint32_t n = 1; n <= 1000; n += 111) {
        fill_logits(p, n, n);
        fill_logits(q, n, n + 1);
        const double want = plain_divergence(p, q, n);
        assert_true(fabs(acc_divergence(p, q, n) - want) <= 1e-12 * (1 + want));
        assert_true(fabs(acc_divergence(p, p, n)) < 1e-13);
        p[n / 2] = NAN;
        assert_true(isnan(acc_divergence(p, q, n)) && isnan(acc_log_sum_exp(p, n)));
        assert_true(isnan(acc_divergence(q, p, n)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(back_to_back_windows),
        cmocka_unit_test(overlapping_windows),
        cmocka_unit_test(a_stream_is_one_window),
        cmocka_unit_test(only_whole_windows),
        cmocka_unit_test(senseless_walks_are_refused),
        cmocka_unit_test(log_of_a_sum),
        cmocka_unit_test(rows_of_logits),
        cmocka_unit_test(divergences),
    };
    return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}
