/* Keys and values on their way into the cache, for AVX-512: docs/numerics.md "Keys, values, queries". */
#include "kernels/avx512/attn.h"
#include "numerics/numerics.h"

/* lo = min(0, min x), hi = max(0, max x); false: NaN or infinity. */
ACC_INLINE bool range(const float *x, uint32_t n, float *lo, float *hi)
{
    __m512 a = _mm512_setzero_ps(), b = a;
    for (uint32_t i = 0; i < n; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(first_lanes(n - i), x + i);
        a = _mm512_min_ps(v, a);
        b = _mm512_max_ps(v, b);
    }
    *lo = _mm512_reduce_min_ps(a);
    *hi = _mm512_reduce_max_ps(b);
    return max_abs512(x, NULL, n) < 0x7f800000;
}

/* f16 bits and their value; false: overflow. */
ACC_INLINE bool f16_scale(float exact, uint16_t *bits, float *scale)
{
    *bits = acc_f32_to_f16(exact);
    *scale = acc_f16_to_f32(*bits);
    return *bits < 0x7c00;
}

ACC_INLINE int32_t clamp15(float x)
{
    const int32_t r = _mm_cvtss_si32(_mm_set_ss(x));
    return r < 0 ? 0 : r > 15 ? 15 : r;
}

/* u = clamp(rne(x * inv) + zero, least, most) */
ACC_INLINE void codes(const float *x, uint32_t n, float inv, int32_t zero, int32_t least, int32_t most, uint8_t *u)
{
    const __m512i low = _mm512_set1_epi32(least), high = _mm512_set1_epi32(most), z = _mm512_set1_epi32(zero);
    for (uint32_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes(n - i);
        __m512i c = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_set1_ps(inv)));
        c = _mm512_min_epi32(_mm512_max_epi32(_mm512_add_epi32(c, z), low), high);
        _mm_mask_storeu_epi8(u + i, m, _mm512_cvtepi32_epi8(c));
    }
}

bool acc_kv4_avx512(const float *x, uint32_t n, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    float lo, hi, s;
    if (!range(x, n, &lo, &hi) || !f16_scale((hi - lo) * (float)(1.0 / 15), scale, &s)) return false;
    const float inv = s == 0 ? 0 : 1.0f / s;
    const int32_t z = clamp15(-lo * inv);
    *zero = (uint8_t)z;
    codes(x, n, inv, z, 0, 15, u);
    return true;
}

bool acc_kv8_avx512(const float *x, uint32_t n, int8_t *u, uint16_t *scale)
{
    float m, s;
    const uint32_t bits = max_abs512(x, NULL, n);
    memcpy(&m, &bits, sizeof m);
    if (bits >= 0x7f800000 || !f16_scale(m * (float)(1.0 / 127), scale, &s)) return false;
    codes(x, n, s == 0 ? 0 : 1.0f / s, 0, -127, 127, (uint8_t *)u);
    return true;
}

#define CANDIDATES 8

/* Codes at one step: zero, and v = code - zero. */
ACC_INLINE int32_t key_codes(const float *x, uint32_t n, float lo, float hi, float step, float *v)
{
    const float inv = 1.0f / step;
    const int32_t zero = clamp15(7.5f - ((lo + hi) * 0.5f) * inv);
    const __m512 least = _mm512_set1_ps((float)-zero), most = _mm512_set1_ps((float)(15 - zero));
    const __m512 by = _mm512_set1_ps(inv), magic = _mm512_set1_ps(0x1.8p+23f); /* rounds, as in src/numerics/kv.c */
    for (uint32_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes(n - i);
        __m512 r = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), by);
        r = _mm512_sub_ps(_mm512_add_ps(r, magic), magic);
        r = _mm512_min_ps(most, _mm512_max_ps(least, r));
        _mm512_mask_storeu_ps(v + i, m, r);
    }
    return zero;
}

bool acc_kv4_key_avx512(const float *x, uint32_t n, const float *direction, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    _Alignas(64) float v[2][ACC_MAX_HEAD_DIM];
    float lo, hi, s, best = 0;
    if (!range(x, n, &lo, &hi)) return false;
    const float step = (hi - lo) * (float)(1.0 / 15);
    if (!f16_scale(step, scale, &s)) return false;
    *zero = 0;
    memset(u, 0, n);
    if (s == 0) return true;
    const float xm = direction ? sum_products512(x, direction, n) : 0;
    int32_t z = 0, kept = 0;
    float fit = step;
    for (int32_t i = 0; i < CANDIDATES; i++) {
        float *t = v[1 - kept];
        const int32_t zt = key_codes(x, n, lo, hi, step * (1.0f - (float)i * 0.03125f), t);
        const float vm = direction ? sum_products512(t, direction, n) : 0;
        const float a = sum_products512(x, t, n) + xm * vm, b = sum_products512(t, t, n) + vm * vm;
        const float gain = a > 0 ? a * (a / b) : 0;
        if (i > 0 && !(gain > best)) continue;
        if (gain > 0) fit = a / b;
        best = gain;
        z = zt;
        kept = 1 - kept;
    }
    if (!f16_scale(fit, scale, &s)) return false;
    *zero = (uint8_t)z;
    codes(v[kept], n, 1, z, 0, 15, u);
    return true;
}
