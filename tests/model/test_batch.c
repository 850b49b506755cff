/*
 * Batches: whoever shares a step, every session gets the bits that it gets alone, however the tokens are cut and mixed.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "kernels/kernels.h"
#include "model/batch_rig.h"

#define MAX_TOKENS 240
#define MAX_SESSIONS 6

/* A session with a text, and what it gives alone. */
typedef struct story {
    accllm_session_params p;
    uint64_t depth; /* filled positions before the first token */
    int32_t ids[MAX_TOKENS];
    uint32_t n;
    float *alone;        /* [n][VOCAB] */
    uint64_t alone_hash; /* with all logits asked for */
    accllm_session *s;   /* in company */
    uint32_t at;         /* tokens fed so far */
    bool some;           /* asks for some of the logits only: no hash to compare */
} story;

/* Different windows, caches, chunks; texts long enough that the small rings turn over several times. */
static void write_stories(story *t, uint32_t bits)
{
    static const struct {
        uint32_t sinks, window, near, chunk, n;
        uint64_t depth;
        bool full, some;
    } kinds[MAX_SESSIONS] = {{4, 128, 64, 32, 200, 0, false, false}, {4, 40, 20, 16, 240, 0, false, true},
                             {0, 17, 5, 5, 150, 0, false, false},    {70, 30, 0, 1, 120, 0, false, false},
                             {0, 0, 64, 64, 180, 0, true, false},    {4, 100, 33, 9, 60, 1 << 20, false, true}};
    for (uint32_t i = 0; i < MAX_SESSIONS; i++) {
        accllm_session_params p = plain();
        p.sinks = kinds[i].sinks;
        p.window = kinds[i].window;
        p.full_attention = kinds[i].full;
        p.kv_near = kinds[i].near;
        p.kv_bits = bits;
        p.chunk = kinds[i].chunk;
        p.batch_only = i % 2;
        t[i] = (story){.p = p, .depth = kinds[i].depth, .n = kinds[i].n, .some = kinds[i].some};
        for (uint32_t j = 0; j < t[i].n; j++) t[i].ids[j] = (int32_t)(acc_random(i + 1, j) % VOCAB);
    }
}

static void tell_alone(const rig *r, story *t)
{
    accllm_session_params p = t->p;
    const float *logits;
    accllm_error err;
    p.batch_only = false;
    p.max_logits = MAX_TOKENS;
    p.chunk = 50;
    accllm_session *s = make_session(r, &p);
    if (t->depth) ok(accllm_session_fill(s, t->depth, &err), &err);
    ok(accllm_session_eval(s, t->ids, t->n, t->n, &logits, &err), &err);
    t->alone = malloc((size_t)t->n * VOCAB * sizeof *logits);
    assert_non_null(t->alone);
    memcpy(t->alone, logits, (size_t)t->n * VOCAB * sizeof *logits);
    t->alone_hash = accllm_session_trace_hash(s);
    accllm_session_free(&s);
}

static void check_rows(const story *t, uint32_t n, uint32_t n_logits, const float *logits)
{
    const float *expected = t->alone + (size_t)(t->at + n - n_logits) * VOCAB;
    if (n_logits) assert_memory_equal(logits, expected, (size_t)n_logits * VOCAB * sizeof *logits);
}

typedef struct dice {
    uint64_t key, i;
} dice;

static uint32_t roll(dice *d, uint32_t sides)
{
    return (uint32_t)(acc_random(d->key, d->i++) % sides);
}

/* One step of a random choice of stories, each with one token or a piece of its text; false: no text is left. */
static bool mixed_step(accllm_batch *b, story *t, dice *d, uint32_t room)
{
    accllm_batch_item items[MAX_SESSIONS];
    story *who[MAX_SESSIONS];
    accllm_error err;
    uint32_t n = 0, first = roll(d, MAX_SESSIONS);
    bool left = false;
    for (uint32_t k = 0; k < MAX_SESSIONS; k++) {
        story *y = &t[(first + k) % MAX_SESSIONS];
        uint32_t most = y->n - y->at < y->p.chunk ? y->n - y->at : y->p.chunk;
        left |= most > 0;
        if (most > room) most = room;
        if (most == 0 || roll(d, 3) == 0) continue;
        uint32_t len = roll(d, 2) ? 1 : 1 + roll(d, most);
        who[n] = y;
        items[n++] = (accllm_batch_item){
            .session = y->s, .ids = y->ids + y->at, .n = len, .n_logits = y->some ? roll(d, len + 1) : len};
        room -= len;
    }
    if (n == 0) return left;
    ok(accllm_batch_step(b, items, n, &err), &err);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(items[i].status, ACCLLM_OK);
        assert_true((items[i].logits != NULL) == (items[i].n_logits > 0));
        check_rows(who[i], items[i].n, items[i].n_logits, items[i].logits);
        who[i]->at += items[i].n;
        assert_true(accllm_session_position(who[i]->s) == who[i]->depth + who[i]->at);
    }
    return true;
}

/* Between steps, a session that can goes on alone. */
static void single_step(story *t, dice *d)
{
    story *y = &t[roll(d, MAX_SESSIONS)];
    const float *logits;
    accllm_error err;
    if (y->p.batch_only || y->at == y->n) return;
    ok(accllm_session_eval(y->s, y->ids + y->at, 1, 1, &logits, &err), &err);
    check_rows(y, 1, 1, logits);
    y->at++;
}

static void tell_together(const rig *r, story *t, uint64_t seed)
{
    const uint32_t room = 40;
    accllm_batch *b = make_batch(r, MAX_SESSIONS, room, room);
    dice d = {.key = seed};
    accllm_error err;
    for (uint32_t i = 0; i < MAX_SESSIONS; i++) {
        t[i].s = make_session(r, &t[i].p);
        t[i].at = 0;
        if (t[i].depth) ok(accllm_session_fill(t[i].s, t[i].depth, &err), &err);
    }
    while (mixed_step(b, t, &d, room))
        if (roll(&d, 4) == 0) single_step(t, &d);
    for (uint32_t i = 0; i < MAX_SESSIONS; i++) {
        assert_int_equal(t[i].at, t[i].n);
        if (!t[i].some) assert_true(accllm_session_trace_hash(t[i].s) == t[i].alone_hash);
        accllm_session_free(&t[i].s);
    }
    accllm_batch_free(&b);
}

/* Every format and cache, on every kernel set, with one to three threads, over two schedules each. */
static void company_changes_nothing(void **state)
{
    (void)state;
    const char *sets[8];
    static story t[MAX_SESSIONS];
    uint32_t n_sets = 0, turn = 0;
    acc_kernels_available(sets);
    while (sets[n_sets]) n_sets++;
    for (acc_format f = 0; f < ACC_FMT_COUNT; f++)
        for (uint32_t bits = 4; bits <= 8; bits += 4)
            for (uint32_t k = 0; k < n_sets; k++, turn++) {
                rig r;
                if (k == 0 && bits == 8) continue; /* scalar is slow, and the same code for both */
                rig_open(&r, f, sets[k], 1 + turn % 3);
                write_stories(t, bits);
                for (uint32_t i = 0; i < MAX_SESSIONS; i++) tell_alone(&r, &t[i]);
                for (uint64_t seed = 0; seed < (k ? 2 : 1); seed++) tell_together(&r, t, 100 * turn + seed);
                for (uint32_t i = 0; i < MAX_SESSIONS; i++) free(t[i].alone);
                rig_close(&r);
            }
}

/* A session that is reset or taken back between steps is like a new one, or one that stopped there. */
static void sessions_start_again_between_steps(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, ACC_FMT_W4, NULL, 2);
    accllm_session_params p = plain();
    accllm_error err;
    accllm_batch *b = make_batch(&r, 2, 32, 2);
    accllm_session *s[2];
    int32_t ids[16];
    uint64_t hash[2];
    for (int i = 0; i < 16; i++) ids[i] = 7 * i;
    for (int i = 0; i < 2; i++) s[i] = make_session(&r, &p);
    accllm_batch_item items[2] = {{.session = s[0], .ids = ids, .n = 16, .n_logits = 1},
                                  {.session = s[1], .ids = ids, .n = 9}};
    ok(accllm_batch_step(b, items, 2, &err), &err);
    hash[0] = accllm_session_trace_hash(s[0]);
    accllm_session_reset(s[1]);
    items[1] = (accllm_batch_item){.session = s[1], .ids = ids, .n = 16, .n_logits = 1};
    items[0].n = items[0].n_logits = 1;
    ok(accllm_batch_step(b, items, 2, &err), &err);
    hash[1] = accllm_session_trace_hash(s[1]);
    assert_true(hash[0] == hash[1]);
    for (int i = 0; i < 2; i++) accllm_session_free(&s[i]);
    accllm_batch_free(&b);
    rig_close(&r);
}

static void the_float_reference_takes_turns(void **state)
{
    (void)state;
    rig r;
    accllm_model_params mp;
    accllm_error err;
    const float *logits;
    int32_t ids[8] = {9, 8, 7, 6, 5, 4, 3, 2}, bad = -1;
    rig_open(&r, ACC_FMT_W8, NULL, 2);
    accllm_model_params_init(&mp);
    mp.numerics = ACCLLM_NUMERICS_FLOAT;
    accllm_model_free(&r.m);
    ok(accllm_model_open(&r.m, r.rt, r.path, &mp, &err), &err);
    accllm_session *alone = make_session(&r, NULL), *s[3];
    for (int i = 0; i < 3; i++) s[i] = make_session(&r, NULL);
    accllm_batch *b = make_batch(&r, 3, 16, 3);
    accllm_batch_item items[3] = {{.session = s[0], .ids = ids, .n = 8, .n_logits = 1},
                                  {.session = s[1], .ids = &bad, .n = 1, .n_logits = 1},
                                  {.session = s[2], .ids = ids, .n = 4, .n_logits = 1}};
    assert_int_equal(accllm_batch_step(b, items, 3, &err), ACCLLM_E_ARG);
    assert_non_null(strstr(err.text, "item 1: token -1"));
    expect(&items[1], ACCLLM_E_ARG);
    expect(&items[2], ACCLLM_OK);
    ok(accllm_session_eval(alone, ids, 8, 1, &logits, &err), &err);
    assert_memory_equal(items[0].logits, logits, VOCAB * sizeof *logits);
    accllm_session_free(&alone);
    for (int i = 0; i < 3; i++) accllm_session_free(&s[i]);
    accllm_batch_free(&b);
    rig_close(&r);
}

typedef struct crowd {
    accllm_batch *b;
    accllm_session *s[3];
    accllm_status status;
} crowd;

static void *live(void *arg)
{
    crowd *c = arg;
    for (int32_t i = 0; i < 60 && c->status == ACCLLM_OK; i++) {
        int32_t ids[3] = {i, i + 1, i + 2};
        accllm_batch_item items[3];
        for (int k = 0; k < 3; k++)
            items[k] = (accllm_batch_item){.session = c->s[k], .ids = ids, .n = 1 + (uint32_t)k, .n_logits = 1};
        c->status = accllm_batch_step(c->b, items, 3, NULL);
    }
    return NULL;
}

/* Two batches of one model, each in a thread of its own. */
static void batches_run_side_by_side(void **state)
{
    (void)state;
    rig r;
    crowd c[2] = {0};
    pthread_t threads[2];
    rig_open(&r, ACC_FMT_W2, NULL, 2);
    accllm_session_params p = plain();
    for (int i = 0; i < 2; i++) {
        c[i].b = make_batch(&r, 3, 6, 3);
        for (int k = 0; k < 3; k++) c[i].s[k] = make_session(&r, &p);
    }
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, live, &c[i]), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int k = 0; k < 3; k++) {
        assert_true(accllm_session_position(c[0].s[k]) == 60 * (1 + (uint64_t)k));
        assert_true(accllm_session_trace_hash(c[0].s[k]) == accllm_session_trace_hash(c[1].s[k]));
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(c[i].status, ACCLLM_OK);
        for (int k = 0; k < 3; k++) accllm_session_free(&c[i].s[k]);
        accllm_batch_free(&c[i].b);
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(sessions_start_again_between_steps),
        cmocka_unit_test(the_float_reference_takes_turns),
        cmocka_unit_test(batches_run_side_by_side),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
