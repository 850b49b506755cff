/* States of sessions: gone on from to the bit, compact, and refused when cut short, changed, or of something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/accllm.h"
#include "core/hash.h"
#include "support/pack.h"

enum { VOCAB = 300, MORE = 24, CHUNK = 16, HEAD = 80 };

static accllm_runtime *rt;
static char *path, *other_path, *source;

static int setup(void **state)
{
    (void)state;
    accllm_runtime_params p;
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W4);
    accllm_runtime_params_init(&p);
    p.n_threads = 2;
    path = tiny_path("state.gguf");
    other_path = tiny_path("state-other.gguf");
    source = tiny_path("state-source.gguf");
    if (!path || !other_path || !source || accllm_runtime_create(&rt, &p, NULL) != ACCLLM_OK) return 1;
    if (pack_tiny(path, &t, &o, NULL) != ACCLLM_OK || tiny_write(source, &t, NULL) != ACCLLM_OK) return 1;
    t.seed++;
    return pack_tiny(other_path, &t, &o, NULL) != ACCLLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    accllm_runtime_free(&rt);
    int bad = unlink(path) | unlink(other_path) | unlink(source);
    free(path);
    free(other_path);
    free(source);
    return bad;
}

static accllm_model *open_model(const char *p)
{
    accllm_model *m;
    accllm_error err;
    if (accllm_model_open(&m, rt, p, NULL, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return m;
}

static accllm_session_params params(uint32_t sinks, uint32_t window, uint32_t bits, uint32_t near)
{
    accllm_session_params p;
    accllm_session_params_init(&p);
    p.sinks = sinks;
    p.window = window;
    p.kv_bits = bits;
    p.kv_near = near;
    p.chunk = CHUNK;
    p.max_logits = MORE;
    return p;
}

static accllm_session *session(accllm_model *m, const accllm_session_params *p)
{
    accllm_session *s;
    accllm_error err;
    if (accllm_session_create(&s, m, p, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return s;
}

static int32_t token(uint32_t stream, uint32_t i)
{
    return (int32_t)(acc_random(stream, i) % VOCAB);
}

static void read_text(accllm_session *s, uint32_t stream, uint32_t from, uint32_t end, float *logits)
{
    const float *got;
    int32_t ids[512];
    uint32_t n = end - from, rows = logits ? MORE : 0;
    for (uint32_t i = 0; i < n; i++) ids[i] = token(stream, from + i);
    if (n == 0) return;
    assert_int_equal(accllm_session_eval(s, ids, n, rows, &got, NULL), ACCLLM_OK);
    if (logits) memcpy(logits, got, (size_t)rows * VOCAB * sizeof *got);
}

typedef struct bytes {
    uint8_t *at;
    size_t n;
} bytes;

static bytes save(accllm_session *s, const int32_t *ids, size_t n_ids)
{
    accllm_error err;
    bytes b = {.n = accllm_session_state_bytes(s, n_ids)};
    size_t n;
    assert_true(b.n > 0);
    b.at = malloc(b.n);
    assert_non_null(b.at);
    memset(b.at, 0xa5, b.n);
    if (accllm_session_save(s, ids, n_ids, b.at, b.n, &n, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(n, b.n);
    assert_int_equal(accllm_session_save(s, ids, n_ids, b.at, b.n - 1, &n, &err), ACCLLM_E_ARG);
    return b;
}

static accllm_status load(accllm_session *s, const uint8_t *at, size_t n)
{
    size_t n_ids;
    return accllm_session_load(s, at, n, NULL, 0, &n_ids, NULL);
}

/* The session reads n tokens and is taken back by `back`; another that has read something else goes on from its state.
 */
static void check_goes_on(accllm_model *m, const accllm_session_params *p, uint32_t n, uint32_t back)
{
    static float want[MORE * VOCAB], got[MORE * VOCAB];
    accllm_session *a = session(m, p), *b = session(m, p);
    read_text(a, 1, 0, n, NULL);
    assert_int_equal(accllm_session_rewind(a, n - back, NULL), ACCLLM_OK);
    bytes state = save(a, NULL, 0);
    assert_true(state.n < accllm_session_bytes(a)); /* no more than the cache */
    read_text(b, 2, 0, 150, NULL);
    assert_int_equal(load(b, state.at, state.n), ACCLLM_OK);
    assert_true(accllm_session_position(b) == n - back);
    bytes again = save(b, NULL, 0);
    assert_int_equal(again.n, state.n);
    assert_memory_equal(again.at, state.at, state.n);
    for (uint32_t to = n - back; to > 0; to--) { /* both go back equally far */
        accllm_status one = accllm_session_rewind(a, to, NULL), two = accllm_session_rewind(b, to, NULL);
        assert_int_equal(one, two);
        if (one != ACCLLM_OK) break;
        if (to % 5) continue;
        read_text(a, 3, 0, MORE, want);
        read_text(b, 3, 0, MORE, got);
        assert_memory_equal(got, want, sizeof want);
        break;
    }
    assert_int_equal(load(b, state.at, state.n), ACCLLM_OK);
    assert_int_equal(load(a, state.at, state.n), ACCLLM_OK);
    read_text(a, 1, n - back, n - back + 200, want);
    read_text(b, 1, n - back, n - back + 200, got);
    assert_memory_equal(got, want, sizeof want);
    free(state.at);
    free(again.at);
    accllm_session_free(&a);
    accllm_session_free(&b);
}

static void a_state_goes_on_to_the_bit(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    const accllm_session_params shapes[] = {params(4, 100, 4, 64), params(0, 16, 4, 1),  params(4, 40, 8, 0),
                                            params(33, 64, 4, 0),  params(4, 30, 4, 64), params(5, 128, 4, 16)};
    const uint32_t lengths[] = {1, 3, 4, 5, 16, 17, 100, 160, 161, 400};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
            for (uint32_t back = 0; back <= 6 && back <= lengths[k]; back += 3)
                check_goes_on(m, &shapes[i], lengths[k], back);
    accllm_session_params full = params(4, 0, 4, 64);
    full.full_attention = true;
    full.n_ctx = 500;
    check_goes_on(m, &full, 1, 0);
    check_goes_on(m, &full, 250, 2);
    accllm_model_free(&m);
}

static void an_empty_session_has_a_state(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    accllm_session_params p = params(4, 64, 4, 64);
    accllm_session *a = session(m, &p);
    bytes b = save(a, NULL, 0);
    read_text(a, 1, 0, 90, NULL);
    assert_int_equal(load(a, b.at, b.n), ACCLLM_OK);
    assert_true(accllm_session_position(a) == 0);
    assert_true(b.n < 200);
    free(b.at);
    accllm_session_free(&a);
    accllm_model_free(&m);
}

/* Nothing of what a session read before its last reset is in its state. */
static void a_state_follows_from_the_tokens_alone(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    const accllm_session_params shapes[] = {params(4, 100, 4, 64), params(5, 40, 8, 0), params(0, 16, 4, 1)};
    const int32_t ids[3] = {1, 2, 3};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint32_t n = 1; n < 60; n += 7) {
            accllm_session *fresh = session(m, &shapes[i]), *used = session(m, &shapes[i]);
            read_text(used, 2, 0, 400, NULL);
            accllm_session_reset(used);
            read_text(fresh, 1, 0, n, NULL);
            read_text(used, 1, 0, n, NULL);
            bytes a = save(fresh, ids, 3), b = save(used, ids, 3);
            assert_int_equal(a.n, b.n);
            assert_memory_equal(a.at, b.at, a.n);
            free(a.at);
            free(b.at);
            accllm_session_free(&fresh);
            accllm_session_free(&used);
        }
    accllm_model_free(&m);
}

static void ids_come_back(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    accllm_session_params p = params(4, 64, 4, 64);
    accllm_session *a = session(m, &p);
    int32_t ids[7] = {1, 2, 299, 0, 5, 6, 7}, got[7] = {0};
    size_t n;
    read_text(a, 1, 0, 9, NULL);
    bytes b = save(a, ids, 7);
    assert_int_equal(accllm_session_load(a, b.at, b.n, got, 7, &n, NULL), ACCLLM_OK);
    assert_int_equal(n, 7);
    assert_memory_equal(got, ids, sizeof ids);
    assert_memory_equal(b.at + HEAD + sizeof ids, "\0\0\0", 4); /* up to a multiple of 8 */
    memset(got, 0, sizeof got);
    assert_int_equal(accllm_session_load(a, b.at, b.n, got, 3, &n, NULL), ACCLLM_OK);
    assert_int_equal(n, 7);
    assert_true(got[2] == 299 && got[3] == 0 && got[4] == 0);
    free(b.at);
    ids[3] = VOCAB;
    b = save(a, ids, 7);
    assert_int_equal(accllm_session_load(a, b.at, b.n, got, 7, &n, NULL), ACCLLM_E_FORMAT);
    assert_int_equal(n, 0);
    free(b.at);
    accllm_session_free(&a);
    accllm_model_free(&m);
}

/* A copy of exactly n bytes, so that the sanitizers see a read beyond them. */
static accllm_status load_copy(accllm_session *s, const uint8_t *at, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n) memcpy(copy, at, n);
    accllm_status status = load(s, copy, n);
    free(copy);
    return status;
}

static void seal(bytes b)
{
    uint64_t check = acc_hash_bulk(b.at, b.n - 8);
    memcpy(b.at + b.n - 8, &check, 8);
}

/* What a session must be able to do whatever it was given: go on, without a crash. */
static void go_on(accllm_session *s)
{
    const float *logits;
    int32_t ids[20] = {5, 9};
    (void)accllm_session_eval(s, ids, 20, 1, &logits, NULL);
}

static void cut_short_is_refused(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    accllm_session_params p = params(4, 32, 4, 16);
    accllm_session *a = session(m, &p), *b = session(m, &p);
    const int32_t ids[3] = {1, 2, 3};
    read_text(a, 1, 0, 60, NULL);
    read_text(b, 2, 0, 50, NULL);
    bytes s = save(a, ids, 3), before = save(b, NULL, 0);
    for (size_t n = 0; n < s.n; n++) {
        assert_int_equal(load_copy(b, s.at, n), ACCLLM_E_FORMAT);
        if (n < HEAD + 8) continue; /* with the hash that such a file would have */
        bytes cut = {malloc(n), n};
        assert_non_null(cut.at);
        memcpy(cut.at, s.at, n);
        seal(cut);
        assert_int_equal(load_copy(b, cut.at, n), ACCLLM_E_FORMAT);
        free(cut.at);
    }
    bytes after = save(b, NULL, 0);
    assert_int_equal(after.n, before.n);
    assert_memory_equal(after.at, before.at, before.n);
    free(s.at);
    free(before.at);
    free(after.at);
    accllm_session_free(&a);
    accllm_session_free(&b);
    accllm_model_free(&m);
}

/* Changed bytes are refused; sealed again they are refused or give a state that the session can go on from. */
static void changes_are_refused_or_harmless(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    const accllm_session_params p[] = {params(4, 32, 4, 16), params(4, 32, 8, 0)};
    for (int k = 0; k < 2; k++) {
        accllm_session *a = session(m, &p[k]);
        const int32_t ids[3] = {1, 2, 3};
        read_text(a, 1, 0, 60, NULL);
        bytes s = save(a, ids, 3), t = {malloc(s.n), s.n};
        assert_non_null(t.at);
        int refused = 0, taken = 0;
        for (uint32_t i = 0; i < 4000; i++) {
            memcpy(t.at, s.at, s.n);
            uint32_t n = 1 + (uint32_t)(acc_random(i, 0) % 4);
            bool in_head = i % 2;
            for (uint32_t c = 0; c < n; c++) {
                size_t at = (size_t)(acc_random(i, 10 + c) % (in_head ? HEAD + 32 : s.n - 8));
                t.at[at] ^= (uint8_t)(1 + acc_random(i, 20 + c) % 255);
            }
            if (memcmp(t.at, s.at, s.n) == 0) continue;
            assert_int_equal(load_copy(a, t.at, t.n), ACCLLM_E_FORMAT);
            seal(t);
            const uint64_t before = accllm_session_position(a);
            if (load_copy(a, t.at, t.n) == ACCLLM_OK) {
                taken++;
            } else {
                refused++;
                assert_true(accllm_session_position(a) == before);
            }
            if (i % 16 == 0) go_on(a);
        }
        assert_true(refused > 1000 && taken > 100); /* both paths are walked */
        free(s.at);
        free(t.at);
        accllm_session_free(&a);
    }
    accllm_model_free(&m);
}

/* Positions that no session has, in a file with a right hash. */
static void impossible_positions_are_refused(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    accllm_session_params p = params(4, 32, 4, 16);
    accllm_session *a = session(m, &p);
    read_text(a, 1, 0, 60, NULL);
    bytes s = save(a, NULL, 0);
    const uint64_t bad[][2] = {{61, 60},
                               {60, 61},
                               {0, 60},
                               {60, UINT64_MAX},
                               {UINT64_MAX, UINT64_MAX},
                               {20, 60},
                               {60, 1u << 30},
                               {1u << 30, 1u << 30},
                               {1ull << 63, 1ull << 63},
                               {10, 1000}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(s.at + HEAD, bad[i], sizeof bad[i]);
        seal(s);
        accllm_status got = load(a, s.at, s.n);
        bool fits = i == 1; /* as many blocks as before: one token was taken back */
        assert_true(fits ? got == ACCLLM_OK || got == ACCLLM_E_FORMAT : got == ACCLLM_E_FORMAT);
    }
    free(s.at);
    accllm_session_free(&a);
    accllm_model_free(&m);
}

/* Full attention: as many blocks, but more positions than the context has. */
static void positions_beyond_the_context_are_refused(void **state)
{
    (void)state;
    accllm_model *m = open_model(path);
    accllm_session_params p = params(4, 0, 4, 16);
    p.full_attention = true;
    p.n_ctx = 60;
    accllm_session *a = session(m, &p);
    read_text(a, 1, 0, 60, NULL);
    bytes s = save(a, NULL, 0);
    assert_int_equal(load(a, s.at, s.n), ACCLLM_OK);
    const uint64_t beyond[2] = {61, 61};
    memcpy(s.at + HEAD, beyond, sizeof beyond);
    seal(s);
    assert_int_equal(load(a, s.at, s.n), ACCLLM_E_FORMAT);
    assert_true(accllm_session_position(a) == 60);
    free(s.at);
    accllm_session_free(&a);
    accllm_model_free(&m);
}

static void only_the_same_model_and_shape(void **state)
{
    (void)state;
    accllm_model *m = open_model(path), *other = open_model(other_path), *same = open_model(path);
    accllm_session_params p = params(4, 32, 4, 16), q;
    accllm_session *a = session(m, &p), *b;
    read_text(a, 1, 0, 60, NULL);
    bytes s = save(a, NULL, 0);
    b = session(other, &p);
    assert_int_equal(load(b, s.at, s.n), ACCLLM_E_ARG);
    accllm_session_free(&b);
    b = session(same, &p);
    assert_int_equal(load(b, s.at, s.n), ACCLLM_OK);
    accllm_session_free(&b);
    for (int i = 0; i < 6; i++) {
        q = p;
        if (i == 0) q.sinks = 5;
        if (i == 1) q.window = 33;
        if (i == 2) q.kv_bits = 8;
        if (i == 3) q.kv_near = 17;
        if (i == 4) q.chunk = 17;
        if (i == 5) q.full_attention = true;
        b = session(same, &q);
        assert_int_equal(load(b, s.at, s.n), ACCLLM_E_ARG);
        accllm_session_free(&b);
    }
    p = params(4, 32, 8, 16);
    q = params(4, 32, 8, 17); /* nothing is near where all has 8 bits */
    accllm_session *wide = session(m, &p);
    b = session(same, &q);
    bytes w = save(wide, NULL, 0);
    assert_int_equal(load(b, w.at, w.n), ACCLLM_OK);
    free(w.at);
    accllm_session_free(&wide);
    accllm_session_free(&b);
    uint32_t version = 2;
    memcpy(s.at + 8, &version, 4);
    seal(s);
    assert_int_equal(load(a, s.at, s.n), ACCLLM_E_UNSUPPORTED);
    free(s.at);
    accllm_session_free(&a);
    accllm_model_free(&m);
    accllm_model_free(&other);
    accllm_model_free(&same);
}

static void who_has_no_states(void **state)
{
    (void)state;
    accllm_model *m = open_model(path), *ref = open_model(source);
    accllm_session_params p;
    uint8_t room[64];
    size_t n;
    accllm_session_params_init(&p);
    accllm_session *a = session(ref, &p);
    assert_int_equal(accllm_session_state_bytes(a, 0), 0);
    assert_int_equal(accllm_session_save(a, NULL, 0, room, sizeof room, &n, NULL), ACCLLM_E_UNSUPPORTED);
    assert_int_equal(load(a, room, sizeof room), ACCLLM_E_UNSUPPORTED);
    accllm_session_free(&a);
    p.trace = true;
    a = session(m, &p);
    assert_int_equal(accllm_session_save(a, NULL, 0, room, sizeof room, &n, NULL), ACCLLM_E_ARG);
    accllm_session_free(&a);
    accllm_model_free(&m);
    accllm_model_free(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_goes_on_to_the_bit),
        cmocka_unit_test(an_empty_session_has_a_state),
        cmocka_unit_test(a_state_follows_from_the_tokens_alone),
        cmocka_unit_test(ids_come_back),
        cmocka_unit_test(cut_short_is_refused),
        cmocka_unit_test(changes_are_refused_or_harmless),
        cmocka_unit_test(impossible_positions_are_refused),
        cmocka_unit_test(positions_beyond_the_context_are_refused),
        cmocka_unit_test(only_the_same_model_and_shape),
        cmocka_unit_test(who_has_no_states),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
