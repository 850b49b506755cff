/*
 * The quantised engine: the same bits as a plain transcription of docs/numerics.md, whatever the kernel set, the number
 * of threads, the chunk size and the other sessions of a batch; and its errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "accllm/engine.h"
#include "core/fpmode.h"
#include "kernels/kernels.h"
#include "model/oracle.h"
#include "model/run.h"
#include "support/shapes.h"

#define MAX_TOKENS 1024

static int32_t ids[MAX_TOKENS];

static uint64_t oracle_run(const char *path, const run_options *o, uint32_t n, float *logits)
{
    acc_packed *m;
    assert_int_equal(acc_packed_open(&m, path, true, true, NULL), ACCLLM_OK);
    oracle *q = oracle_create(m, o->sinks, o->window, o->bits, o->near, o->depth, n);
    for (uint32_t i = 0; i < n; i++) oracle_step(q, ids[i], logits);
    uint64_t hash = oracle_hash(q);
    oracle_free(q);
    acc_packed_free(&m);
    return hash;
}

/* The transcription, then every kernel set, must give one hash. The ways to run take turns, so that over the cases each
 * set meets each of them. */
static uint32_t turn;

static void check_all(const char *path, run_options o, uint32_t n)
{
    static const struct {
        uint32_t threads, chunk, first, company;
    } ways[] = {{1, 1, 0, 0}, {3, 128, 0, 0}, {2, 7, 0, 2}, {1, 64, 0, 0}, {2, 1, 0, 0}, {1, 128, 33, 0}, {3, 1, 0, 4}};
    float expected[512], got[512];
    acc_packed *m;
    assert_int_equal(acc_packed_open(&m, path, true, false, NULL), ACCLLM_OK);
    size_t row = m->hp.n_vocab;
    acc_packed_free(&m);
    assert_true(row <= 512 && n <= MAX_TOKENS);
    uint64_t hash = oracle_run(path, &o, n, expected);
    const char *sets[8];
    acc_kernels_available(sets);
    for (uint32_t k = 0; sets[k]; k++)
        for (uint32_t i = 0; i < (k ? 3 : 1); i++) {
            uint32_t w = turn++ % (sizeof ways / sizeof *ways);
            o.isa = sets[k];
            o.threads = ways[w].threads;
            o.chunk = ways[w].chunk;
            o.first = ways[w].first < n ? ways[w].first : 0;
            o.company = ways[w].company;
            uint64_t h = run_model(path, &o, ids, n, got);
            if (h != hash)
                fail_msg("%s, %u threads, chunk %u, first %u, company %u, S %u, W %u, KV%u, near %u, depth %llu: hash "
                         "%016llx, not "
                         "%016llx",
                         sets[k], o.threads, o.chunk, o.first, o.company, o.sinks, o.window, o.bits, o.near,
                         (unsigned long long)o.depth, (unsigned long long)h, (unsigned long long)hash);
            assert_memory_equal(got, expected, row * sizeof *got);
        }
}

static void every_sink_and_window(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W4);
    p.k_mean = true;
    p.q_direction = true;
    char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
    static const struct {
        uint32_t sinks, window, near, n;
    } cases[] = {{0, 1, 0, 40},      {0, 15, 1, 60},    {0, 16, 64, 60},  {1, 17, 5, 80},
                 {5, 1, 1, 40},      {5, 16, 16, 150},  {5, 150, 7, 60},  {5, 150, 64, 160},
                 {300, 40, 17, 340}, {300, 5, 256, 20}, {700, 17, 0, 730}};
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t bits = 4; bits <= 8; bits += 4) {
            const run_options o = {
                .sinks = cases[i].sinks, .window = cases[i].window, .near = cases[i].near, .bits = bits};
            check_all(path, o, cases[i].n);
        }
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
    check_all(path, (run_options){.sinks = 4, .window = 300, .near = 64, .bits = 4, .depth = 4096 - 20}, 60);
    check_all(path, (run_options){.sinks = 4, .window = 600, .bits = 8, .depth = 4096 - 20}, 40);
    check_all(path, (run_options){.sinks = 4, .window = 100, .near = 256, .bits = 4, .depth = (1ull << 32) - 20}, 60);
    check_all(path, (run_options){.sinks = 4, .window = 100, .near = 33, .bits = 4, .depth = UINT64_MAX - 60}, 60);
    check_all(path, (run_options){.sinks = 4, .window = 4200, .bits = 4, .depth = 8300}, 10);
    drop_model(path);
}

static void every_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_SHAPES; i++) {
        tiny_options t;
        pack_options p;
        shape_options(i, &t, &p);
        char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
        check_all(path, (run_options){.sinks = 3, .window = 50, .near = 8 * i, .bits = i % 3 ? 4 : 8}, 90);
        drop_model(path);
    }
}

static void mixed_formats(void **state)
{
    (void)state;
    tiny_options t = tiny_defaults();
    for (uint32_t i = 0; i < N_MIXES; i++) {
        const pack_options p = mixed_options(i);
        char *path = tiny_model(&t, &p, ids, MAX_TOKENS);
        check_all(path, (run_options){.sinks = 3, .window = 50, .near = 5, .bits = 4}, 90);
        drop_model(path);
    }
}

/* A session over a tiny model, for tests that look at single calls. */
typedef struct rig {
    char *path;
    accllm_runtime *rt;
    acc_packed *m;
    void *self;
    const acc_session_ops *ops;
    float logits[300 * 8];
} rig;

static void rig_model(rig *r)
{
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W4);
    r->path = tiny_model(&t, &p, ids, MAX_TOKENS);
}

static void rig_open(rig *r, accllm_session_params sp)
{
    accllm_runtime_params rp;
    accllm_runtime_params_init(&rp);
    rp.n_threads = 2;
    assert_int_equal(accllm_runtime_create(&r->rt, &rp, NULL), ACCLLM_OK);
    assert_int_equal(acc_packed_open(&r->m, r->path, true, true, NULL), ACCLLM_OK);
    assert_int_equal(acc_model_prepare(r->m, r->rt, NULL), ACCLLM_OK);
    assert_int_equal(acc_quant_session_create(&r->self, &r->ops, r->m, r->rt, &sp, NULL), ACCLLM_OK);
}

static void rig_start(rig *r, accllm_session_params sp)
{
    rig_model(r);
    rig_open(r, sp);
}

static void rig_stop(rig *r)
{
    r->ops->free(r->self);
    acc_model_release(r->m);
    acc_packed_free(&r->m);
    accllm_runtime_free(&r->rt);
    drop_model(r->path);
}

static const accllm_session_params small = {
    .struct_size = sizeof small, .sinks = 4, .window = 40, .kv_bits = 4, .kv_near = 20, .chunk = 8, .trace = true};

static void bad_calls_are_refused(void **state)
{
    (void)state;
    rig r;
    accllm_error err;
    rig_start(&r, small);
    int32_t bad[] = {1, 300};
    assert_int_equal(r.ops->step(r.self, bad, 2, 0, NULL, &err), ACCLLM_E_ARG);
    bad[0] = -1;
    assert_int_equal(r.ops->step(r.self, bad, 1, 0, NULL, &err), ACCLLM_E_ARG);
    assert_int_equal(r.ops->step(r.self, ids, 9, 0, NULL, &err), ACCLLM_E_ARG);
    assert_int_equal(r.ops->step(r.self, ids, 2, 3, r.logits, &err), ACCLLM_E_ARG);
    assert_true(r.ops->position(r.self) == 0);
    assert_int_equal(r.ops->step(r.self, ids, 8, 8, r.logits, &err), ACCLLM_OK);
    assert_int_equal(r.ops->fill(r.self, UINT64_MAX, &err), ACCLLM_OK);
    assert_int_equal(r.ops->step(r.self, ids, 2, 0, NULL, &err), ACCLLM_E_LIMIT);
    rig_stop(&r);
}

static void full_attention_ends_at_its_context(void **state)
{
    (void)state;
    rig r;
    accllm_error err;
    accllm_session_params sp = small;
    sp.full_attention = true;
    sp.n_ctx = 20;
    rig_start(&r, sp);
    assert_int_equal(r.ops->step(r.self, ids, 8, 0, NULL, &err), ACCLLM_OK);
    assert_int_equal(r.ops->step(r.self, ids, 8, 0, NULL, &err), ACCLLM_OK);
    assert_int_equal(r.ops->step(r.self, ids, 8, 0, NULL, &err), ACCLLM_E_LIMIT);
    assert_true(r.ops->position(r.self) == 16);
    assert_int_equal(r.ops->step(r.self, ids, 4, 0, NULL, &err), ACCLLM_OK);
    assert_int_equal(r.ops->fill(r.self, 21, &err), ACCLLM_E_LIMIT);
    rig_stop(&r);
}

/* With a window as long as the text, Λ and full attention are one thing. */
static void a_wide_window_is_full_attention(void **state)
{
    (void)state;
    uint64_t hash[2];
    for (int full = 0; full < 2; full++) {
        rig r;
        accllm_session_params sp = small;
        sp.full_attention = full;
        sp.n_ctx = sp.window = 100;
        rig_start(&r, sp);
        for (uint32_t i = 0; i < 96; i += 8)
            assert_int_equal(r.ops->step(r.self, ids + i, 8, 8, r.logits, NULL), ACCLLM_OK);
        hash[full] = r.ops->trace_hash(r.self);
        rig_stop(&r);
    }
    assert_true(hash[0] == hash[1]);
}

static void reset_starts_anew(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, small);
    uint64_t empty = r.ops->trace_hash(r.self), first;
    assert_int_equal(r.ops->step(r.self, ids, 8, 8, r.logits, NULL), ACCLLM_OK);
    first = r.ops->trace_hash(r.self);
    assert_true(first != empty);
    for (uint32_t i = 8; i < 400; i += 8)
        assert_int_equal(r.ops->step(r.self, ids + i, 8, 8, r.logits, NULL), ACCLLM_OK);
    assert_true(r.ops->trace_hash(r.self) != first);
    r.ops->reset(r.self);
    assert_true(r.ops->trace_hash(r.self) == empty);
    assert_int_equal(r.ops->step(r.self, ids, 8, 8, r.logits, NULL), ACCLLM_OK);
    assert_true(r.ops->trace_hash(r.self) == first);
    rig_stop(&r);
}

/* A step that is cancelled leaves nothing behind: the session goes on as if it had not been. */
static void cancelling_stops_where_the_step_began(void **state)
{
    (void)state;
    rig r;
    accllm_error err;
    uint64_t hash[2];
    for (int cancel = 0; cancel < 2; cancel++) {
        rig_start(&r, small);
        for (uint32_t i = 0; i < 80; i += 8) {
            if (cancel) accllm_runtime_abort(r.rt);
            if (cancel) assert_int_equal(r.ops->step(r.self, ids + i + 3, 7, 0, NULL, &err), ACCLLM_E_CANCELLED);
            if (cancel) accllm_runtime_clear_abort(r.rt);
            assert_true(r.ops->position(r.self) == i);
            assert_int_equal(r.ops->step(r.self, ids + i, 8, 8, r.logits, &err), ACCLLM_OK);
        }
        hash[cancel] = r.ops->trace_hash(r.self);
        rig_stop(&r);
    }
    assert_true(hash[0] == hash[1]);
}

/* What is not finite is an error that names the layer, in prefill and decode. */
static void infinities_name_their_layer(void **state)
{
    (void)state;
    static const float values[] = {3e38f, -3e38f};
    for (uint32_t n = 1; n <= 8; n += 7)
        for (uint32_t v = 0; v < 2; v++) {
            rig r;
            accllm_error err;
            float gain[128];
            rig_start(&r, small);
            for (uint32_t i = 0; i < 128; i++) gain[i] = values[v];
            r.m->layers[1].ffn_norm = gain;
            assert_int_equal(r.ops->step(r.self, ids, n, 1, r.logits, &err), ACCLLM_E_NUMERIC);
            assert_non_null(strstr(err.text, "layer 1"));
            assert_true(r.ops->position(r.self) == 0);
            r.m->layers[1].ffn_norm = r.m->layers[0].ffn_norm;
            assert_int_equal(r.ops->step(r.self, ids, n, 1, r.logits, &err), ACCLLM_OK);
            r.m->output_norm = gain;
            assert_int_equal(r.ops->step(r.self, ids, n, 1, r.logits, &err), ACCLLM_E_NUMERIC);
            assert_non_null(strstr(err.text, "output"));
            rig_stop(&r);
        }
}

/* All-zero keys and values: projections of zero gain. */
static void zero_keys_and_values(void **state)
{
    (void)state;
    rig r;
    float gain[128] = {0}, logits[300];
    rig_start(&r, small);
    r.m->layers[0].attn_norm = gain;
    oracle *q = oracle_create(r.m, 4, 40, 4, 20, 0, 64);
    for (uint32_t i = 0; i < 64; i += 8) {
        assert_int_equal(r.ops->step(r.self, ids + i, 8, 8, r.logits, NULL), ACCLLM_OK);
        for (uint32_t j = 0; j < 8; j++) {
            oracle_step(q, ids[i + j], logits);
            assert_memory_equal(logits, r.logits + j * 300, sizeof logits);
        }
    }
    assert_true(oracle_hash(q) == r.ops->trace_hash(r.self));
    oracle_free(q);
    rig_stop(&r);
}

/* The caller's rounding and flushing modes neither matter nor change. */
static void the_callers_floating_point_mode_is_kept(void **state)
{
    (void)state;
#if defined(__x86_64__)
    const uint64_t odd = 0x1f80 | 0x8040 | 0x6000; /* FTZ, DAZ, towards zero */
#elif defined(__aarch64__)
    const uint64_t odd = 3u << 22 | 1u << 24;
#else
    const uint64_t odd = 0;
#endif
    uint64_t hash[2], before = acc_fp_get();
    for (int i = 0; i < 2; i++) {
        rig r;
        rig_model(&r);
        if (i) acc_fp_set(odd);
        rig_open(&r, small);
        assert_int_equal(r.ops->step(r.self, ids, 8, 8, r.logits, NULL), ACCLLM_OK);
        assert_int_equal(r.ops->step(r.self, ids, 1, 1, r.logits, NULL), ACCLLM_OK);
        hash[i] = r.ops->trace_hash(r.self);
        if (i) assert_true((acc_fp_get() & ~(uint64_t)63) == (odd & ~(uint64_t)63)); /* but for sticky flags */
        acc_fp_set(before);
        rig_stop(&r);
    }
    assert_true(hash[0] == hash[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sink_and_window),
        cmocka_unit_test(deep_positions),
        cmocka_unit_test(every_shape),
        cmocka_unit_test(mixed_formats),
        cmocka_unit_test(bad_calls_are_refused),
        cmocka_unit_test(full_attention_ends_at_its_context),
        cmocka_unit_test(a_wide_window_is_full_attention),
        cmocka_unit_test(reset_starts_anew),
        cmocka_unit_test(cancelling_stops_where_the_step_began),
        cmocka_unit_test(infinities_name_their_layer),
        cmocka_unit_test(zero_keys_and_values),
        cmocka_unit_test(the_callers_floating_point_mode_is_kept),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
