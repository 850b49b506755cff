/* Codes of one key or value vector: docs/numerics.md "Keys, values, queries". */
#include <math.h>
#include <string.h>

#include "numerics/numerics.h"

#define ACC_KV_MOST 256 /* head dimensions */

static int32_t clamp(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* f16 bits and their value; false: overflow or NaN. */
static bool f16_scale(float exact, uint16_t *bits, float *scale)
{
    *bits = acc_f32_to_f16(exact);
    *scale = acc_f16_to_f32(*bits);
    return *bits < 0x7c00;
}

bool acc_kv4(const float *x, uint32_t n, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    float lo = 0, hi = 0, s;
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return false;
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
    }
    if (!f16_scale((hi - lo) * (float)(1.0 / 15), scale, &s)) return false;
    memset(u, 0, n);
    *zero = 0;
    if (s == 0) return true;
    float inv = 1.0f / s;
    int32_t z = clamp(acc_rne(-lo * inv), 0, 15);
    *zero = (uint8_t)z;
    for (uint32_t i = 0; i < n; i++) u[i] = (uint8_t)clamp(acc_rne(x[i] * inv) + z, 0, 15);
    return true;
}

#define CANDIDATES 8

/* Codes at one step: zero, and v = code - zero. */
static int32_t key_codes(const float *x, uint32_t n, float lo, float hi, float step, float *v)
{
    const float inv = 1.0f / step;
    const int32_t zero = clamp(acc_rne(7.5f - ((lo + hi) * 0.5f) * inv), 0, 15);
    const float least = (float)-zero, most = (float)(15 - zero);
    for (uint32_t i = 0; i < n; i++) {
        float r = acc_round_even(x[i] * inv);
        r = r < least ? least : r;
        v[i] = r > most ? most : r;
    }
    return zero;
}

bool acc_kv4_key(const float *x, uint32_t n, const float *direction, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    float lo = 0, hi = 0, s, v[2][ACC_KV_MOST], best = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return false;
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
    }
    const float range = (hi - lo) * (float)(1.0 / 15);
    if (!f16_scale(range, scale, &s)) return false;
    memset(u, 0, n);
    *zero = 0;
    if (s == 0) return true;
    const float xm = direction ? acc_sum_products(x, direction, n) : 0;
    int32_t z = 0, kept = 0;
    float fit = range;
    for (int32_t i = 0; i < CANDIDATES; i++) {
        float *t = v[1 - kept];
        const int32_t zt = key_codes(x, n, lo, hi, range * (1.0f - (float)i * 0.03125f), t);
        const float vm = direction ? acc_sum_products(t, direction, n) : 0;
        const float a = acc_sum_products(x, t, n) + xm * vm, b = acc_sum_products(t, t, n) + vm * vm;
        const float gain = a > 0 ? a * (a / b) : 0;
        if (i > 0 && !(gain > best)) continue;
        if (gain > 0) fit = a / b;
        best = gain;
        z = zt;
        kept = 1 - kept;
    }
    if (!f16_scale(fit, scale, &s)) return false;
    *zero = (uint8_t)z;
    for (uint32_t i = 0; i < n; i++) u[i] = (uint8_t)((int32_t)v[kept][i] + z);
    return true;
}

bool acc_kv8(const float *x, uint32_t n, int8_t *u, uint16_t *scale)
{
    float m = 0, s;
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return false;
        float a = fabsf(x[i]);
        if (a > m) m = a;
    }
    if (!f16_scale(m * (float)(1.0 / 127), scale, &s)) return false;
    memset(u, 0, n);
    if (s == 0) return true;
    float inv = 1.0f / s;
    for (uint32_t i = 0; i < n; i++) u[i] = (int8_t)clamp(acc_rne(x[i] * inv), -127, 127);
    return true;
}
