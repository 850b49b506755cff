/*
 * The device model executes images to the quantised engine's bits: every format, shape and cache geometry, any number
 * of memory channels, whatever the order in which ready queues are served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "accel/rig.h"
#include "support/shapes.h"

#define MAX_TOKENS 400

static int32_t ids[MAX_TOKENS];

static void check(const char *path, run_options o, uint32_t channels, uint64_t seed, uint32_t n)
{
    float *expected = calloc(2 * 65536, sizeof *expected), *got = expected + 65536;
    assert_non_null(expected);
    o.threads = 2;
    o.chunk = 64;
    const uint64_t want = run_model(path, &o, ids, n, expected);
    const uint64_t have = accel_run(path, &o, channels, seed, ids, n, got);
    if (want != have)
        fail_msg("C %u, seed %llu, S %u, W %u, KV%u, near %u, depth %llu: hash %016llx, not %016llx", channels,
                 (unsigned long long)seed, o.sinks, o.window, o.bits, o.near, (unsigned long long)o.depth,
                 (unsigned long long)have, (unsigned long long)want);
    assert_memory_equal(expected, got, 65536 * sizeof *got);
    free(expected);
}

static void every_shape_and_format(void **state)
{
    (void)state;
    static const struct {
        uint32_t channels, group, l1, l2;
    } more[N_SHAPES] = {{1, 0, 1, 2}, {2, 0, 1, 2},  {4, 64, 2, 5}, {3, 0, 1, 2}, {2, 32, 1, 3},
                        {4, 0, 1, 3}, {32, 0, 1, 2}, {1, 0, 1, 2},  {1, 0, 1, 2}};
    for (uint32_t i = 0; i < N_SHAPES; i++) {
        tiny_options t;
        pack_options p;
        shape_options(i, &t, &p);
        t.n_layers = 2 + i % 2;
        p.group = more[i].group;
        p.level1 = more[i].l1;
        p.level2 = more[i].l2;
        char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
        check(path, (run_options){.sinks = 3, .window = 50, .near = 8 * i, .bits = i % 3 ? 4 : 8}, more[i].channels, i,
              90);
        drop_model(path);
    }
}

/* Several MM where one would do. */
static void mixed_formats(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    for (uint32_t i = 0; i < N_MIXES; i++) {
        const pack_options p = mixed_options(i);
        char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
        for (uint32_t channels = 1; channels <= 4; channels++)
            check(path, (run_options){.sinks = 4, .window = 30, .near = 5, .bits = 4}, channels, channels, 60);
        drop_model(path);
    }
}

static void every_sink_and_window(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W2S);
    p.k_mean = true;
    p.q_direction = true;
    char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
    static const struct {
        uint32_t sinks, window, near, n, channels;
    } cases[] = {{0, 1, 0, 40, 1},    {0, 15, 1, 60, 2},    {0, 16, 64, 60, 4},  {1, 17, 5, 80, 1},
                 {5, 1, 1, 40, 8},    {5, 16, 16, 150, 2},  {5, 150, 7, 60, 4},  {5, 150, 64, 160, 1},
                 {40, 40, 17, 90, 4}, {300, 5, 256, 20, 2}, {700, 17, 0, 60, 1}, {300, 40, 17, 340, 2}};
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t bits = 4; bits <= 8; bits += 4)
            check(
                path,
                (run_options){.sinks = cases[i].sinks, .window = cases[i].window, .near = cases[i].near, .bits = bits},
                cases[i].channels, i, cases[i].n);
    drop_model(path);
}

static void deep_positions(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W8);
    p.k_mean = true;
    p.q_direction = true;
    char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
    check(path, (run_options){.sinks = 4, .window = 300, .near = 64, .bits = 4, .depth = 4096 - 20}, 1, 1, 40);
    check(path, (run_options){.sinks = 4, .window = 600, .bits = 8, .depth = 4096 - 20}, 4, 2, 30);
    check(path, (run_options){.sinks = 4, .window = 300, .near = 64, .bits = 4, .depth = 1000000}, 4, 3, 20);
    check(path, (run_options){.sinks = 4, .window = 100, .near = 256, .bits = 4, .depth = (1ull << 32) - 20}, 2, 4, 40);
    check(path, (run_options){.sinks = 4, .window = 100, .near = 33, .bits = 4, .depth = UINT64_MAX - 60}, 1, 5, 40);
    check(path, (run_options){.sinks = 4, .window = 4200, .bits = 4, .depth = 8300}, 2, 6, 5);
    drop_model(path);
}

/* A hazard that the semaphores leave open would show for some order of the queues. */
static void any_order_of_ready_queues(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    t.n_layers = 4;
    pack_options p = pack_defaults(ACC_FMT_W2S);
    char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
    for (uint64_t seed = 0; seed < 12; seed++)
        check(path, (run_options){.sinks = 2, .window = 20, .near = 8, .bits = 4}, 2, seed, 12);
    drop_model(path);
}

static void going_back(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W4);
    char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
    accllm_runtime *rt;
    acc_packed *m;
    void *self;
    const acc_session_ops *ops;
    static float logits[2][300];
    const accllm_session_params sp = {
        .struct_size = sizeof sp, .sinks = 4, .window = 40, .kv_bits = 4, .kv_near = 20, .full_attention = false};
    assert_int_equal(accllm_runtime_create(&rt, NULL, NULL), ACCLLM_OK);
    assert_int_equal(acc_packed_open(&m, path, true, true, NULL), ACCLLM_OK);
    assert_int_equal(acc_accel_session_create(&self, &ops, m, rt, &sp, 2, acc_accel_open_model, NULL), ACCLLM_OK);
    assert_int_equal(ops->step(self, ids, 150, 1, logits[0], NULL), ACCLLM_OK);
    assert_true(ops->rewind(self, 149));
    assert_int_equal(ops->step(self, ids + 149, 1, 1, logits[1], NULL), ACCLLM_OK);
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    assert_false(ops->rewind(self, 90));
    uint64_t farthest = 149;
    while (farthest > 90 && ops->rewind(self, farthest - 1)) farthest--;
    assert_true(farthest < 149 && farthest > 90);
    assert_int_equal(ops->step(self, ids + farthest, 2, 1, logits[1], NULL), ACCLLM_OK);
    assert_false(ops->rewind(self, farthest - 1)); /* what was taken back stands where it would be seen */
    assert_true(ops->rewind(self, 0));
    assert_int_equal(ops->step(self, ids, 150, 1, logits[1], NULL), ACCLLM_OK);
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    ops->free(self);
    acc_packed_free(&m);
    accllm_runtime_free(&rt);
    drop_model(path);
}

/* What is not finite ends the run with the instruction's name; the session then wants a reset. */
static void infinities_are_errors(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W4);
    char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
    static float gain[128], logits[300];
    accllm_runtime *rt;
    acc_packed *m;
    accllm_error err;
    void *self;
    const acc_session_ops *ops;
    const accllm_session_params sp = {.struct_size = sizeof sp, .sinks = 4, .window = 40, .kv_bits = 4, .kv_near = 20};
    for (uint32_t i = 0; i < 128; i++) gain[i] = 3e38f;
    assert_int_equal(accllm_runtime_create(&rt, NULL, NULL), ACCLLM_OK);
    for (int head = 0; head < 2; head++) {
        assert_int_equal(acc_packed_open(&m, path, true, true, NULL), ACCLLM_OK);
        *(head ? &m->output_norm : &m->layers[1].ffn_norm) = gain;
        assert_int_equal(acc_accel_session_create(&self, &ops, m, rt, &sp, 1, acc_accel_open_model, NULL), ACCLLM_OK);
        assert_int_equal(ops->step(self, ids, 3, 1, logits, &err), ACCLLM_E_NUMERIC);
        assert_non_null(strstr(err.text, head ? "round 0" : "round 1"));
        assert_non_null(strstr(err.text, "VEC op=0"));
        assert_int_equal(ops->step(self, ids, 1, 0, NULL, &err), ACCLLM_E_ARG);
        ops->reset(self);
        assert_true(ops->position(self) == 0);
        ops->free(self);
        acc_packed_free(&m);
    }
    accllm_runtime_free(&rt);
    drop_model(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_and_format),    cmocka_unit_test(mixed_formats),
        cmocka_unit_test(every_sink_and_window),     cmocka_unit_test(deep_positions),
        cmocka_unit_test(any_order_of_ready_queues), cmocka_unit_test(going_back),
        cmocka_unit_test(infinities_are_errors),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
