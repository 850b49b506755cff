/* The parts of the server that need no connection: log-probabilities, keys, origins. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve/choice.h"
#include "serve/guard.h"
#include "serve/logprob.h"
#include "serve/problem.h"
#include "serve/request.h"

static void log_probabilities(void **state)
{
    const float x[6] = {1, 3, NAN, 3, -INFINITY, 2};
    const double base = log(exp(1) + 2 * exp(3) + exp(2));
    acc_record r = {.id = 5};
    (void)state;
    acc_logprob(&r, x, 6, 3);
    assert_float_equal(r.logprob, 2 - base, 1e-6);
    assert_int_equal(r.n_top, 3);
    assert_int_equal(r.top[0].id, 1); /* a tie: the lower id first */
    assert_int_equal(r.top[1].id, 3);
    assert_int_equal(r.top[2].id, 5);
    assert_true(r.top[2].logprob == r.logprob);
    acc_logprob(&r, x, 6, 0);
    assert_int_equal(r.n_top, 0);
    acc_logprob(&r, x, 6, ACC_MAX_TOP);
    assert_int_equal(r.n_top, 5); /* all but the one that is no number */
    r.id = 4;
    acc_logprob(&r, x, 6, 1);
    assert_true(isinf(r.logprob) && r.logprob < 0);
}

static void keys(void **state)
{
    const char *const some[] = {"abc", "defg"};
    const char *const empty[] = {""};
    acc_guard g;
    accllm_error err;
    (void)state;
    assert_int_equal(acc_guard_init(&g, some, 2, NULL, 0, &err), ACCLLM_OK);
    assert_true(acc_guard_key(&g, "Bearer abc"));
    assert_true(acc_guard_key(&g, "BEARER defg"));
    static const char *const wrong[] = {"Bearer ",     "Bearer ab", "Bearer abcabc", "Bearer abd", "abc",
                                        "Bearer  abc", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(acc_guard_key(&g, wrong[i]));
    assert_false(acc_guard_key(&g, NULL));
    acc_guard_free(&g);
    assert_int_equal(acc_guard_init(&g, NULL, 0, NULL, 0, &err), ACCLLM_OK);
    assert_true(acc_guard_key(&g, NULL)); /* none is asked for */
    acc_guard_free(&g);
    assert_int_equal(acc_guard_init(&g, empty, 1, NULL, 0, &err), ACCLLM_E_ARG);
    acc_guard_free(&g);
}

static void long_keys(void **state)
{
    char given[8 + ACC_MAX_KEY + 2] = "Bearer ", *key = given + 7;
    const char *const keys[] = {key};
    acc_guard g;
    accllm_error err;
    (void)state;
    memset(key, 'k', ACC_MAX_KEY - 1);
    assert_int_equal(acc_guard_init(&g, keys, 1, NULL, 0, &err), ACCLLM_OK);
    assert_true(acc_guard_key(&g, given));
    key[ACC_MAX_KEY - 1] = 'k';
    assert_false(acc_guard_key(&g, given));
    key[ACC_MAX_KEY - 2] = '\0';
    assert_false(acc_guard_key(&g, given));
    acc_guard_free(&g);
    key[ACC_MAX_KEY - 2] = 'k';
    assert_int_equal(acc_guard_init(&g, keys, 1, NULL, 0, &err), ACCLLM_E_ARG);
    acc_guard_free(&g);
}

static void origins(void **state)
{
    const char *const some[] = {"https://a.example"}, *const all[] = {"*"};
    acc_guard g;
    accllm_error err;
    (void)state;
    assert_int_equal(acc_guard_init(&g, NULL, 0, some, 1, &err), ACCLLM_OK);
    assert_true(acc_guard_origin(&g, "https://A.example", "localhost"));
    assert_true(acc_guard_origin(&g, "http://localhost", "localhost"));
    assert_true(acc_guard_origin(&g, "http://127.0.0.1:3000", "localhost"));
    assert_true(acc_guard_origin(&g, "http://192.0.2.7:80", "192.0.2.7:80"));
    assert_false(acc_guard_origin(&g, "http://192.0.2.7:80", NULL));
    static const char *const wrong[] = {"https://a.example.org", "http://a.example", "http://localhost.x", "null",
                                        "http://127.0.0.10",     "localhost"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(acc_guard_origin(&g, wrong[i], "localhost"));
    acc_guard_free(&g);
    const char *const malformed[] = {"",           "foo", "a.example:80", "https://", "://a", "https://a.example/",
                                     "https://a/b"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        assert_int_equal(acc_guard_init(&g, NULL, 0, &malformed[i], 1, &err), ACCLLM_E_ARG);
        acc_guard_free(&g);
    }
    assert_int_equal(acc_guard_init(&g, NULL, 0, all, 1, &err), ACCLLM_OK);
    assert_true(acc_guard_origin(&g, "null", "localhost"));
    acc_guard_free(&g);
}

static void problems_have_all_four_keys(void **state)
{
    acc_problem p;
    (void)state;
    assert_false(acc_refuse(&p, 400, NULL, NULL, "bad \xff\n%d", 5));
    json_t *o = acc_problem_json(&p), *e = json_object_get(o, "error");
    assert_int_equal(json_object_size(e), 4);
    assert_string_equal(json_string_value(json_object_get(e, "message")), "bad ??5");
    assert_string_equal(json_string_value(json_object_get(e, "type")), "invalid_request_error");
    assert_true(json_is_null(json_object_get(e, "param")) && json_is_null(json_object_get(e, "code")));
    json_decref(o);
}

/* Ids, which need no tokenizer. */
static bool read_request(acc_request *r, acc_problem *p, const char *body)
{
    static const accllm_model_info info = {.n_vocab = 100};
    static const acc_service service = {.info = &info};
    json_t *o = json_loads(body, 0, NULL);
    assert_non_null(o);
    bool ok = acc_request_read(r, &service, false, o, p);
    json_decref(o);
    return ok;
}

static void replies_have_an_end(void **state)
{
    acc_request r;
    acc_problem p;
    (void)state;
    static const struct {
        const char *body;
        uint64_t max_tokens;
    } cases[] = {
        {"{\"prompt\":[1,2],\"max_tokens\":50}", 50},
        {"{\"prompt\":[1,2],\"max_tokens\":9000000000000000000}", 1 << 20},
        {"{\"prompt\":[[1,2],[3,4]],\"n\":4,\"max_tokens\":2000000}", 1 << 17},
        {"{\"prompt\":[1,2],\"logprobs\":19,\"max_tokens\":2000000}", (1 << 20) / 20},
        {"{\"prompt\":[1,2],\"logprobs\":19,\"max_tokens\":2000000,\"stream\":true}", 2000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(read_request(&r, &p, cases[i].body));
        assert_true(r.settings.max_tokens == cases[i].max_tokens);
        acc_request_free(&r);
    }
    const size_t size = 300000;
    char *body = malloc(size), *at = body;
    assert_non_null(body);
    at += snprintf(at, size, "{\"echo\":true,\"logprobs\":19,\"max_tokens\":0,\"prompt\":[1");
    for (int i = 1; i < (1 << 20) / 20; i++, at += 2) memcpy(at, ",1", 2);
    (void)snprintf(at, size - (size_t)(at - body), "]}");
    assert_true(read_request(&r, &p, body));
    acc_request_free(&r);
    (void)snprintf(at, size - (size_t)(at - body), ",1]}");
    assert_false(read_request(&r, &p, body));
    assert_int_equal(p.status, 400);
    assert_string_equal(p.param, "logprobs");
    free(body);
}

static bool count_piece(void *user, acc_choice *c)
{
    size_t *pieces = user;
    ++*pieces;
    json_decref(acc_choice_ids(c));
    json_decref(acc_choice_scores(c));
    return true;
}

/* A stream of tokens that bring no text gathers no more of them than some hundreds. */
static void silent_streams_stay_small(void **state)
{
    enum { TOKENS = 5000 };
    const acc_request r = {.chat = true, .stream = true, .scored = true, .token_ids = true};
    const acc_prompt prompt = {0};
    acc_record record = {.id = 2, .ended = true};
    const acc_box box = {.record = &record, .n_records = 1};
    acc_choice c;
    size_t pieces = 0, most = 0;
    (void)state;
    acc_choice_init(&c, &r, &prompt, NULL, 0);
    for (unsigned i = 0; i < TOKENS; i++) {
        assert_true(acc_choice_add(&c, &box, ACC_UNFINISHED, false, count_piece, &pieces));
        if (c.n_held > most) most = c.n_held;
    }
    assert_in_range(pieces, 2, TOKENS / 100);
    assert_in_range(most, 1, 1000);
    acc_choice_free(&c);
}

/* What stands behind text that may yet become a stop text waits with it, however many tokens that are. */
static void silent_tokens_wait_for_a_stop_text(void **state)
{
    enum { TOKENS = 2000 };
    const acc_request r = {.chat = true, .stream = true, .scored = true};
    const acc_prompt prompt = {0};
    acc_record record = {.id = 2, .ended = true};
    const acc_box box = {.record = &record, .n_records = 1};
    acc_choice c;
    size_t pieces = 0;
    (void)state;
    acc_choice_init(&c, &r, &prompt, NULL, 0);
    for (unsigned i = 0; i < TOKENS; i++) {
        if (i == 10) record.at = 3; /* the tenth had text, which did not come out */
        assert_true(acc_choice_add(&c, &box, ACC_UNFINISHED, false, count_piece, &pieces));
    }
    assert_int_equal(pieces, 0);
    assert_int_equal(c.n_held, TOKENS);
    assert_true(acc_choice_add(&c, &box, ACC_FINISH_STOP, true, count_piece, &pieces));
    assert_int_equal(pieces, 0);
    acc_choice_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_probabilities),
        cmocka_unit_test(keys),
        cmocka_unit_test(long_keys),
        cmocka_unit_test(origins),
        cmocka_unit_test(problems_have_all_four_keys),
        cmocka_unit_test(replies_have_an_end),
        cmocka_unit_test(silent_streams_stay_small),
        cmocka_unit_test(silent_tokens_wait_for_a_stop_text),
    };
    return cmocka_run_group_tests_name("serve-parts", tests, NULL, NULL);
}
