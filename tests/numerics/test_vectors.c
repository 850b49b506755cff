/* A8, RMSNorm, the Hadamard transform and the cache's codes: against double, with special values. */
#include "common.h"

static void a8_follows_the_rule(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        uint32_t n = 1 + (uint32_t)(acc_random(1, seed) % 700), pad = (n + 63) / 64 * 64;
        float *x = random_vector(seed, n, ldexpf(1, (int)(seed * 4) - 96)), scale;
        int8_t a[768];
        memset(a, 99, sizeof a);
        assert_true(acc_a8(x, n, pad, a, &scale));
        float m = 0;
        for (uint32_t i = 0; i < n; i++) m = fmaxf(m, fabsf(x[i]));
        assert_int_equal(bits(scale), bits(m / 127));
        float inv = 127 / m;
        int top = 0;
        for (uint32_t i = 0; i < n; i++) {
            long v = lrintf(x[i] * inv);
            assert_int_equal(a[i], v > 127 ? 127 : v < -127 ? -127 : v);
            assert_true(fabs(a[i] * (double)scale - x[i]) <= 0.5001 * scale);
            if (abs(a[i]) > top) top = abs(a[i]);
        }
        assert_int_equal(top, 127);
        for (uint32_t i = n; i < pad; i++) assert_int_equal(a[i], 0);
        assert_int_equal(a[pad], 99);
        free(x);
    }
}

static void a8_special_values(void **state)
{
    (void)state;
    int8_t a[32];
    float scale;
    float zeros[3] = {0, -0.0f, from_bits(1)};
    assert_true(acc_a8(zeros, 3, 32, a, &scale) && bits(scale) == 0 && a[0] == 0 && a[2] == 0);
    float below[1] = {nextafterf(0x1p-100f, 0)}, at[2] = {0x1p-100f, -0x1p-100f};
    assert_true(acc_a8(below, 1, 1, a, &scale) && bits(scale) == 0 && a[0] == 0);
    assert_true(acc_a8(at, 2, 2, a, &scale) && a[0] == 127 && a[1] == -127 && scale == 0x1p-100f / 127);
    float huge[2] = {3.4028235e38f, 1.0f};
    assert_true(acc_a8(huge, 2, 2, a, &scale) && a[0] == 127 && a[1] == 0);
    for (int i = 0; i < 3; i++) {
        float bad[3] = {1, 2, 3};
        bad[i] = NAN;
        assert_false(acc_a8(bad, 3, 3, a, &scale));
        bad[i] = -INFINITY;
        assert_false(acc_a8(bad, 3, 3, a, &scale));
    }
}

static void norm_follows_the_rule(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        uint32_t n = 17 + (uint32_t)seed * 50;
        float *x = random_vector(seed, n, 2), *g = random_vector(seed + 1000, n, 1), *y = random_vector(0, n, 0), scale;
        int8_t a[1024], b[1024];
        float z[1024], zs;
        assert_true(acc_norm_a8(x, g, n, 1024, 1e-5f, a, &scale));
        double square = 0;
        for (uint32_t i = 0; i < n; i++) {
            square += (double)x[i] * x[i];
            z[i] = x[i] * g[i];
        }
        assert_true(acc_a8(z, n, 1024, b, &zs)); /* r is not part of the codes */
        assert_memory_equal(a, b, 1024);
        float r = 1 / sqrtf(acc_sum_squares(x, n) / (float)n + 1e-5f);
        assert_int_equal(bits(scale), bits(zs * r));
        double exact = 1 / sqrt(square / n + 1e-5);
        assert_true(fabs(r / exact - 1) < 1e-6);
        assert_true(acc_norm(x, g, n, 1e-5f, y));
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(bits(y[i]), bits((x[i] * g[i]) * r));
            assert_true(fabs(y[i] - (double)x[i] * g[i] * exact) <= 1e-6 * fabs(y[i]));
        }
        free(x);
        free(g);
        free(y);
    }
}

static void norm_special_values(void **state)
{
    (void)state;
    int8_t a[32];
    float scale, y[2], g[2] = {1, 1}, zero[2] = {0, 0};
    assert_true(acc_norm_a8(zero, g, 2, 32, 1e-5f, a, &scale) && scale == 0 && a[0] == 0);
    assert_false(acc_norm_a8(zero, g, 2, 32, 0, a, &scale)); /* 1 / sqrt(0) */
    float wide[2] = {3e38f, 1};
    assert_false(acc_norm_a8(wide, g, 2, 32, 1e-5f, a, &scale)); /* the sum of squares overflows */
    assert_false(acc_norm(wide, g, 2, 1e-5f, y));
    float one[2] = {1, 1}, bad[2] = {NAN, 1};
    assert_false(acc_norm_a8(bad, g, 2, 32, 1e-5f, a, &scale));
    assert_false(acc_norm_a8(one, bad, 2, 32, 1e-5f, a, &scale));
    assert_false(acc_norm(one, bad, 2, 1e-5f, y));
}

static void hadamard_is_the_matrix(void **state)
{
    (void)state;
    static const uint32_t dims[] = {8, 48, 64, 80, 96, 128, 256};
    static const uint32_t blocks[] = {8, 16, 64, 16, 32, 128, 256};
    for (size_t t = 0; t < sizeof dims / sizeof *dims; t++) {
        uint32_t n = dims[t], block = acc_hadamard_block(n);
        assert_int_equal(block, blocks[t]);
        float *x = random_vector(t, n, 1), y[256];
        memcpy(y, x, n * sizeof *x);
        acc_hadamard(y, n, block);
        for (uint32_t i = 0; i < n; i++) {
            double sum = 0; /* Sylvester: the sign is the parity of the common bits */
            for (uint32_t j = 0; j < block; j++)
                sum += __builtin_parity(i % block & j) ? -x[i / block * block + j] : x[i / block * block + j];
            assert_true(fabs(y[i] - sum) < 1e-5 * block);
        }
        acc_hadamard(y, n, block);
        for (uint32_t i = 0; i < n; i++) assert_true(fabs(y[i] / block - x[i]) < 1e-5);
        free(x);
    }
    float one[3] = {1, 2, 3};
    acc_hadamard(one, 3, 1);
    assert_true(one[0] == 1 && one[1] == 2 && one[2] == 3);
}

static void kv4_follows_the_rule(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        float x[64], shift = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 9 : -9;
        for (uint32_t i = 0; i < 64; i++) x[i] = (normal(seed, i) + shift) * ldexpf(1, (int)(seed % 23) - 14);
        uint8_t u[64], zero;
        uint16_t bits16;
        assert_true(acc_kv4(x, 64, u, &bits16, &zero));
        double s = acc_f16_to_f32(bits16), lo = 0, hi = 0;
        for (uint32_t i = 0; i < 64; i++) {
            lo = x[i] < lo ? x[i] : lo; /* gcc 12 for AArch64 breaks on fmin and fmax here */
            hi = x[i] > hi ? x[i] : hi;
        }
        assert_true(fabs(s - (hi - lo) / 15) <= fmax((hi - lo) / 15 * 0x1p-11, 0x1p-25) * 1.001);
        assert_true(zero <= 15);
        if (shift > 0) assert_int_equal(zero, 0);
        if (shift < 0) assert_int_equal(zero, 15);
        for (uint32_t i = 0; i < 64; i++) {
            assert_true(u[i] <= 15);
            /* Half a step, and what the rounded scale and zero lose at the ends. */
            if (s > 0x1p-14) assert_true(fabs((u[i] - (int)zero) * s - x[i]) <= 0.52 * s + 15 * s * 0x1p-11 + 0.5 * s);
        }
    }
}

static void kv4_special_values(void **state)
{
    (void)state;
    uint8_t u[4], zero;
    uint16_t s;
    float zeros[4] = {0, -0.0f, 1e-9f, -1e-9f};
    assert_true(acc_kv4(zeros, 4, u, &s, &zero) && s == 0 && zero == 0 && u[2] == 0);
    /* Step 1: codes are the numbers themselves; ties go to the even one. */
    float x[4] = {-5, 10, 0.5f, 1.5f};
    assert_true(acc_kv4(x, 4, u, &s, &zero) && s == 0x3c00 && zero == 5);
    assert_true(u[0] == 0 && u[1] == 15 && u[2] == 5 && u[3] == 7);
    float wide[2] = {-500000, 500000}, limit[2] = {0, 65519.0f * 15};
    assert_false(acc_kv4(wide, 2, u, &s, &zero));
    assert_true(acc_kv4(limit, 2, u, &s, &zero) && s == 0x7bff && u[1] == 15);
    float over[2] = {-3e38f, 3e38f}, nan[2] = {1, NAN}, inf[2] = {-INFINITY, 0};
    assert_false(acc_kv4(over, 2, u, &s, &zero));
    assert_false(acc_kv4(nan, 2, u, &s, &zero));
    assert_false(acc_kv4(inf, 2, u, &s, &zero));
    float small[2] = {15 * 0x1.7p-24f,
                      -0x1p-24f}; /* a subnormal f16 scale: 1.5 rounds to 2 units, codes stay in range */
    assert_true(acc_kv4(small, 2, u, &s, &zero) && u[0] <= 15);
}

/* The rule of docs/numerics.md for keys, written anew: the candidate with the greatest gain, and its fitted scale. */
static bool key_rule(const float *x, uint32_t n, const float *m, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    float lo = 0, hi = 0, best = 0, fit;
    for (uint32_t i = 0; i < n; i++) {
        lo = fminf(lo, x[i]);
        hi = fmaxf(hi, x[i]);
    }
    const float step = (hi - lo) * (float)(1.0 / 15);
    fit = step;
    for (int c = 0; c < 8; c++) {
        const float inv = 1.0f / (step * ((float)(32 - c) / 32.0f));
        float v[256], zm[256] = {0};
        uint8_t codes[256];
        int z = (int)acc_rne(7.5f - ((lo + hi) * 0.5f) * inv);
        z = z < 0 ? 0 : z > 15 ? 15 : z;
        for (uint32_t i = 0; i < n; i++) {
            int code = (int)acc_rne(x[i] * inv) + z;
            codes[i] = (uint8_t)(code < 0 ? 0 : code > 15 ? 15 : code);
            v[i] = (float)(codes[i] - z);
        }
        if (!m) m = zm;
        const float vm = acc_sum_products(v, m, n);
        const float a = acc_sum_products(x, v, n) + acc_sum_products(x, m, n) * vm;
        const float b = acc_sum_products(v, v, n) + vm * vm;
        if (m == zm) m = NULL;
        const float gain = a > 0 ? a * (a / b) : 0;
        if (c && gain <= best) continue;
        best = gain;
        if (gain > 0) fit = a / b;
        memcpy(u, codes, n);
        *zero = (uint8_t)z;
    }
    *scale = acc_f32_to_f16(fit);
    return *scale < 0x7c00;
}

static double key_error(const float *x, uint32_t n, const float *m, const uint8_t *u, uint16_t scale, uint8_t zero)
{
    double square = 0, along = 0;
    for (uint32_t i = 0; i < n; i++) {
        double e = (double)acc_f16_to_f32(scale) * (u[i] - (int)zero) - (double)x[i];
        square += e * e;
        along += m ? e * (double)m[i] : 0;
    }
    return square + along * along;
}

static void kv4_key_follows_the_rule(void **state)
{
    (void)state;
    double searched = 0, plain = 0;
    static const uint32_t sizes[] = {8, 48, 64, 128, 256};
    for (uint64_t seed = 0; seed < 400; seed++) {
        const uint32_t n = sizes[seed % 5];
        const float shift = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 9 : -9, size = ldexpf(1, (int)(seed % 23) - 14);
        float x[256], direction[256], *m = seed % 4 ? direction : NULL;
        for (uint32_t i = 0; i < n; i++) {
            x[i] = (normal(seed, i) + shift) * size;
            direction[i] = normal(seed + 1000, i) * (seed % 4 == 1 ? 0.6f : 20.0f);
        }
        uint8_t u[2][256], zero[2];
        uint16_t scale[2];
        assert_true(acc_kv4_key(x, n, m, u[0], &scale[0], &zero[0]));
        assert_true(key_rule(x, n, m, u[1], &scale[1], &zero[1]));
        assert_memory_equal(u[0], u[1], n);
        assert_true(scale[0] == scale[1] && zero[0] == zero[1]);
        if (shift != 0 || seed % 4 != 1) continue;
        searched += key_error(x, n, m, u[0], scale[0], zero[0]) / size / size;
        assert_true(acc_kv4(x, n, u[1], &scale[1], &zero[1]));
        plain += key_error(x, n, m, u[1], scale[1], zero[1]) / size / size;
    }
    assert_true(searched < 0.8 * plain);
}

static void kv4_key_special_values(void **state)
{
    (void)state;
    uint8_t u[4], zero;
    uint16_t s;
    float zeros[4] = {0, -0.0f, 1e-9f, -1e-9f}, x[4] = {-5, 10, 1, 3};
    assert_true(acc_kv4_key(zeros, 4, NULL, u, &s, &zero) && s == 0 && zero == 0 && u[2] == 0);
    assert_true(acc_kv4_key(x, 4, NULL, u, &s, &zero) && s == 0x3c00 && zero == 5); /* exact at step 1 */
    assert_true(u[0] == 0 && u[1] == 15 && u[2] == 6 && u[3] == 8);
    float over[2] = {-3e38f, 3e38f}, nan[2] = {1, NAN}, inf[2] = {-INFINITY, 0}, wide[2] = {-500000, 500000};
    assert_false(acc_kv4_key(over, 2, NULL, u, &s, &zero));
    assert_false(acc_kv4_key(nan, 2, NULL, u, &s, &zero));
    assert_false(acc_kv4_key(inf, 2, NULL, u, &s, &zero));
    assert_false(acc_kv4_key(wide, 2, NULL, u, &s, &zero));
    /* Directions that no compressor writes: an error or codes in range, whatever the sums become. */
    static const float sizes[] = {1e10f, 1e30f, 3e38f, -3e38f};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float m[4] = {sizes[i], -sizes[i], sizes[i], sizes[i]};
        if (!acc_kv4_key(x, 4, m, u, &s, &zero)) continue;
        assert_true(s < 0x7c00 && zero <= 15 && u[0] <= 15 && u[1] <= 15 && u[2] <= 15 && u[3] <= 15);
    }
}

static void kv8_follows_the_rule(void **state)
{
    (void)state;
    int8_t u[64];
    uint16_t s;
    for (uint64_t seed = 0; seed < 300; seed++) {
        float x[64];
        for (uint32_t i = 0; i < 64; i++) x[i] = normal(seed, i) * ldexpf(1, (int)(seed % 23) - 7);
        assert_true(acc_kv8(x, 64, u, &s));
        double scale = acc_f16_to_f32(s);
        for (uint32_t i = 0; i < 64; i++)
            assert_true(fabs(u[i] * scale - x[i]) <= 0.51 * scale + 127 * fmax(scale * 0x1p-11, 0x1p-25));
    }
    float x[4] = {127, -127, 2.5f, -3.5f}, zeros[2] = {0, -0.0f}, wide[1] = {-8.4e6f}, nan[2] = {NAN, 1};
    assert_true(acc_kv8(x, 4, u, &s) && s == 0x3c00 && u[0] == 127 && u[1] == -127 && u[2] == 2 && u[3] == -4);
    assert_true(acc_kv8(zeros, 2, u, &s) && s == 0 && u[0] == 0);
    assert_false(acc_kv8(wide, 1, u, &s));
    assert_false(acc_kv8(nan, 2, u, &s));
    float tiny[2] = {127 * 0x1.8p-24f, -127 * 0x1.8p-24f};
    assert_true(acc_kv8(tiny, 2, u, &s) && u[0] == -u[1] && u[0] > 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a8_follows_the_rule),      cmocka_unit_test(a8_special_values),
        cmocka_unit_test(norm_follows_the_rule),    cmocka_unit_test(norm_special_values),
        cmocka_unit_test(hadamard_is_the_matrix),   cmocka_unit_test(kv4_follows_the_rule),
        cmocka_unit_test(kv4_key_follows_the_rule), cmocka_unit_test(kv4_key_special_values),
        cmocka_unit_test(kv4_special_values),       cmocka_unit_test(kv8_follows_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
