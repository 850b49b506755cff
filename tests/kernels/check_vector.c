/* a8, norm_a8, silu_mul and scale of every set against the scalar ones. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "numerics/numerics.h"

static const uint32_t sizes[] = {1,  2,   7,   8,   31,  32,  33,   48,   63,   64,
                                 65, 100, 127, 128, 192, 576, 1000, 1536, 4096, 4097};

#define N_SIZES (sizeof sizes / sizeof *sizes)
#define N_STYLES 9

static void fill(float *x, uint32_t n, check_random *r, uint32_t style)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = (float)((double)(int64_t)check_next(r) * 0x1p-60);
        if (style == 1) x[i] = check_next(r) & 1 ? 0x1.fffffep-101f : -0x1p-103f;
        if (style == 2) x[i] = check_next(r) & 1 ? 0.0f : -0.0f;
        if (style == 3) x[i] = ldexpf(x[i], (int)(check_next(r) % 250) - 125);
        if (style == 4) x[i] = (float)(int)(check_next(r) % 255) - 127 + (check_next(r) & 1 ? 0.5f : 0);
        if (style == 7) x[i] *= 20;
    }
    if (style == 4) x[check_next(r) % n] = 127; /* scale 1: ties */
    if (style == 5) x[check_next(r) % n] = NAN;
    if (style == 6) x[check_next(r) % n] = check_next(r) & 1 ? INFINITY : -INFINITY;
    if (style == 8) x[check_next(r) % n] = 0x1p-100f;
}

static void check_codes(void **state, bool norm)
{
    acc_kernels k, ref;
    check_set(&k, *state);
    assert_int_equal(acc_kernels_select(&ref, "scalar", NULL), ACCLLM_OK);
    for (uint32_t t = 0; t < N_SIZES * N_STYLES; t++) {
        check_random r = {.seed = 31 + t};
        uint32_t n = sizes[t % N_SIZES], pad = (n + 63) / 64 * 64, style = t / N_SIZES;
        check_buffer x = check_alloc(4 * n), g = check_alloc(4 * n), a = check_alloc(pad), b = check_alloc(pad);
        fill(check_floats(&x), n, &r, style);
        fill(check_floats(&g), n, &r, style == 3 ? 3 : 0);
        float s = -1, u = -1;
        bool ok;
        if (norm) {
            ok = ref.norm_a8(check_floats(&x), check_floats(&g), n, pad, 1e-5f, (int8_t *)a.data, &s);
            assert_int_equal(k.norm_a8(check_floats(&x), check_floats(&g), n, pad, 1e-5f, (int8_t *)b.data, &u), ok);
        } else {
            ok = ref.a8(check_floats(&x), n, pad, (int8_t *)a.data, &s);
            assert_int_equal(k.a8(check_floats(&x), n, pad, (int8_t *)b.data, &u), ok);
        }
        if (style == 5 || style == 6) assert_false(ok);
        if (ok) {
            assert_memory_equal(a.data, b.data, pad);
            assert_memory_equal(&s, &u, 4);
        }
        check_buffer *all[] = {&x, &g, &a, &b};
        for (size_t i = 0; i < 4; i++) check_release(all[i]);
    }
}

void check_a8(void **state)
{
    check_codes(state, false);
}

void check_norm_a8(void **state)
{
    check_codes(state, true);
}

/* Equal bits, or both not a number. */
static void same(const float *a, const float *b, uint32_t n, uint32_t test)
{
    for (uint32_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], 4) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("test %u: element %u of %u: %a against %a", test, i, n, (double)b[i], (double)a[i]);
}

void check_silu_mul(void **state)
{
    acc_kernels k, ref;
    check_set(&k, *state);
    assert_int_equal(acc_kernels_select(&ref, "scalar", NULL), ACCLLM_OK);
    for (uint32_t t = 0; t < N_SIZES * N_STYLES; t++) {
        check_random r = {.seed = 5 + t};
        uint32_t n = sizes[t % N_SIZES];
        check_buffer gate = check_alloc(4 * n), up = check_alloc(4 * n), a = check_alloc(4 * n), b = check_alloc(4 * n);
        fill(check_floats(&gate), n, &r, t / N_SIZES);
        fill(check_floats(&up), n, &r, 0);
        if (n > 6) {
            const float edges[] = {-16, 16, nextafterf(-16, -17), nextafterf(16, 0), nextafterf(-16, 0), NAN};
            memcpy(check_floats(&gate) + check_next(&r) % (n - 6), edges, sizeof edges);
        }
        ref.silu_mul(check_floats(&gate), check_floats(&up), check_floats(&a), n);
        k.silu_mul(check_floats(&gate), check_floats(&up), check_floats(&b), n);
        same(check_floats(&a), check_floats(&b), n, t);
        check_buffer *all[] = {&gate, &up, &a, &b};
        for (size_t i = 0; i < 4; i++) check_release(all[i]);
    }
    /* Every cell of the table and then some: all floats of the range in steps. */
    float x[1024], one[1024], y[1024], z[1024];
    for (uint32_t i = 0; i < 1024; i++) one[i] = 1;
    for (uint32_t at = 0; at < 0x41900000; at += 1024 * 731)
        for (uint32_t sign = 0; sign < 2; sign++) {
            for (uint32_t i = 0; i < 1024; i++) {
                uint32_t bits = (at + 731 * i) | sign << 31;
                memcpy(&x[i], &bits, 4);
            }
            ref.silu_mul(x, one, y, 1024);
            k.silu_mul(x, one, z, 1024);
            same(y, z, 1024, at);
        }
}

void check_scale(void **state)
{
    acc_kernels k, ref;
    check_set(&k, *state);
    assert_int_equal(acc_kernels_select(&ref, "scalar", NULL), ACCLLM_OK);
    for (uint32_t t = 0; t < N_SIZES * 4; t++) {
        check_random r = {.seed = 9 + t};
        uint32_t n = sizes[t % N_SIZES], style = t / N_SIZES;
        check_buffer sum = check_alloc(4 * n), rs = check_alloc(4 * n), bias = check_alloc(4 * n),
                     a = check_alloc(4 * n);
        check_buffer b = check_alloc(4 * n);
        int32_t *isum = (int32_t *)(void *)sum.data;
        for (uint32_t i = 0; i < n; i++) isum[i] = (int32_t)(uint32_t)(check_next(&r) >> (style == 1 ? 0 : 12) % 32);
        if (style == 1) isum[0] = INT32_MIN;
        fill(check_floats(&rs), n, &r, style == 2 ? 3 : 0);
        fill(check_floats(&bias), n, &r, 0);
        const float *add = t % 2 ? check_floats(&bias) : NULL;
        ref.scale(isum, check_floats(&rs), 0.37f, add, check_floats(&a), n);
        k.scale(isum, check_floats(&rs), 0.37f, add, check_floats(&b), n);
        same(check_floats(&a), check_floats(&b), n, t);
        check_buffer *all[] = {&sum, &rs, &bias, &a, &b};
        for (size_t i = 0; i < 5; i++) check_release(all[i]);
    }
}
