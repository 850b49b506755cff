/* The sampler against a naive one (full sort, libm, no rounding of weights), ties, replay, extremes, NaN. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "accllm/sampler.h"
#include "core/hash.h"

#define N 1500

typedef struct entry {
    double logit;
    int32_t id;
} entry;

static int by_rank(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static int32_t naive_draw(const accllm_sampler_params *p, const float *logits, int n, const int32_t *recent,
                          int n_recent, uint64_t position)
{
    entry e[N];
    for (int i = 0; i < n; i++) {
        float x = logits[i];
        for (int j = 0; j < n_recent; j++) {
            if (recent[j] != i) continue;
            x = x > 0 ? x / p->repeat_penalty : x * p->repeat_penalty;
            break;
        }
        e[i] = (entry){x, i};
    }
    qsort(e, (size_t)n, sizeof *e, by_rank);
    if (p->temperature == 0) return e[0].id;
    if (p->top_k && (int)p->top_k < n) n = (int)p->top_k;
    double sum = 0, cumulative = 0, best = e[0].logit;
    for (int i = 0; i < n; i++) sum += exp(e[i].logit - best);
    if (p->top_p < 1) {
        for (int i = 0; i < n; i++) {
            cumulative += exp(e[i].logit - best);
            if (cumulative >= (double)p->top_p * sum) n = i + 1;
        }
    }
    for (int i = 1; i < n; i++)
        if (exp(e[i].logit - best) < (double)p->min_p) n = i;
    sum = cumulative = 0;
    for (int i = 0; i < n; i++) sum += exp((e[i].logit - best) / (double)p->temperature);
    double target = acc_random_unit(p->seed, position) * sum;
    for (int i = 0; i < n; i++) {
        cumulative += exp((e[i].logit - best) / (double)p->temperature);
        if (cumulative > target) return e[i].id;
    }
    return e[n - 1].id;
}

/* Logits on a coarse grid, so that many are equal. */
static void fill(float *logits, uint64_t key, double spread)
{
    for (int i = 0; i < N; i++)
        logits[i] = (float)(floor((acc_random_unit(key, (uint64_t)i) - 0.5) * spread * 16) / 16);
}

static accllm_sampler_params params(float temperature, uint32_t top_k, float top_p, float min_p, float penalty)
{
    accllm_sampler_params p;
    accllm_sampler_params_init(&p);
    p.temperature = temperature;
    p.top_k = top_k;
    p.top_p = top_p;
    p.min_p = min_p;
    p.repeat_penalty = penalty;
    p.repeat_last = 16;
    return p;
}

static void equals_the_naive_sampler(void **state)
{
    (void)state;
    static const float temperatures[] = {0.0f, 1e-30f, 0.3f, 1.0f, 5.0f, 1e30f};
    static const uint32_t top_ks[] = {0, 1, 7, 40, N - 1, N, N + 5};
    static const float top_ps[] = {0.0f, 0.5f, 0.95f, 0.9999f, 1.0f};
    static const float min_ps[] = {0.0f, 0.05f, 1.0f};
    float logits[N];
    uint64_t key = 1;
    for (unsigned c = 0; c < 6 * 7 * 5 * 3; c++) {
        accllm_sampler_params p =
            params(temperatures[c % 6], top_ks[c / 6 % 7], top_ps[c / 42 % 5], min_ps[c / 210], c % 2 ? 1.3f : 1.0f);
        p.seed = c;
        accllm_sampler *s;
        assert_int_equal(accllm_sampler_create(&s, &p, N, NULL), ACCLLM_OK);
        int32_t recent[16];
        for (int i = 0; i < 16; i++) recent[i] = (int32_t)(acc_random(key, (uint64_t)i) % N);
        recent[15] = recent[3];      /* twice in the text, penalised once */
        accllm_sampler_accept(s, 5); /* pushed out of the ring again */
        accllm_sampler_accept(s, -1);
        accllm_sampler_accept(s, N);
        for (int i = 0; i < 16; i++) accllm_sampler_accept(s, recent[i]);
        for (uint64_t position = 0; position < 3; position++) {
            fill(logits, key++, position == 0 ? 1.0 : position == 1 ? 20.0 : 60.0);
            assert_int_equal(accllm_sampler_draw(s, logits, position), naive_draw(&p, logits, N, recent, 16, position));
        }
        accllm_sampler_free(&s);
        assert_null(s);
    }
}

static int32_t draw(accllm_sampler_params p, const float *logits, uint32_t n, uint64_t position)
{
    accllm_sampler *s;
    assert_int_equal(accllm_sampler_create(&s, &p, n, NULL), ACCLLM_OK);
    int32_t id = accllm_sampler_draw(s, logits, position);
    accllm_sampler_free(&s);
    return id;
}

static void ties_go_to_the_lowest_id(void **state)
{
    (void)state;
    const float logits[] = {1, 3, 3, 2, 3};
    assert_int_equal(draw(params(0, 0, 1, 0, 1), logits, 5, 0), 1);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(draw(params(1, 1, 1, 0, 1), logits, 5, i), 1);
        int32_t id = draw(params(1, 2, 1, 0, 1), logits, 5, i);
        assert_true(id == 1 || id == 2);
    }
}

static void a_draw_depends_on_seed_and_position_alone(void **state)
{
    (void)state;
    float logits[N];
    fill(logits, 3, 4.0);
    accllm_sampler_params p = params(1.2f, 0, 0.9f, 0, 1);
    p.seed = 42;
    int32_t first[50];
    accllm_sampler *s;
    assert_int_equal(accllm_sampler_create(&s, &p, N, NULL), ACCLLM_OK);
    for (uint64_t i = 0; i < 50; i++) first[i] = accllm_sampler_draw(s, logits, i);
    accllm_sampler_free(&s);
    int changed = 0, different = 0;
    for (uint64_t i = 50; i-- > 0;) {
        assert_int_equal(draw(p, logits, N, i), first[i]);
        different += i > 0 && first[i] != first[0];
        accllm_sampler_params other = p;
        other.seed = 43;
        changed += draw(other, logits, N, i) != first[i];
    }
    assert_true(changed > 40 && different > 40);
}

static void frequencies_follow_the_probabilities(void **state)
{
    (void)state;
    const float logits[] = {0.0f, 1.0f, 2.0f, -1.0f};
    const double z = 1 + M_E + exp(2) + exp(-1);
    accllm_sampler_params p = params(1, 0, 1, 0, 1);
    accllm_sampler *s;
    assert_int_equal(accllm_sampler_create(&s, &p, 4, NULL), ACCLLM_OK);
    int count[4] = {0};
    for (uint64_t i = 0; i < 100000; i++) count[accllm_sampler_draw(s, logits, i)]++;
    for (int i = 0; i < 4; i++)
        assert_true(fabs(count[i] / 100000.0 - exp((double)logits[i]) / z) < 0.006); /* about four sigma */
    accllm_sampler_free(&s);
}

static void not_a_number_and_infinity_follow_the_rule(void **state)
{
    (void)state;
    const float some[] = {NAN, -INFINITY, 1, NAN, 1.5f}, none[] = {NAN, -INFINITY, -NAN}, plus[] = {3, INFINITY, NAN};
    for (uint64_t i = 0; i < 200; i++) {
        int32_t id = draw(params(1e30f, 0, 1, 0, 1), some, 5, i);
        assert_true(id == 2 || id == 4);
        assert_int_equal(draw(params(1, 0, 0.95f, 0, 1), none, 3, i), 0);
        assert_int_equal(draw(params(1, 0, 0.95f, 0, 1), plus, 3, i), 1);
    }
    assert_int_equal(draw(params(0, 0, 1, 0, 1), some, 5, 0), 4);
    assert_int_equal(draw(params(0, 0, 1, 0, 1), none, 3, 0), 0);
}

/* The same as a vocabulary in which the others have no logit. */
static void only_allowed_tokens_are_drawn(void **state)
{
    enum { WORDS = (N + 63) / 64 };
    float logits[N], masked[N];
    uint64_t allowed[WORDS];
    (void)state;
    for (uint64_t c = 0; c < 60; c++) {
        accllm_sampler_params p =
            params(c % 3 ? 0.8f : 0.0f, c % 4 ? 0 : 5, c % 5 ? 1.0f : 0.9f, 0, c % 2 ? 1.5f : 1.0f);
        accllm_sampler *s, *t;
        assert_int_equal(accllm_sampler_create(&s, &p, N, NULL), ACCLLM_OK);
        assert_int_equal(accllm_sampler_create(&t, &p, N, NULL), ACCLLM_OK);
        fill(logits, c, 20);
        for (size_t i = 0; i < WORDS; i++) allowed[i] = acc_random(c, i) & acc_random(c + 1, i) & acc_random(c + 2, i);
        allowed[WORDS - 1] &= (1ull << N % 64) - 1;
        for (int i = 0; i < N; i++) masked[i] = allowed[i / 64] >> i % 64 & 1 ? logits[i] : -INFINITY;
        for (uint64_t position = 0; position < 8; position++) {
            int32_t id = accllm_sampler_draw_from(s, logits, position, allowed);
            assert_int_equal(id, accllm_sampler_draw(t, masked, position));
            accllm_sampler_accept(s, id);
            accllm_sampler_accept(t, id);
            assert_int_equal(accllm_sampler_draw_from(s, logits, position, NULL),
                             accllm_sampler_draw(s, logits, position));
        }
        for (int i = 0; i < N; i++) logits[i] = i % 2 ? NAN : -INFINITY;
        memset(allowed, 0, sizeof allowed);
        assert_int_equal(accllm_sampler_draw_from(s, logits, 0, allowed), -1);
        allowed[N / 64] = 1ull << N % 64 >> 1;
        assert_int_equal(accllm_sampler_draw_from(s, logits, 0, allowed), N - 1);
        accllm_sampler_free(&s);
        accllm_sampler_free(&t);
    }
}

/* What is no token takes no place among the recent ones. */
static void only_tokens_are_penalised(void **state)
{
    (void)state;
    const float logits[] = {1, 1.5f, 3};
    accllm_sampler_params p = params(0, 0, 1, 0, 4);
    accllm_sampler *s;
    p.repeat_last = 1;
    assert_int_equal(accllm_sampler_create(&s, &p, 3, NULL), ACCLLM_OK);
    assert_int_equal(accllm_sampler_draw(s, logits, 0), 2);
    accllm_sampler_accept(s, 2);
    accllm_sampler_accept(s, 3);
    accllm_sampler_accept(s, -1);
    assert_int_equal(accllm_sampler_draw(s, logits, 0), 1);
    accllm_sampler_accept(s, 1);
    assert_int_equal(accllm_sampler_draw(s, logits, 0), 2);
    accllm_sampler_free(&s);
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    accllm_sampler_free(NULL);
    const accllm_sampler_params bad[] = {
        params(-1, 0, 1, 0, 1),  params(NAN, 0, 1, 0, 1),   params(INFINITY, 0, 1, 0, 1), params(1, 0, 1.1f, 0, 1),
        params(1, 0, NAN, 0, 1), params(1, 0, 1, -0.1f, 1), params(1, 0, 1, 0, 0),        params(1, 0, 1, 0, INFINITY),
    };
    accllm_error err;
    accllm_sampler *s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(accllm_sampler_create(&s, &bad[i], 4, &err), ACCLLM_E_ARG);
        assert_null(s);
    }
    assert_int_equal(accllm_sampler_create(&s, NULL, 4, &err), ACCLLM_E_ARG);
    accllm_sampler_params p = params(1, 0, 1, 0, 1);
    assert_int_equal(accllm_sampler_create(&s, &p, 0, &err), ACCLLM_E_LIMIT);
    assert_int_equal(accllm_sampler_create(&s, &p, UINT32_MAX, &err), ACCLLM_E_LIMIT);
    p.struct_size = 0;
    assert_int_equal(accllm_sampler_create(&s, &p, 4, &err), ACCLLM_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_naive_sampler),
        cmocka_unit_test(ties_go_to_the_lowest_id),
        cmocka_unit_test(a_draw_depends_on_seed_and_position_alone),
        cmocka_unit_test(frequencies_follow_the_probabilities),
        cmocka_unit_test(not_a_number_and_infinity_follow_the_rule),
        cmocka_unit_test(only_allowed_tokens_are_drawn),
        cmocka_unit_test(only_tokens_are_penalised),
        cmocka_unit_test(bad_parameters_are_refused),
    };
    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
