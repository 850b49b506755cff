/* kv_turn, kv4, kv4_key and kv8 of every set against the scalar ones. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "numerics/numerics.h"

static const uint32_t dims[] = {2, 6, 16, 24, 30, 32, 48, 64, 80, 96, 100, 128, 192, 256};

#define N_DIMS (sizeof dims / sizeof *dims)
#define N_STYLES 10

static void fill(float *x, uint32_t n, check_random *r, uint32_t style)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = (float)((double)(int64_t)check_next(r) * 0x1p-60);
        if (style == 1) x[i] = fabsf(x[i]);
        if (style == 2) x[i] = check_next(r) & 1 ? 0.0f : -0.0f;
        if (style == 3) x[i] = ldexpf(x[i], (int)(check_next(r) % 40) - 20);
        if (style == 4) x[i] = (float)((int)(check_next(r) % 31) - 15) * 0.5f; /* ties */
        if (style == 7) x[i] *= 0x1p-22f;                                      /* f16 subnormals */
        if (style == 8) x[i] *= 0x1p+17f;                                      /* f16 overflow, now and then */
        if (style == 9) x[i] *= 0x1p-27f;
    }
    if (style == 5) x[check_next(r) % n] = NAN;
    if (style == 6) x[check_next(r) % n] = check_next(r) & 1 ? INFINITY : -INFINITY;
}

typedef struct coded {
    bool ok;
    uint8_t u[ACC_MAX_HEAD_DIM], zero;
    uint16_t scale;
} coded;

/* Which: 0 kv8, 1 kv4, 2 kv4_key, 3 kv4_key with a direction. */
static coded code(const acc_kernels *k, const float *x, const float *direction, uint32_t n, int which)
{
    coded c = {0};
    if (which == 0)
        c.ok = k->kv8(x, n, (int8_t *)c.u, &c.scale);
    else if (which == 1)
        c.ok = k->kv4(x, n, c.u, &c.scale, &c.zero);
    else
        c.ok = k->kv4_key(x, n, which == 3 ? direction : NULL, c.u, &c.scale, &c.zero);
    return c;
}

static void check_turn(const acc_kernels *k, const acc_kernels *ref, uint32_t n, check_random *r, const float *key,
                       const float *mu)
{
    _Alignas(64) float cos[ACC_MAX_HEAD_DIM], sin[ACC_MAX_HEAD_DIM], x[ACC_MAX_HEAD_DIM], y[ACC_MAX_HEAD_DIM];
    fill(cos, n / 2, r, 0);
    fill(sin, n / 2, r, 0);
    for (int sink = 0; sink < 2; sink++) {
        const uint32_t block = sink ? 1 : acc_hadamard_block(n);
        ref->kv_turn(key, cos, sin, sink ? NULL : mu, n, block, x);
        k->kv_turn(key, cos, sin, sink ? NULL : mu, n, block, y);
        for (uint32_t i = 0; i < n; i++) assert_true(memcmp(&x[i], &y[i], 4) == 0 || (isnan(x[i]) && isnan(y[i])));
    }
}

void check_kv(void **state)
{
    acc_kernels k, ref;
    check_set(&k, *state);
    assert_int_equal(acc_kernels_select(&ref, "scalar", NULL), ACCLLM_OK);
    for (uint32_t t = 0; t < N_DIMS * N_STYLES * 4; t++) {
        check_random r = {.seed = 77 + t};
        const uint32_t n = dims[t % N_DIMS], style = t / N_DIMS % N_STYLES;
        check_buffer x = check_alloc(4 * n), d = check_alloc(4 * n);
        fill(check_floats(&x), n, &r, style);
        fill(check_floats(&d), n, &r, 0);
        for (int which = 0; which < 4; which++) {
            const coded a = code(&ref, check_floats(&x), check_floats(&d), n, which),
                        b = code(&k, check_floats(&x), check_floats(&d), n, which);
            assert_int_equal(a.ok, b.ok);
            if (style == 5 || style == 6) assert_false(a.ok);
            if (!a.ok) continue;
            assert_memory_equal(a.u, b.u, n);
            assert_int_equal(a.scale, b.scale);
            assert_int_equal(a.zero, b.zero);
        }
        check_turn(&k, &ref, n, &r, check_floats(&x), check_floats(&d));
        check_release(&x);
        check_release(&d);
    }
}
