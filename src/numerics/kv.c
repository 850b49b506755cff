/* Codes of one key or value vector: docs/numerics.md "Keys, values, queries". */
#include <math.h>
#include <string.h>

#include "numerics/numerics.h"

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
