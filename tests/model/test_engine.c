/* The public model and session calls: engines, defaults, chunking, what a model says about itself. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/engine.h"
#include "support/pack.h"

static accllm_runtime *rt;
static char *packed, *source;

static int setup(void **state)
{
    (void)state;
    accllm_runtime_params p;
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W4);
    accllm_runtime_params_init(&p);
    p.n_threads = 2;
    packed = tiny_path("engine-packed.gguf");
    source = tiny_path("engine-source.gguf");
    return !packed || !source || accllm_runtime_create(&rt, &p, NULL) != ACCLLM_OK ||
           tiny_write(source, &t, NULL) != ACCLLM_OK || pack_tiny(packed, &t, &o, NULL) != ACCLLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    accllm_runtime_free(&rt);
    int bad = unlink(packed) | unlink(source);
    free(packed);
    free(source);
    return bad;
}

static accllm_model *open_as(const char *path, accllm_numerics numerics, bool use_mmap)
{
    accllm_model *m;
    accllm_model_params p;
    accllm_error err;
    accllm_model_params_init(&p);
    p.numerics = numerics;
    p.use_mmap = use_mmap;
    if (accllm_model_open(&m, rt, path, &p, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return m;
}

static void runtimes_refuse_what_is_missing(void **state)
{
    (void)state;
    accllm_runtime_params p;
    accllm_runtime *r;
    accllm_error err;
    accllm_runtime_params_init(&p);
    p.isa = "mmx";
    assert_int_equal(accllm_runtime_create(&r, &p, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "scalar"));
    p.isa = "scalar";
    assert_int_equal(accllm_runtime_create(&r, &p, &err), ACCLLM_OK);
    assert_string_equal(accllm_runtime_isa(r), "scalar");
    assert_true(accllm_runtime_threads(r) >= 1);
    accllm_runtime_free(&r);
    accllm_runtime_free(&r);
    p.struct_size = 3;
    assert_int_equal(accllm_runtime_create(&r, &p, &err), ACCLLM_E_ARG);
}

static void what_is_not_given_is_refused(void **state)
{
    (void)state;
    accllm_model *m, *open = open_as(packed, ACCLLM_NUMERICS_AUTO, true);
    accllm_session *s;
    accllm_error err;
    const float *logits;
    assert_int_equal(accllm_model_open(&m, NULL, packed, NULL, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_model_open(&m, rt, NULL, NULL, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_model_random(&m, rt, NULL, "w4", "w8", &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_model_random(&m, rt, "smollm2-135m", NULL, "w8", &err), ACCLLM_E_ARG);
    assert_null(m);
    assert_int_equal(accllm_session_create(&s, NULL, NULL, &err), ACCLLM_E_ARG);
    assert_null(s);
    assert_int_equal(accllm_session_create(&s, open, NULL, &err), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(s, NULL, 1, 1, &logits, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_session_eval(s, (const int32_t[]){1}, 1, 1, NULL, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_session_eval(s, (const int32_t[]){1}, 1, 1, &logits, &err), ACCLLM_OK);
    accllm_session_free(&s);
    accllm_model_free(&open);
}

static void the_engine_follows_file_and_wish(void **state)
{
    (void)state;
    accllm_error err;
    accllm_model *m = open_as(packed, ACCLLM_NUMERICS_AUTO, true);
    const accllm_model_info *info = accllm_model_get_info(m);
    assert_true(info->packed && info->numerics == ACCLLM_NUMERICS_CONTRACT);
    assert_int_equal(info->n_layers, 2);
    assert_int_equal(info->head_dim, 32);
    assert_int_equal(info->default_window, 128);
    assert_int_equal(info->default_kv_bits, 4);
    assert_true(info->n_linear_params == 2 * (128 * 128 * 2 + 64 * 128 * 2 + 3 * 100 * 128));
    assert_true(info->bits_per_weight > 4 && info->bits_per_weight < 8);
    assert_true(info->file_bytes > info->linear_bytes + info->head_bytes);
    assert_non_null(accllm_model_tokenizer(m));
    accllm_model_free(&m);

    m = open_as(packed, ACCLLM_NUMERICS_FLOAT, true);
    info = accllm_model_get_info(m);
    assert_true(info->packed && info->numerics == ACCLLM_NUMERICS_FLOAT && info->default_kv_bits == 32);
    accllm_model_free(&m);

    m = open_as(source, ACCLLM_NUMERICS_AUTO, true);
    info = accllm_model_get_info(m);
    assert_true(!info->packed && info->numerics == ACCLLM_NUMERICS_FLOAT);
    assert_true(info->bits_per_weight == 32 && info->n_ctx_train == 512);
    assert_int_equal(info->default_window, 508);
    accllm_model_free(&m);

    accllm_model_params p;
    accllm_model_params_init(&p);
    p.numerics = ACCLLM_NUMERICS_CONTRACT;
    assert_int_equal(accllm_model_open(&m, rt, source, &p, &err), ACCLLM_E_UNSUPPORTED);
    assert_null(m);
    assert_int_equal(accllm_model_open(&m, rt, "/nonexistent/model.gguf", NULL, &err), ACCLLM_E_IO);
    assert_int_equal(accllm_model_random(&m, rt, "no-such-shape", "w4", "w8", &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_model_random(&m, rt, "smollm2-135m", "w5", "w8", &err), ACCLLM_E_ARG);
}

static void logits_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    int32_t ids[60];
    for (int i = 0; i < 60; i++) ids[i] = (i * 37) % 300;
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        accllm_model *m = open_as(packed, ACCLLM_NUMERICS_AUTO, use_mmap);
        accllm_session_params p;
        accllm_session *a, *b;
        const float *la, *lb;
        accllm_session_params_init(&p);
        p.max_logits = 60;
        p.chunk = 7;
        p.trace = true;
        assert_int_equal(accllm_session_create(&a, m, &p, NULL), ACCLLM_OK);
        p.chunk = 0;
        assert_int_equal(accllm_session_create(&b, m, &p, NULL), ACCLLM_OK);
        assert_int_equal(accllm_session_eval(a, ids, 60, 23, &la, NULL), ACCLLM_OK);
        assert_int_equal(accllm_session_eval(b, ids, 60, 23, &lb, NULL), ACCLLM_OK);
        assert_memory_equal(la, lb, 23 * 300 * sizeof *la);
        assert_true(accllm_session_trace_hash(a) == accllm_session_trace_hash(b));
        assert_true(accllm_session_position(a) == 60 && accllm_session_kv_bytes_per_token(a) > 0);
        accllm_session_free(&a);
        accllm_session_free(&b);
        accllm_model_free(&m);
    }
}

static void session_parameters_are_resolved_and_checked(void **state)
{
    (void)state;
    accllm_model *m = open_as(packed, ACCLLM_NUMERICS_AUTO, true);
    accllm_session_params p;
    accllm_session *s;
    accllm_error err;
    const float *logits;
    int32_t id = 5;
    assert_int_equal(accllm_session_create(&s, m, NULL, &err), ACCLLM_OK);
    assert_int_equal(accllm_session_sinks(s), 4);
    assert_int_equal(accllm_session_window(s), 128);
    assert_int_equal(accllm_session_kv_bits(s), 4);
    assert_int_equal(accllm_session_eval(s, &id, 0, 0, NULL, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_session_eval(s, &id, 1, 2, &logits, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_session_eval(s, (const int32_t[]){1, 2}, 2, 2, &logits, &err), ACCLLM_E_ARG); /* room: 1 */
    assert_int_equal(accllm_session_eval(s, &id, 1, 1, NULL, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_session_eval(s, &id, 1, 1, &logits, &err), ACCLLM_OK);
    assert_true(accllm_session_trace_hash(s) == 0);
    accllm_session_free(&s);
    const uint32_t sinks[] = {0, 384, 385, 511}, window[] = {128, 128, 127, 1}; /* of a trained context of 512 */
    for (size_t i = 0; i < 4; i++) {
        accllm_session_params_init(&p);
        p.sinks = sinks[i];
        assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_OK);
        assert_int_equal(accllm_session_window(s), window[i]);
        accllm_session_free(&s);
    }
    p.sinks = 512;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_E_LIMIT);
    accllm_session_params_init(&p);
    p.window = 510;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_E_LIMIT);
    assert_null(s);
    p.force = true;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_OK);
    accllm_session_free(&s);
    accllm_session_params_init(&p);
    p.full_attention = true;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_OK);
    assert_int_equal(accllm_session_window(s), 512);
    assert_int_equal(accllm_session_fill(s, 513, &err), ACCLLM_E_LIMIT);
    assert_int_equal(accllm_session_fill(s, 512, &err), ACCLLM_OK); /* it was left in order */
    accllm_session_free(&s);
    p.n_ctx = 513;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_E_LIMIT);
    accllm_session_params_init(&p);
    p.kv_bits = 5;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_E_ARG);
    accllm_session_params_init(&p);
    p.chunk = UINT32_MAX;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_E_ARG);
    accllm_session_params_init(&p);
    p.max_logits = UINT32_MAX;
    p.chunk = 1;
    accllm_status status = accllm_session_create(&s, m, &p, &err); /* 5 TB: refused, or never touched */
    assert_true(status == ACCLLM_E_NOMEM || status == ACCLLM_OK);
    accllm_session_free(&s);
    accllm_session_params_init(&p);
    p.sinks = 100000;
    p.force = true;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_E_ARG);
    p.struct_size = 0;
    assert_int_equal(accllm_session_create(&s, m, &p, &err), ACCLLM_E_ARG);
    accllm_model_free(&m);
}

/* The float reference over the same file agrees with the contract as far as 8-bit activations allow. */
static void the_contract_is_near_the_float_reference(void **state)
{
    (void)state;
    int32_t ids[100];
    for (int i = 0; i < 100; i++) ids[i] = (i * 53 + i / 7) % 300;
    float *rows[2];
    for (int k = 0; k < 2; k++) {
        accllm_model *m = open_as(packed, k ? ACCLLM_NUMERICS_FLOAT : ACCLLM_NUMERICS_CONTRACT, true);
        accllm_session_params p;
        accllm_session *s;
        const float *logits;
        accllm_session_params_init(&p);
        p.max_logits = 100;
        p.window = 40;
        if (!k) p.kv_bits = 8;
        assert_int_equal(accllm_session_create(&s, m, &p, NULL), ACCLLM_OK);
        assert_int_equal(accllm_session_eval(s, ids, 100, 100, &logits, NULL), ACCLLM_OK);
        rows[k] = malloc(100 * 300 * sizeof **rows);
        assert_non_null(rows[k]);
        memcpy(rows[k], logits, 100 * 300 * sizeof **rows);
        accllm_session_free(&s);
        accllm_model_free(&m);
    }
    double error = 0, power = 0;
    for (int i = 0; i < 100 * 300; i++) {
        error += (double)(rows[0][i] - rows[1][i]) * (double)(rows[0][i] - rows[1][i]);
        power += (double)rows[1][i] * (double)rows[1][i];
    }
    print_message("squared error over power: %g\n", error / power);
    assert_true(error / power < 3e-3);
    free(rows[0]);
    free(rows[1]);
}

typedef struct timeline {
    accllm_session *s;
    uint64_t hash;
    accllm_status status;
} timeline;

static void *live(void *arg)
{
    timeline *t = arg;
    const float *logits;
    for (int32_t i = 0; i < 200 && t->status == ACCLLM_OK; i++) {
        int32_t ids[3] = {i, i + 1, i + 2};
        t->status = accllm_session_eval(t->s, ids, i % 2 ? 1 : 3, 1, &logits, NULL);
    }
    t->hash = accllm_session_trace_hash(t->s);
    return NULL;
}

/* One model, one runtime, a session per thread: nothing of one shows in the other. */
static void sessions_run_side_by_side(void **state)
{
    (void)state;
    accllm_model *m = open_as(packed, ACCLLM_NUMERICS_AUTO, true);
    accllm_session_params p;
    timeline t[3] = {0};
    pthread_t threads[3];
    accllm_session_params_init(&p);
    p.trace = true;
    for (int i = 0; i < 3; i++) assert_int_equal(accllm_session_create(&t[i].s, m, &p, NULL), ACCLLM_OK);
    (void)live(&t[0]);
    for (int i = 1; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, live, &t[i]), 0);
    for (int i = 1; i < 3; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(t[i].status, ACCLLM_OK);
        assert_true(t[i].hash == t[0].hash);
        accllm_session_free(&t[i].s);
    }
    accllm_model_free(&m);
}

/* Reads n tokens, goes back to keep, reads other tokens; a second session never saw those in between. */
static void check_rewind(const char *path, accllm_session_params *p, uint32_t n, uint32_t keep, bool possible)
{
    int32_t ids[200], other[30];
    accllm_session *a, *b;
    accllm_error err;
    const float *la, *lb;
    for (int i = 0; i < 200; i++) ids[i] = (i * 41 + 5) % 300;
    for (int i = 0; i < 30; i++) other[i] = (i * 29 + 100) % 300;
    accllm_model *m = open_as(path, ACCLLM_NUMERICS_AUTO, true);
    p->max_logits = 30;
    assert_int_equal(accllm_session_create(&a, m, p, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_create(&b, m, p, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(a, ids, n, 0, NULL, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_rewind(a, n + 1, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_session_rewind(a, keep, &err), possible ? ACCLLM_OK : ACCLLM_E_LIMIT);
    assert_true(accllm_session_position(a) == (possible ? keep : n));
    if (!possible) keep = n;
    if (keep) assert_int_equal(accllm_session_eval(b, ids, keep, 0, NULL, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(a, other, 30, 30, &la, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(b, other, 30, 30, &lb, NULL), ACCLLM_OK);
    /* the reference's sums depend on how the tokens were cut into calls */
    const float near = accllm_model_get_info(m)->numerics == ACCLLM_NUMERICS_FLOAT ? 1e-4f : 0;
    for (int i = 0; i < 30 * 300; i++) assert_true(fabsf(la[i] - lb[i]) <= near);
    accllm_session_free(&a);
    accllm_session_free(&b);
    accllm_model_free(&m);
}

static void going_back_leaves_no_trace(void **state)
{
    (void)state;
    const uint32_t keeps[] = {0, 1, 3, 4, 5, 64, 99, 100};
    for (int k = 0; k < 2; k++)
        for (int full = 0; full < 2; full++)
            for (size_t i = 0; i < sizeof keeps / sizeof *keeps; i++) {
                accllm_session_params p;
                accllm_session_params_init(&p);
                p.full_attention = full;
                check_rewind(k ? source : packed, &p, 100, keeps[i], true);
                if (full) continue;
                p.window = 16; /* two pages, of 64 positions, and the chunk stay; 16 and the chunk of the reference */
                p.chunk = 16;
                bool possible = keeps[i] <= 5 - 1 || keeps[i] >= (k ? 184 : 128);
                check_rewind(k ? source : packed, &p, 200, keeps[i], possible);
            }
    accllm_session_params p;
    accllm_session_params_init(&p);
    p.window = 16;
    p.chunk = 16;
    check_rewind(source, &p, 200, 184, true);
    check_rewind(source, &p, 200, 182, false);
    check_rewind(packed, &p, 200, 143, true);
    check_rewind(packed, &p, 200, 142, false);
    p.window = 100; /* the ring would go back to 163, but 96 positions stay at 8 bits, and 64 of them are seen */
    check_rewind(packed, &p, 200, 175, true);
    check_rewind(packed, &p, 200, 174, false);
    p.kv_near = 0;
    check_rewind(packed, &p, 200, 163, true);
}

/* What was overwritten by tokens that were taken back stays overwritten: going back twice is not going back farther. */
static void going_back_twice_loses_no_more(void **state)
{
    (void)state;
    int32_t ids[200];
    for (int i = 0; i < 200; i++) ids[i] = (i * 41 + 5) % 300;
    for (int k = 0; k < 2; k++)
        for (int near = 0; near < 2; near++) {
            accllm_model *m = open_as(k ? source : packed, ACCLLM_NUMERICS_AUTO, true);
            accllm_session_params p;
            accllm_session *s;
            accllm_error err;
            const uint32_t farthest = k ? 183 : near ? 175 : 163;
            accllm_session_params_init(&p);
            p.window = k ? 16 : 100;
            p.chunk = 16;
            p.kv_near = near ? 64 : 0;
            assert_int_equal(accllm_session_create(&s, m, &p, NULL), ACCLLM_OK);
            assert_int_equal(accllm_session_eval(s, ids, 200, 0, NULL, NULL), ACCLLM_OK);
            assert_int_equal(accllm_session_rewind(s, farthest + 5, &err), ACCLLM_OK);
            assert_int_equal(accllm_session_rewind(s, farthest - 1, &err), ACCLLM_E_LIMIT);
            assert_int_equal(accllm_session_eval(s, ids, 3, 0, NULL, NULL), ACCLLM_OK);
            assert_int_equal(accllm_session_rewind(s, farthest - 1, &err), ACCLLM_E_LIMIT);
            assert_int_equal(accllm_session_rewind(s, farthest, &err), ACCLLM_OK);
            assert_int_equal(accllm_session_rewind(s, 4, &err), ACCLLM_OK); /* the sinks alone: all begins anew */
            assert_int_equal(accllm_session_eval(s, ids, 30, 0, NULL, NULL), ACCLLM_OK);
            assert_int_equal(accllm_session_rewind(s, 20, &err), ACCLLM_OK);
            accllm_session_free(&s);
            accllm_model_free(&m);
        }
}

static void a_trace_cannot_go_back(void **state)
{
    (void)state;
    accllm_model *m = open_as(packed, ACCLLM_NUMERICS_AUTO, true);
    accllm_session_params p;
    accllm_session *s;
    int32_t id = 3;
    accllm_session_params_init(&p);
    p.trace = true;
    assert_int_equal(accllm_session_create(&s, m, &p, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(s, &id, 1, 0, NULL, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_rewind(s, 0, NULL), ACCLLM_E_ARG);
    accllm_session_free(&s);
    accllm_model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runtimes_refuse_what_is_missing),
        cmocka_unit_test(what_is_not_given_is_refused),
        cmocka_unit_test(the_engine_follows_file_and_wish),
        cmocka_unit_test(logits_do_not_depend_on_the_cut),
        cmocka_unit_test(session_parameters_are_resolved_and_checked),
        cmocka_unit_test(going_back_leaves_no_trace),
        cmocka_unit_test(going_back_twice_loses_no_more),
        cmocka_unit_test(a_trace_cannot_go_back),
        cmocka_unit_test(sessions_run_side_by_side),
        cmocka_unit_test(the_contract_is_near_the_float_reference),
    };
    return cmocka_run_group_tests_name("engine", tests, setup, teardown);
}
