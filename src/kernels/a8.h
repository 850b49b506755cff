/*
 * The A8 rule (docs/numerics.md "Activations (A8) and RMSNorm") around the two loops that each instruction set writes
 * for itself: the largest magnitude, and the codes. The loops are named by constants, so every call is inlined.
 */
#ifndef ACC_KERNELS_A8_H
#define ACC_KERNELS_A8_H

#include <math.h>
#include <string.h>

#include "core/inline.h"
#include "kernels/kernels.h"

/* The bits of max |x|; with g (may be NULL) of max |x * g|. Infinity and NaN lie above every number. */
typedef uint32_t acc_max_abs_fn(const float *x, const float *g, uint32_t n);
/* a = rne(x * inv), with g rne(x * g * inv), then zeros up to n_pad; the products lie in -127.5..127.5. */
typedef void acc_codes_fn(const float *x, const float *g, uint32_t n, uint32_t n_pad, float inv, int8_t *a);
/* The same for n floats, a multiple of 32; returns the codes' sum. */
typedef int32_t acc_codes_sum_fn(const float *x, uint32_t n, float inv, int8_t *a);

/* The end of an acc_max_abs_fn: elements from i on; top: the result for those before. */
ACC_INLINE uint32_t acc_max_abs_rest(const float *x, const float *g, uint32_t i, uint32_t n, uint32_t top)
{
    for (; i < n; i++) {
        uint32_t bits;
        float v = g ? x[i] * g[i] : x[i];
        memcpy(&bits, &v, sizeof bits);
        bits &= 0x7fffffff;
        if (bits > top) top = bits;
    }
    return top;
}

/* Vectors below this magnitude have the scale 0 and all codes 0. */
#define ACC_A8_LEAST 0x1p-100f

ACC_INLINE bool acc_a8_max(uint32_t bits, float *m)
{
    memcpy(m, &bits, sizeof *m);
    return bits < 0x7f800000;
}

ACC_INLINE float acc_a8_inverse(float m)
{
    return m < ACC_A8_LEAST ? 0 : 127.0f / m;
}

ACC_INLINE float acc_a8_scale(float m)
{
    return m < ACC_A8_LEAST ? 0 : m / 127.0f;
}

/* acc_a8_fn */
ACC_INLINE bool acc_a8_by(acc_max_abs_fn *max_abs, acc_codes_fn *codes, const float *x, uint32_t n, uint32_t n_pad,
                          int8_t *a, float *scale)
{
    float m;
    if (!acc_a8_max(max_abs(x, NULL, n), &m)) return false;
    codes(x, NULL, n, n_pad, acc_a8_inverse(m), a);
    *scale = acc_a8_scale(m);
    return true;
}

/* acc_norm_a8_fn; square: sum(x * x) in the order of docs/numerics.md. */
ACC_INLINE bool acc_norm_a8_by(acc_max_abs_fn *max_abs, acc_codes_fn *codes, float square, const float *x,
                               const float *g, uint32_t n, uint32_t n_pad, float eps, int8_t *a, float *scale)
{
    float m, r = 1.0f / __builtin_sqrtf(square / (float)n + eps);
    if (!acc_a8_max(max_abs(x, g, n), &m) || !isfinite(square) || !isfinite(r)) return false;
    codes(x, g, n, n_pad, acc_a8_inverse(m), a);
    *scale = acc_a8_scale(m) * r;
    return isfinite(*scale);
}

/* The end of acc_attn_query_fn: x [dims] is rotated and transformed, out->beta is set. */
ACC_INLINE bool acc_query_by(acc_max_abs_fn *max_abs, acc_codes_sum_fn *codes_sum, const float *x, uint32_t dims,
                             uint32_t block, float att, int8_t *q8, acc_attn_query *out)
{
    float m;
    if (!acc_a8_max(max_abs(x, NULL, dims), &m)) return false;
    out->q = q8;
    out->sum = codes_sum(x, dims, acc_a8_inverse(m), q8);
    out->c = acc_a8_scale(m) * (att / (float)block);
    return isfinite(out->beta) && isfinite(out->c);
}

#endif
