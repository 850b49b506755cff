/* Hidden states: the same bits however a text is cut and whoever shares the steps, and what lm_head makes its logits
 * of. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "engine/internal.h"
#include "model/batch_rig.h"

enum { TOKENS = 60 };

typedef struct text {
    int32_t ids[TOKENS];
    float *hidden; /* [TOKENS][n_embd] */
} text;

static text make_text(const rig *r, uint64_t seed)
{
    text t = {.hidden = calloc(TOKENS, accllm_model_get_info(r->m)->n_embd * sizeof(float))};
    assert_non_null(t.hidden);
    for (uint64_t i = 0; i < TOKENS; i++) t.ids[i] = (int32_t)(acc_random(seed, i) % VOCAB);
    return t;
}

/* Both texts, so many tokens a step; the second's states are not asked for if `one`. The logits of the last token of
 * the first go to last [VOCAB]. */
static void read_both(const rig *r, text *a, text *b, uint32_t step_a, uint32_t step_b, bool one, float *last)
{
    const uint32_t n_embd = accllm_model_get_info(r->m)->n_embd;
    accllm_error err;
    accllm_batch *batch = make_batch(r, 2, 64, 2);
    accllm_session *s[2] = {make_session(r, NULL), make_session(r, NULL)};
    for (uint32_t i = 0, j = 0; i < TOKENS || j < TOKENS;) {
        accllm_batch_item items[2];
        uint32_t n = i < TOKENS ? (TOKENS - i < step_a ? TOKENS - i : step_a) : 0, n_items = 0;
        uint32_t m = j < TOKENS ? (TOKENS - j < step_b ? TOKENS - j : step_b) : 0;
        if (n)
            items[n_items++] = (accllm_batch_item){
                .session = s[0], .ids = a->ids + i, .n = n, .n_logits = 1, .hidden = a->hidden + (size_t)i * n_embd};
        if (m)
            items[n_items++] = (accllm_batch_item){
                .session = s[1], .ids = b->ids + j, .n = m, .hidden = one ? NULL : b->hidden + (size_t)j * n_embd};
        ok(accllm_batch_step(batch, items, n_items, &err), &err);
        if (n) memcpy(last, items[0].logits, VOCAB * sizeof *last);
        i += n;
        j += m;
    }
    for (int i = 0; i < 2; i++) accllm_session_free(&s[i]);
    accllm_batch_free(&batch);
}

static void pieces_and_company_change_nothing(void **state)
{
    (void)state;
    static float last[VOCAB];
    for (uint32_t threads = 1; threads <= 3; threads++) {
        rig r;
        rig_open(&r, ACC_FMT_W4, NULL, threads);
        text a = make_text(&r, 1), b = make_text(&r, 2), c = make_text(&r, 1), d = make_text(&r, 2);
        const size_t bytes = TOKENS * accllm_model_get_info(r.m)->n_embd * sizeof(float);
        read_both(&r, &a, &b, 1, 7, false, last);
        read_both(&r, &c, &d, 32, 3, false, last);
        assert_memory_equal(a.hidden, c.hidden, bytes);
        assert_memory_equal(b.hidden, d.hidden, bytes);
        assert_memory_not_equal(a.hidden, b.hidden, bytes);
        memset(c.hidden, 0, bytes);
        memset(d.hidden, 0, bytes);
        read_both(&r, &c, &d, 5, 9, true, last);
        assert_memory_equal(a.hidden, c.hidden, bytes);
        for (size_t i = 0; i < bytes / sizeof(float); i++) assert_true(d.hidden[i] == 0);
        free(a.hidden);
        free(b.hidden);
        free(c.hidden);
        free(d.hidden);
        rig_close(&r);
    }
}

/* The file's channel scaling is undone on both sides, and rounding the states to 8 bits costs little. */
static void the_logits_are_made_of_them(void **state)
{
    (void)state;
    rig r;
    static float logits[VOCAB];
    accllm_error err;
    acc_source *source;
    double error = 0, size = 0;
    rig_open(&r, ACC_FMT_W8, NULL, 1);
    const uint32_t n_embd = accllm_model_get_info(r.m)->n_embd;
    text a = make_text(&r, 3), b = make_text(&r, 4);
    read_both(&r, &a, &b, 20, 20, true, logits);
    const float *h = a.hidden + (size_t)(TOKENS - 1) * n_embd;
    float *row = calloc(n_embd, sizeof *row);
    assert_non_null(row);
    assert_non_null(r.m->packed->embd_scale);
    ok(acc_packed_source(&source, r.m->packed, &err), &err);
    for (uint32_t v = 0; v < VOCAB; v++) {
        double sum = 0;
        ok(source->read_rows(source, ACC_T_TOKEN_EMBD, 0, v, 1, row, &err), &err);
        for (uint32_t i = 0; i < n_embd; i++) sum += (double)h[i] * (double)row[i];
        error += (sum - (double)logits[v]) * (sum - (double)logits[v]);
        size += (double)logits[v] * (double)logits[v];
    }
    assert_true(size > 0 && error < 1e-4 * size);
    source->close(source);
    free(row);
    free(a.hidden);
    free(b.hidden);
    rig_close(&r);
}

static void the_float_reference_has_none(void **state)
{
    (void)state;
    rig r;
    accllm_model_params p;
    accllm_error err;
    const int32_t id = 5;
    rig_open(&r, ACC_FMT_W8, NULL, 1);
    accllm_model_free(&r.m);
    accllm_model_params_init(&p);
    p.numerics = ACCLLM_NUMERICS_FLOAT;
    ok(accllm_model_open(&r.m, r.rt, r.path, &p, &err), &err);
    text a = make_text(&r, 5);
    accllm_session *s = make_session(&r, NULL);
    accllm_batch *b = make_batch(&r, 1, 8, 1);
    accllm_batch_item item = {.session = s, .ids = &id, .n = 1, .hidden = a.hidden};
    assert_int_equal(accllm_batch_step(b, &item, 1, &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "hidden states"));
    expect(&item, ACCLLM_E_UNSUPPORTED);
    assert_true(accllm_session_position(s) == 0);
    accllm_batch_free(&b);
    accllm_session_free(&s);
    free(a.hidden);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_and_company_change_nothing),
        cmocka_unit_test(the_logits_are_made_of_them),
        cmocka_unit_test(the_float_reference_has_none),
    };
    return cmocka_run_group_tests_name("hidden", tests, NULL, NULL);
}
