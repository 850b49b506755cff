/* Activations as 8-bit codes, and RMSNorm: docs/numerics.md "Activations (A8) and RMSNorm". */
#include <math.h>
#include <string.h>

#include "numerics/numerics.h"

/* The bits of |x|: ordered like the values, with infinity and NaN above every number. */
static uint32_t magnitude(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x7fffffff;
}

static int8_t code(float x, float inv)
{
    int32_t a = acc_rne(x * inv);
    return (int8_t)(a > 127 ? 127 : a < -127 ? -127 : a);
}

/* max |x|; false: NaN or infinity. g (may be NULL) multiplies x first. */
static bool max_abs(const float *x, const float *g, uint32_t n, float *m)
{
    uint32_t top = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t b = magnitude(g ? x[i] * g[i] : x[i]);
        if (b > top) top = b;
    }
    memcpy(m, &top, sizeof *m);
    return top < 0x7f800000;
}

static void codes(const float *x, const float *g, uint32_t n, uint32_t n_pad, float m, int8_t *a)
{
    memset(a, 0, n_pad);
    if (m < 0x1p-100f) return;
    float inv = 127.0f / m;
    for (uint32_t i = 0; i < n; i++) a[i] = code(g ? x[i] * g[i] : x[i], inv);
}

bool acc_a8(const float *x, uint32_t n, uint32_t n_pad, int8_t *a, float *scale)
{
    float m;
    if (!max_abs(x, NULL, n, &m)) return false;
    codes(x, NULL, n, n_pad, m, a);
    *scale = m < 0x1p-100f ? 0 : m / 127.0f;
    return true;
}

/* 1 / sqrt(mean square + eps); false: not finite. */
static bool inverse_rms(const float *x, uint32_t n, float eps, float *r)
{
    float square = acc_sum_squares(x, n);
    *r = 1.0f / __builtin_sqrtf(square / (float)n + eps);
    return isfinite(square) && isfinite(*r);
}

bool acc_norm_a8(const float *x, const float *g, uint32_t n, uint32_t n_pad, float eps, int8_t *a, float *scale)
{
    float m, r;
    if (!max_abs(x, g, n, &m) || !inverse_rms(x, n, eps, &r)) return false;
    codes(x, g, n, n_pad, m, a);
    *scale = m < 0x1p-100f ? 0 : (m / 127.0f) * r;
    return isfinite(*scale);
}

bool acc_norm(const float *x, const float *g, uint32_t n, float eps, float *y)
{
    float r;
    if (!inverse_rms(x, n, eps, &r)) return false;
    bool ok = true;
    for (uint32_t i = 0; i < n; i++) {
        y[i] = (x[i] * g[i]) * r;
        ok &= magnitude(y[i]) < 0x7f800000;
    }
    return ok;
}
