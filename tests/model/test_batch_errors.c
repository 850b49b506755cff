/* What goes wrong in one session of a batch is no other's affair, and is told. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/internal.h"
#include "model/batch_rig.h"

/* A bad item in the middle: it stands still, its neighbours advance, the message names it. */
static void check_bad(accllm_batch *b, accllm_batch_item bad, accllm_session *left, accllm_session *right,
                      accllm_status status, const char *says)
{
    static const int32_t id = 5;
    accllm_error err;
    uint64_t l = accllm_session_position(left), r = accllm_session_position(right);
    accllm_batch_item items[3] = {{.session = left, .ids = &id, .n = 1, .n_logits = 1},
                                  bad,
                                  {.session = right, .ids = &id, .n = 1, .n_logits = 1}};
    assert_int_equal(accllm_batch_step(b, items, 3, &err), status);
    if (!strstr(err.text, says) || !strstr(err.text, "item 1: ")) fail_msg("%s", err.text);
    assert_int_equal(err.code, status);
    expect(&items[0], ACCLLM_OK);
    expect(&items[1], status);
    expect(&items[2], ACCLLM_OK);
    assert_true(accllm_session_position(left) == l + 1 && accllm_session_position(right) == r + 1);
}

static void bad_items_stand_still(void **state)
{
    (void)state;
    rig r;
    accllm_model *other;
    accllm_error err;
    int32_t ids[64] = {0}, wrong[2] = {1, VOCAB};
    rig_open(&r, ACC_FMT_W4, NULL, 2);
    ok(accllm_model_open(&other, r.rt, r.path, NULL, &err), &err);
    accllm_session_params p = plain();
    p.chunk = 8;
    accllm_session *a = make_session(&r, &p), *c = make_session(&r, &p), *s = make_session(&r, &p), *foreign, *full;
    ok(accllm_session_create(&foreign, other, &p, &err), &err);
    p.full_attention = true;
    p.n_ctx = 10;
    full = make_session(&r, &p);
    accllm_batch *b = make_batch(&r, 4, 16, 4);

    check_bad(b, (accllm_batch_item){.session = NULL, .ids = ids, .n = 1}, a, c, ACCLLM_E_ARG, "no session");
    check_bad(b, (accllm_batch_item){.session = s, .n = 1}, a, c, ACCLLM_E_ARG, "no tokens");
    check_bad(b, (accllm_batch_item){.session = foreign, .ids = ids, .n = 1}, a, c, ACCLLM_E_ARG, "another model");
    check_bad(b, (accllm_batch_item){.session = a, .ids = ids, .n = 1}, a, c, ACCLLM_E_ARG, "twice");
    check_bad(b, (accllm_batch_item){.session = s, .ids = wrong, .n = 2}, a, c, ACCLLM_E_ARG, "token 300");
    check_bad(b, (accllm_batch_item){.session = s, .ids = ids, .n = 0}, a, c, ACCLLM_E_ARG, "0 tokens");
    check_bad(b, (accllm_batch_item){.session = s, .ids = ids, .n = 9}, a, c, ACCLLM_E_ARG, "the chunk is 8");
    check_bad(b, (accllm_batch_item){.session = s, .ids = ids, .n = 1, .n_logits = 2}, a, c, ACCLLM_E_ARG, "2 logits");
    check_bad(b, (accllm_batch_item){.session = s, .ids = ids, .n = 8, .n_logits = 4}, a, c, ACCLLM_E_LIMIT,
              "4 rows of logits");
    check_bad(b, (accllm_batch_item){.session = s, .ids = ids, .n = 16}, a, c, ACCLLM_E_LIMIT, "room for 16");
    ok(acc_session_enter(s, &err), &err);
    check_bad(b, (accllm_batch_item){.session = s, .ids = ids, .n = 1}, a, c, ACCLLM_E_ARG, "in use");
    acc_session_leave(s);
    assert_true(accllm_session_position(s) == 0 && accllm_session_position(foreign) == 0);

    accllm_batch_item fill = {.session = full, .ids = ids, .n = 8};
    ok(accllm_batch_step(b, &fill, 1, &err), &err);
    check_bad(b, (accllm_batch_item){.session = full, .ids = ids, .n = 3}, a, c, ACCLLM_E_LIMIT, "is full");
    assert_true(accllm_session_position(full) == 8);
    fill.n = 2;
    ok(accllm_batch_step(b, &fill, 1, &err), &err);

    /* those that were refused go on as if nothing had been; so do their neighbours */
    accllm_session *fresh = make_session(
        &r, &(accllm_session_params){
                .struct_size = sizeof p, .sinks = UINT32_MAX, .kv_near = UINT32_MAX, .chunk = 8, .trace = true});
    const float *logits;
    int32_t fives[16];
    for (int i = 0; i < 16; i++) fives[i] = 5;
    uint32_t steps = (uint32_t)accllm_session_position(a);
    for (uint32_t i = 0; i < steps; i++) ok(accllm_session_eval(fresh, fives, 1, 1, &logits, &err), &err);
    assert_true(accllm_session_trace_hash(fresh) == accllm_session_trace_hash(a));
    assert_true(accllm_session_trace_hash(fresh) == accllm_session_trace_hash(c));
    accllm_session_reset(fresh);
    ok(accllm_session_eval(fresh, fives, 8, 1, &logits, &err), &err);
    accllm_batch_item again = {.session = s, .ids = fives, .n = 8, .n_logits = 1};
    ok(accllm_batch_step(b, &again, 1, &err), &err);
    assert_true(accllm_session_trace_hash(fresh) == accllm_session_trace_hash(s));
    accllm_session *all[] = {a, c, s, foreign, full, fresh};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) accllm_session_free(&all[i]);
    accllm_batch_free(&b);
    accllm_model_free(&other);
    rig_close(&r);
}

static void bad_calls_are_refused(void **state)
{
    (void)state;
    rig r;
    accllm_batch *b;
    accllm_batch_params p;
    accllm_error err;
    int32_t id = 1;
    rig_open(&r, ACC_FMT_W4, NULL, 1);
    accllm_batch_params_init(&p);
    assert_int_equal(accllm_batch_create(&b, NULL, &p, &err), ACCLLM_E_ARG);
    p.max_tokens = ACC_MAX_ROWS + 1;
    assert_int_equal(accllm_batch_create(&b, r.m, &p, &err), ACCLLM_E_ARG);
    assert_null(b);
    p.max_tokens = 8; /* fewer than the 16 sessions of the default */
    assert_int_equal(accllm_batch_create(&b, r.m, &p, &err), ACCLLM_E_ARG);
    p.max_sessions = UINT32_MAX;
    p.max_tokens = 0;
    assert_int_equal(accllm_batch_create(&b, r.m, &p, &err), ACCLLM_E_ARG);
    p.struct_size = 1;
    assert_int_equal(accllm_batch_create(&b, r.m, &p, &err), ACCLLM_E_ARG);
    ok(accllm_batch_create(&b, r.m, NULL, &err), &err);
    accllm_batch_free(&b);
    accllm_batch_free(&b);

    accllm_session_params sp = plain();
    sp.batch_only = true;
    accllm_session *s = make_session(&r, &sp);
    const float *logits;
    assert_int_equal(accllm_session_eval(s, &id, 1, 1, &logits, &err), ACCLLM_E_ARG);
    assert_non_null(strstr(err.text, "batches only"));
    b = make_batch(&r, 1, 4, 1);
    const float old = 0; /* of an earlier step */
    accllm_batch_item items[2] = {{.session = s, .ids = &id, .n = 1, .logits = &old},
                                  {.session = s, .ids = &id, .n = 1, .logits = &old}};
    assert_int_equal(accllm_batch_step(b, items, 0, &err), ACCLLM_E_ARG);
    assert_int_equal(accllm_batch_step(b, items, 2, &err), ACCLLM_E_ARG);
    expect(&items[0], ACCLLM_E_ARG);
    expect(&items[1], ACCLLM_E_ARG);
    assert_false(atomic_flag_test_and_set(&b->busy));
    assert_int_equal(accllm_batch_step(b, items, 1, &err), ACCLLM_E_ARG);
    assert_non_null(strstr(err.text, "the batch is in use"));
    atomic_flag_clear(&b->busy);
    assert_true(accllm_session_position(s) == 0);
    items[0].ids = &(const int32_t){-1}; /* alone, no number stands before the message */
    assert_int_equal(accllm_batch_step(b, items, 1, &err), ACCLLM_E_ARG);
    assert_null(strstr(err.text, "item"));
    accllm_batch_free(&b);
    accllm_session_free(&s);
    rig_close(&r);
}

/* A query that overflows has no codes: an error, and none for the next token either, which makes its pieces anew. */
static void a_query_without_codes_is_an_error(void **state)
{
    (void)state;
    static const char *const sets[] = {"scalar", NULL};
    for (int i = 0; i < 2; i++)
        for (uint32_t bits = 4; bits <= 8; bits += 4) {
            rig r;
            accllm_error err;
            const int32_t ids[3] = {1, 2, 3};
            const float *logits;
            float scales[192];
            rig_open(&r, ACC_FMT_W4, sets[i], 2);
            acc_weight *q = &r.m->packed->layers[0].q;
            assert_int_equal(q->rows, 192);
            memcpy(scales, q->rscale, sizeof scales);
            const float *good = q->rscale;
            scales[77] = 3e38f;
            q->rscale = scales;
            accllm_session_params p = plain();
            p.kv_bits = bits;
            accllm_session *s = make_session(&r, &p);
            assert_int_equal(accllm_session_eval(s, ids, 3, 1, &logits, &err), ACCLLM_E_NUMERIC);
            if (!strstr(err.text, "layer 0: a query")) fail_msg("%s", err.text);
            q->rscale = good;
            accllm_session_reset(s);
            ok(accllm_session_eval(s, ids, 3, 1, &logits, &err), &err);
            accllm_session_free(&s);
            rig_close(&r);
        }
}

/* A token whose embedding is huge or infinite makes its session fail in layer 0, in layer 1 or in the output; the
 * others' numbers stay what they are. */
static void a_bad_number_is_one_sessions_affair(void **state)
{
    (void)state;
    enum { HOT = 299, N = 8 };
    static const char *const where[] = {"layer 0: the input of attention", "layer 1: the input of the feed-forward",
                                        "output: the last layer's output"};
    for (int place = 0; place < 3; place++)
        for (uint32_t threads = 1; threads <= 2; threads++) {
            rig r;
            accllm_error err;
            rig_open(&r, ACC_FMT_W4, NULL, threads);
            acc_packed *m = r.m->packed;
            float scales[VOCAB], quiet[128], gain[128], row[128], top = 0;
            memcpy(scales, m->embd.rscale, sizeof scales);
            acc_packed_embed(m, HOT, row);
            for (int i = 0; i < 128; i++) top = fmaxf(top, fabsf(row[i]));
            scales[HOT] *= place ? 1e18f / top : 3e38f;
            m->embd.rscale = scales;
            for (int i = 0; i < 128; i++) gain[i] = 1e21f;
            for (int i = 0; i < 100; i++) quiet[i] = m->layers[1].up.rscale[i] * 1e-25f;
            if (place == 1) m->layers[1].ffn_norm = gain;
            if (place == 1) m->layers[1].up.rscale = quiet;
            if (place == 2) m->output_norm = gain;

            accllm_session_params p = plain();
            int32_t ids[N] = {1, 2, 3, HOT, 5, 6, 7, 8};
            accllm_batch *b = make_batch(&r, 3, 3 * N, N + 2);
            accllm_session *s[3];
            for (int i = 0; i < 3; i++) s[i] = make_session(&r, &p);
            accllm_batch_item items[3] = {{.session = s[0], .ids = ids + 4, .n = 4, .n_logits = 1},
                                          {.session = s[1], .ids = ids, .n = N, .n_logits = place == 2 ? N : 1},
                                          {.session = s[2], .ids = ids + 4, .n = 4, .n_logits = 1}};
            assert_int_equal(accllm_batch_step(b, items, 3, &err), ACCLLM_E_NUMERIC);
            if (!strstr(err.text, where[place]) || !strstr(err.text, "item 1: ")) fail_msg("%s", err.text);
            expect(&items[0], ACCLLM_OK);
            expect(&items[1], ACCLLM_E_NUMERIC);
            expect(&items[2], ACCLLM_OK);
            assert_true(accllm_session_position(s[1]) == 0);

            /* it goes on with other tokens, from where it stood */
            items[1].ids = ids + 4;
            items[1].n = 4;
            items[1].n_logits = 1;
            ok(accllm_batch_step(b, &items[1], 1, &err), &err);
            assert_true(accllm_session_trace_hash(s[1]) == accllm_session_trace_hash(s[0]));
            assert_true(accllm_session_trace_hash(s[2]) == accllm_session_trace_hash(s[0]));
            for (int i = 0; i < 3; i++) accllm_session_free(&s[i]);
            accllm_batch_free(&b);
            rig_close(&r);
        }
}

static void cancelling_moves_nobody(void **state)
{
    (void)state;
    rig r;
    accllm_error err;
    int32_t ids[8] = {9, 8, 7, 6, 5, 4, 3, 2};
    rig_open(&r, ACC_FMT_W8, NULL, 2);
    accllm_session_params p = plain();
    accllm_session *s[2] = {make_session(&r, &p), make_session(&r, &p)};
    accllm_batch *b = make_batch(&r, 2, 16, 2);
    accllm_batch_item items[2] = {{.session = s[0], .ids = ids, .n = 8, .n_logits = 1},
                                  {.session = s[1], .ids = ids, .n = 8, .n_logits = 1}};
    ok(accllm_batch_step(b, items, 1, &err), &err);
    accllm_runtime_abort(r.rt);
    assert_int_equal(accllm_batch_step(b, items, 2, &err), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(r.rt);
    expect(&items[0], ACCLLM_E_CANCELLED);
    expect(&items[1], ACCLLM_E_CANCELLED);
    assert_true(accllm_session_position(s[0]) == 8 && accllm_session_position(s[1]) == 0);
    ok(accllm_batch_step(b, &items[1], 1, &err), &err);
    assert_true(accllm_session_trace_hash(s[0]) == accllm_session_trace_hash(s[1]));
    for (int i = 0; i < 2; i++) accllm_session_free(&s[i]);
    accllm_batch_free(&b);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_items_stand_still),
        cmocka_unit_test(bad_calls_are_refused),
        cmocka_unit_test(a_query_without_codes_is_an_error),
        cmocka_unit_test(a_bad_number_is_one_sessions_affair),
        cmocka_unit_test(cancelling_moves_nobody),
    };
    return cmocka_run_group_tests_name("batch errors", tests, NULL, NULL);
}
