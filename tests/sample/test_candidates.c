/* Candidates against a full sort with the same weights: ties, zeros of both signs, flat, steep and extreme logits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "sample/candidates.h"

#define N 5000

typedef struct entry {
    float logit;
    int32_t id;
    double weight;
} entry;

static int by_rank(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* Kinds of logits: many ties, a normal spread, steep, nearly flat with zeros of both signs, huge, with gaps. */
enum { KINDS = 6 };

static void fill(float *x, uint32_t n, uint32_t kind, uint64_t key)
{
    for (uint32_t i = 0; i < n; i++) {
        const double u = acc_random_unit(key, i), v = acc_random_unit(key + 1, i);
        const double spread = sqrt(-2 * log(1 - u)) * cos(6.283185307 * v);
        x[i] = kind == 0   ? (float)(floor(u * 40) / 4)
               : kind == 1 ? (float)(3 * spread)
               : kind == 2 ? (float)(40 * spread)
               : kind == 3 ? (u < 0.5   ? -0.0f
                              : v < 0.9 ? 0.0f
                                        : 1e-38f)
               : kind == 4 ? (float)(1e37 * spread)
                           : (u < 0.1   ? NAN
                              : u < 0.2 ? -INFINITY
                                        : (float)(10 * v));
    }
}

/* The finite logits within `range` of the largest, in order, with their weights at t. */
static uint32_t sorted(entry *e, const acc_candidates *c, const float *x, uint32_t n, double t, double range)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        if (x[i] >= fmaxf((float)(c->max - range), -3.4028234e38f)) e[found++] = (entry){x[i] + 0.0f, (int32_t)i, 0};
    qsort(e, found, sizeof *e, by_rank);
    for (uint32_t i = 0; i < found; i++) {
        /* of one token alone: the same rounding */
        const float alone[2] = {c->max, e[i].logit};
        acc_candidates one;
        assert_int_equal(acc_candidates_create(&one, 2, NULL), ACCLLM_OK);
        acc_candidates_look(&one, alone, NULL);
        e[i].weight = acc_candidates_mass(&one, t) - ACC_WEIGHT_ONE;
        acc_candidates_free(&one);
    }
    return found;
}

static uint32_t plain_reach(const entry *e, uint32_t n, double x, bool pass)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += e[i].weight;
        if (pass ? sum > x : sum >= x) return i + 1;
    }
    return n;
}

static int by_id(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The first m collected are the first m of e; m - 1 is the place of the last. */
static void check_first(const acc_candidates *c, const entry *e, uint32_t m, bool last)
{
    static int32_t got[N], want[N];
    if (last) assert_int_equal(acc_collected_id(c, m - 1), e[m - 1].id);
    for (uint32_t i = 0; i < m; i++) {
        got[i] = acc_collected_id(c, i);
        want[i] = e[i].id;
    }
    qsort(got, m, sizeof *got, by_id);
    qsort(want, m, sizeof *want, by_id);
    assert_memory_equal(got, want, m * sizeof *got);
}

static void check(acc_candidates *c, const float *x, uint32_t n, double t, double range, uint64_t key)
{
    static entry e[N];
    acc_candidates_look(c, x, NULL);
    const uint32_t found = sorted(e, c, x, n, t, range);
    assert_int_equal(acc_candidates_likeliest(c), e[0].id);
    double all = 0;
    for (uint32_t i = 0; i < found; i++) all += e[i].weight;
    if (range >= ACC_WEIGHT_RANGE * t) assert_true(acc_candidates_mass(c, t) == all);
    for (uint64_t draw = 0; draw < 6; draw++) {
        const bool pass = draw % 2;
        const double at = draw == 4 ? 0 : draw == 5 ? all * 2 : floor(acc_random_unit(key, draw) * all);
        acc_candidates_collect(c, at, t, range);
        const uint32_t m = acc_collected_reach(c, c->n, at, t, pass);
        assert_int_equal(m, plain_reach(e, found, at, pass));
        check_first(c, e, m, at < all);
        const uint32_t fewer = 1 + (uint32_t)(acc_random(key, 9) % m);
        assert_int_equal(acc_collected_reach(c, m, fewer * ACC_WEIGHT_ONE, INFINITY, false), fewer);
        check_first(c, e, fewer, true);
    }
}

static void equal_a_full_sort(void **state)
{
    (void)state;
    static const double temperatures[] = {1, 0.3, 5, 1e-30, 1e30, INFINITY};
    static const uint32_t sizes[] = {1, 15, 64, 65, 1000, N};
    static float x[N];
    uint64_t key = 1;
    for (uint32_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        acc_candidates c;
        assert_int_equal(acc_candidates_create(&c, sizes[s], NULL), ACCLLM_OK);
        for (uint32_t kind = 0; kind < KINDS; kind++)
            for (uint32_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
                fill(x, sizes[s], kind, key += 2);
                if (isnan(x[0]) || isinf(x[0])) x[0] = 0;
                const double range = isinf(temperatures[t]) ? 3 : ACC_WEIGHT_RANGE * temperatures[t];
                check(&c, x, sizes[s], temperatures[t], range, key);
            }
        acc_candidates_free(&c);
    }
}

static void a_mask_hides_what_it_skips(void **state)
{
    (void)state;
    const float x[130] = {[3] = 5, [70] = 9, [100] = NAN, [129] = 2};
    const uint64_t allowed[3] = {1u << 3 | 1u << 4, 0, 1u << 1};
    acc_candidates c;
    assert_int_equal(acc_candidates_create(&c, 130, NULL), ACCLLM_OK);
    for (uint32_t i = 0; i < 130; i++) c.masked[i] = 100; /* never read where nothing is allowed */
    acc_candidates_look(&c, x, allowed);
    assert_int_equal(acc_candidates_likeliest(&c), 3);
    acc_candidates_collect(&c, INFINITY, 1, 1e300);
    assert_int_equal(c.n, 3);
    assert_true(acc_candidates_mass(&c, INFINITY) == 3 * ACC_WEIGHT_ONE);
    assert_int_equal(acc_collected_above(&c, 3, 1), 1);
    assert_int_equal(acc_collected_above(&c, 3, 0.049f), 2); /* e^-3 = 0.0498, e^-5 = 0.0067 */
    assert_int_equal(acc_collected_above(&c, 3, 0.0067f), 3);
    acc_candidates_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_a_full_sort),
        cmocka_unit_test(a_mask_hides_what_it_skips),
    };
    return cmocka_run_group_tests_name("candidates", tests, NULL, NULL);
}
