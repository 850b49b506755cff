/* Tables, conversions, rounding, sums, angles, the logistic function: against long double or brute force. */
#include "common.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const long double PI = 3.14159265358979323846264338327950288L;

static void tables_are_rounded_once(void **state)
{
    (void)state;
    for (int k = 0; k <= 1024; k++) {
        assert_int_equal(bits(acc_sin_table[k]), bits((float)sinl(PI * k / 2048)));
        assert_int_equal(bits(acc_sigmoid_table[k]), bits((float)(1 / (1 + expl(16 - k / 32.0L)))));
    }
    for (int k = 0; k <= 64; k++) assert_int_equal(acc_exp2_table[k], lrintl(32768 * exp2l(k / 64.0L)));
    for (int k = 0; k < 64; k++) {
        assert_int_equal(acc_exp2_bytes[0][k] + 256 * acc_exp2_bytes[1][k], acc_exp2_table[k]);
        assert_int_equal(acc_exp2_bytes[2][k] + 256 * acc_exp2_bytes[3][k], acc_exp2_table[k + 1] - acc_exp2_table[k]);
    }
}

/* The value of f16 bits from their definition. */
static double f16_value(uint32_t h)
{
    int e = (h >> 10) & 31, f = h & 1023;
    double x = e ? ldexp(1 + f / 1024.0, e - 15) : ldexp(f, -24);
    return h & 0x8000 ? -x : x;
}

static void f16_widens_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = acc_f16_to_f32((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(x));
        } else if ((h & 0x7fff) == 0x7c00) {
            assert_true(isinf(x) && !signbit(x) == !(h & 0x8000));
        } else {
            assert_true((double)x == f16_value(h) && !signbit(x) == !(h & 0x8000));
            assert_int_equal(acc_f32_to_f16(x), h);
        }
    }
}

/* Between neighbours: each side of every midpoint, and the midpoint itself. */
static void f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double upper = h == 0x7bff ? 65536 : f16_value(h + 1);
        float mid = (float)((f16_value(h) + upper) / 2); /* exact */
        for (uint32_t sign = 0; sign < 2; sign++) {
            float s = sign ? -1 : 1;
            assert_int_equal(acc_f32_to_f16(s * mid), (sign << 15) | (h + (h & 1)));
            assert_int_equal(acc_f32_to_f16(s * nextafterf(mid, 0)), (sign << 15) | h);
            assert_int_equal(acc_f32_to_f16(s * nextafterf(mid, INFINITY)), (sign << 15) | (h + 1));
        }
    }
    assert_int_equal(acc_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(acc_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(acc_f32_to_f16(from_bits(1)), 0);
    assert_int_equal(acc_f32_to_f16(-0.0f), 0x8000);
    assert_true((acc_f32_to_f16(NAN) & 0x7fff) > 0x7c00);
    assert_true((acc_f32_to_f16(from_bits(0x7f800001)) & 0x7fff) > 0x7c00);
}

#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) static void compare_f16c(void)
{
    for (uint32_t h = 0; h < 65536; h++)
        assert_int_equal(bits(_cvtsh_ss((uint16_t)h)), bits(acc_f16_to_f32((uint16_t)h)));
    for (uint64_t u = 0; u < UINT64_C(1) << 32; u += 211) {
        float x = from_bits((uint32_t)u);
        if (_cvtss_sh(x, 0) != acc_f32_to_f16(x)) fail_msg("%08x", (unsigned)u);
    }
}
#endif

static void f16_equals_the_processor(void **state)
{
    (void)state;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2")) {
        compare_f16c();
        return;
    }
#endif
    skip();
}

static void rne_is_nearest_ties_to_even(void **state)
{
    (void)state;
    for (int32_t k = -70000; k <= 70000; k++) {
        float half = (float)k + 0.5f;
        assert_int_equal(acc_rne((float)k), k);
        assert_int_equal(acc_rne(half), k + (k & 1));
        assert_int_equal(acc_rne(nextafterf(half, -INFINITY)), k);
        assert_int_equal(acc_rne(nextafterf(half, INFINITY)), k + 1);
    }
    for (uint32_t u = 0; u < 0x4f000000; u += 1009) {
        float x = from_bits(u);
        assert_int_equal(acc_rne(x), lrint(x));
        assert_int_equal(acc_rne(-x), lrint(-x));
    }
    assert_int_equal(acc_rne(from_bits(0x4effffff)), 2147483520);
    assert_int_equal(acc_rne(from_bits(0xcf000000)), INT32_MIN);
}

static void sums_follow_the_order(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 31, 63, 64, 65, 100, 576, 1536, 4097};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint32_t n = sizes[s];
        float *x = random_vector(s, n + 1, 3), *y = random_vector(s + 100, n + 1, 1);
        float expect[3] = {0};
        for (int what = 0; what < 3; what++) {
            volatile float p[64]; /* as the definition reads */
            for (int j = 0; j < 64; j++) {
                p[j] = +0.0f;
                for (uint32_t i = (uint32_t)j; i < n; i += 64) {
                    volatile float term = what == 0 ? x[i] : what == 1 ? x[i] * x[i] : x[i] * y[i];
                    p[j] = p[j] + term;
                }
            }
            for (int j = 0; j < 32; j++) p[j] = p[j] + p[j + 32];
            for (int j = 0; j < 16; j++) p[j] = p[j] + p[j + 16];
            for (int j = 0; j < 8; j++) p[j] = p[j] + p[j + 8];
            for (int j = 0; j < 4; j++) p[j] = p[j] + p[j + 4];
            p[0] = p[0] + p[2];
            p[1] = p[1] + p[3];
            expect[what] = p[0] + p[1];
        }
        assert_int_equal(bits(acc_sum(x, n)), bits(expect[0]));
        assert_int_equal(bits(acc_sum_squares(x, n)), bits(expect[1]));
        assert_int_equal(bits(acc_sum_products(x, y, n)), bits(expect[2]));
        free(x);
        free(y);
    }
    float zero = -0.0f;
    assert_int_equal(bits(acc_sum(&zero, 1)), 0);
    /* The order matters: one large element swallows only what shares its partial. */
    const float z[65] = {[0] = 0x1p+24f, [1] = 1, [3] = 1, [64] = 1};
    assert_true(acc_sum(z, 65) == 0x1p+24f + 2);
}

static void angles_are_within_their_error(void **state)
{
    (void)state;
    long double worst = 0;
    for (uint64_t i = 0; i < 400000; i++) {
        uint64_t phase = i < 4096 ? i << 52 : acc_random(5, i);
        if (i % 7 == 0) phase = (phase & ~((UINT64_C(1) << 52) - 1)) + (UINT64_C(1) << 51); /* middle of a cell */
        long double turn = ldexpl((long double)phase, -64) * 2 * PI;
        float s, c;
        acc_sincos(phase, &s, &c);
        worst = fmaxl(worst, fmaxl(fabsl(s - sinl(turn)), fabsl(c - cosl(turn))));
    }
    print_message("sin and cos: worst error %.3Lg\n", worst);
    assert_true(worst <= 3.6e-7L);
}

static void angles_at_the_quadrants_are_exact(void **state)
{
    (void)state;
    static const float expect[4][2] = {{0, 1}, {1, 0}, {0, -1}, {-1, 0}};
    for (uint64_t q = 0; q < 4; q++) {
        float s, c;
        acc_sincos(q << 62, &s, &c);
        assert_true(s == expect[q][0] && c == expect[q][1]);
    }
    uint64_t steps[2] = {UINT64_C(1) << 62, UINT64_C(1) << 60};
    float c[2], s[2], s1, c1;
    acc_rope_angles((UINT64_C(1) << 32) + 1, steps, 4, c, s);
    assert_true(c[0] == 0 && s[0] == 1);
    acc_sincos(UINT64_C(1) << 60, &s1, &c1);
    assert_true(c[1] == c1 && s[1] == s1);
    float x[4] = {1, 2, 3, 4};
    acc_rope_rotate(x, c, s, 4);
    assert_true(x[0] == -3 && x[2] == 1);
    assert_int_equal(bits(x[1]), bits(2 * c1 - 4 * s1));
    assert_int_equal(bits(x[3]), bits(4 * c1 + 2 * s1));
}

static void sigmoid_over_its_range(void **state)
{
    (void)state;
    double worst = 0;
    float last = 0;
    for (double t = -16.25; t <= 16.25; t += 0x1p-15) {
        float x = (float)t, y = acc_sigmoid(x);
        worst = fmax(worst, fabs(y - 1 / (1 + exp(-t))));
        assert_true(y >= last);
        last = y;
    }
    print_message("sigmoid: worst error %.3g\n", worst);
    assert_true(worst < 1.3e-5);
    for (uint32_t u = 0; u < 0x7f800000; u += 4099) {
        float x = from_bits(u), y = acc_sigmoid(x), z = acc_sigmoid(-x);
        assert_true(y >= 0.5f && y <= 1 && z >= 0 && z <= 0.5f);
    }
    assert_true(acc_sigmoid(0) == 0.5f && acc_sigmoid(-0.0f) == 0.5f);
    assert_true(acc_sigmoid(16) == 1 && acc_sigmoid(INFINITY) == 1 && acc_sigmoid(NAN) == 1);
    assert_true(acc_sigmoid(-16) == acc_sigmoid_table[0] && acc_sigmoid(nextafterf(-16, -17)) == 0);
    assert_true(acc_sigmoid(nextafterf(16, 0)) == acc_sigmoid_table[1024]);
}

static void silu_mul_keeps_what_is_not_finite(void **state)
{
    (void)state;
    float gate[5] = {1, -20, NAN, -INFINITY, INFINITY}, up[5] = {3, 2, 1, 1, 1}, y[5];
    acc_silu_mul(gate, up, y, 5);
    assert_int_equal(bits(y[0]), bits(acc_sigmoid(1) * 3));
    assert_int_equal(bits(y[1]), bits(-0.0f));
    assert_true(isnan(y[2]) && isnan(y[3]) && isinf(y[4]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_rounded_once),       cmocka_unit_test(f16_widens_exactly),
        cmocka_unit_test(f16_rounds_to_nearest_even),    cmocka_unit_test(f16_equals_the_processor),
        cmocka_unit_test(rne_is_nearest_ties_to_even),   cmocka_unit_test(sums_follow_the_order),
        cmocka_unit_test(angles_are_within_their_error), cmocka_unit_test(angles_at_the_quadrants_are_exact),
        cmocka_unit_test(sigmoid_over_its_range),        cmocka_unit_test(silu_mul_keeps_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
