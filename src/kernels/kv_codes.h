/*
 * Codes of keys and values (docs/numerics.md "Keys, values, queries") around the loops that each instruction set writes
 * for itself. The loops are named by constants, so every call is inlined.
 */
#ifndef ACC_KERNELS_KV_CODES_H
#define ACC_KERNELS_KV_CODES_H

#include <string.h>

#include "core/inline.h"
#include "kernels/a8.h"
#include "kernels/kernels.h"
#include "numerics/numerics.h"

/* lo = min(0, min x), hi = max(0, max x); false: NaN or infinity. */
typedef bool acc_range_fn(const float *x, uint32_t n, float *lo, float *hi);
/* sum(x * y) in the order of docs/numerics.md; x and y may be the same. */
typedef float acc_products_fn(const float *x, const float *y, uint32_t n);
/* u = clamp(rne(x * inv) + zero, least, most) */
typedef void acc_kv_codes_fn(const float *x, uint32_t n, float inv, int32_t zero, int32_t least, int32_t most,
                             uint8_t *u);
/* v = clamp(rne(x * inv), least, most) */
typedef void acc_key_codes_fn(const float *x, uint32_t n, float inv, float least, float most, float *v);

#define ACC_KEY_CANDIDATES 8

/* f16 bits and their value; false: overflow. */
ACC_INLINE bool acc_f16_scale(float exact, uint16_t *bits, float *scale)
{
    *bits = acc_f32_to_f16(exact);
    *scale = acc_f16_to_f32(*bits);
    return *bits < 0x7c00;
}

/* clamp(rne(x), 0, 15) for |x| < 2^31. */
ACC_INLINE int32_t acc_clamp15(float x)
{
    const int32_t r = (int32_t)__builtin_rintf(x);
    return r < 0 ? 0 : r > 15 ? 15 : r;
}

/* acc_kv4_fn */
ACC_INLINE bool acc_kv4_by(acc_range_fn *range, acc_kv_codes_fn *codes, const float *x, uint32_t n, uint8_t *u,
                           uint16_t *scale, uint8_t *zero)
{
    float lo, hi, s;
    if (!range(x, n, &lo, &hi) || !acc_f16_scale((hi - lo) * (float)(1.0 / 15), scale, &s)) return false;
    const float inv = s == 0 ? 0 : 1.0f / s;
    const int32_t z = acc_clamp15(-lo * inv);
    *zero = (uint8_t)z;
    codes(x, n, inv, z, 0, 15, u);
    return true;
}

/* acc_kv8_fn */
ACC_INLINE bool acc_kv8_by(acc_max_abs_fn *max_abs, acc_kv_codes_fn *codes, const float *x, uint32_t n, int8_t *u,
                           uint16_t *scale)
{
    float m, s;
    if (!acc_a8_max(max_abs(x, NULL, n), &m) || !acc_f16_scale(m * (float)(1.0 / 127), scale, &s)) return false;
    codes(x, n, s == 0 ? 0 : 1.0f / s, 0, -127, 127, (uint8_t *)u);
    return true;
}

/* acc_kv4_key_fn */
ACC_INLINE bool acc_kv4_key_by(acc_range_fn *range, acc_products_fn *products, acc_key_codes_fn *key_codes,
                               acc_kv_codes_fn *codes, const float *x, uint32_t n, const float *direction, uint8_t *u,
                               uint16_t *scale, uint8_t *zero)
{
    _Alignas(64) float v[2][ACC_MAX_HEAD_DIM];
    float lo, hi, s, best = 0;
    if (!range(x, n, &lo, &hi)) return false;
    const float step = (hi - lo) * (float)(1.0 / 15);
    if (!acc_f16_scale(step, scale, &s)) return false;
    *zero = 0;
    memset(u, 0, n);
    if (s == 0) return true;
    const float xm = direction ? products(x, direction, n) : 0;
    int32_t z = 0, kept = 0;
    float fit = step;
    for (int32_t i = 0; i < ACC_KEY_CANDIDATES; i++) {
        float *t = v[1 - kept];
        const float inv = 1.0f / (step * (1.0f - (float)i * 0.03125f));
        const int32_t zt = acc_clamp15(7.5f - ((lo + hi) * 0.5f) * inv);
        key_codes(x, n, inv, (float)-zt, (float)(15 - zt), t);
        const float vm = direction ? products(t, direction, n) : 0;
        const float a = products(x, t, n) + xm * vm, b = products(t, t, n) + vm * vm;
        const float gain = a > 0 ? a * (a / b) : 0;
        if (i > 0 && !(gain > best)) continue;
        if (gain > 0) fit = a / b;
        best = gain;
        z = zt;
        kept = 1 - kept;
    }
    if (!acc_f16_scale(fit, scale, &s)) return false;
    *zero = (uint8_t)z;
    codes(v[kept], n, 1, z, 0, 15, u);
    return true;
}

/* ---- for sets whose loops want n in multiples of 16 ---- */

/* A vector of at most ACC_MAX_HEAD_DIM, with zeros up to a multiple of 16, which change no bound and no sum. */
typedef struct acc_kv_padded {
    _Alignas(64) float x[ACC_MAX_HEAD_DIM];
    uint32_t n; /* the multiple of 16 */
} acc_kv_padded;

ACC_INLINE void acc_kv_pad(const float *x, uint32_t n, acc_kv_padded *p)
{
    p->n = (n + 15) / 16 * 16;
    if (p->n > n) memset(p->x + p->n - 16, 0, 16 * sizeof *p->x);
    memcpy(p->x, x, n * sizeof *x);
}

ACC_INLINE bool acc_kv4_by16(acc_range_fn *range, acc_kv_codes_fn *codes, const float *x, uint32_t n, uint8_t *u,
                             uint16_t *scale, uint8_t *zero)
{
    acc_kv_padded p;
    uint8_t all[ACC_MAX_HEAD_DIM];
    acc_kv_pad(x, n, &p);
    if (!acc_kv4_by(range, codes, p.x, p.n, all, scale, zero)) return false;
    memcpy(u, all, n);
    return true;
}

ACC_INLINE bool acc_kv8_by16(acc_max_abs_fn *max_abs, acc_kv_codes_fn *codes, const float *x, uint32_t n, int8_t *u,
                             uint16_t *scale)
{
    acc_kv_padded p;
    int8_t all[ACC_MAX_HEAD_DIM];
    acc_kv_pad(x, n, &p);
    if (!acc_kv8_by(max_abs, codes, p.x, p.n, all, scale)) return false;
    memcpy(u, all, n);
    return true;
}

ACC_INLINE bool acc_kv4_key_by16(acc_range_fn *range, acc_products_fn *products, acc_key_codes_fn *key_codes,
                                 acc_kv_codes_fn *codes, const float *x, uint32_t n, const float *direction, uint8_t *u,
                                 uint16_t *scale, uint8_t *zero)
{
    acc_kv_padded p, m;
    uint8_t all[ACC_MAX_HEAD_DIM];
    acc_kv_pad(x, n, &p);
    if (direction) acc_kv_pad(direction, n, &m);
    if (!acc_kv4_key_by(range, products, key_codes, codes, p.x, p.n, direction ? m.x : NULL, all, scale, zero))
        return false;
    memcpy(u, all, n);
    return true;
}

#endif
