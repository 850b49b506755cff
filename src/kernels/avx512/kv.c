/* Keys and values on their way into the cache, for AVX-512: docs/numerics.md "Keys, values, queries". */
#include "kernels/avx512/attn.h"
#include "kernels/kv_codes.h"

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

/* v = clamp(rne(x * inv), least, most) */
ACC_INLINE void key_codes(const float *x, uint32_t n, float inv, float least, float most, float *v)
{
    const __m512 low = _mm512_set1_ps(least), high = _mm512_set1_ps(most);
    const __m512 by = _mm512_set1_ps(inv), magic = _mm512_set1_ps(0x1.8p+23f); /* rounds, as in src/numerics/kv.c */
    for (uint32_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes(n - i);
        __m512 r = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), by);
        r = _mm512_sub_ps(_mm512_add_ps(r, magic), magic);
        r = _mm512_min_ps(high, _mm512_max_ps(low, r));
        _mm512_mask_storeu_ps(v + i, m, r);
    }
}

bool acc_kv4_avx512(const float *x, uint32_t n, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    return acc_kv4_by(range, codes, x, n, u, scale, zero);
}

bool acc_kv8_avx512(const float *x, uint32_t n, int8_t *u, uint16_t *scale)
{
    return acc_kv8_by(max_abs512, codes, x, n, u, scale);
}

bool acc_kv4_key_avx512(const float *x, uint32_t n, const float *direction, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    return acc_kv4_key_by(range, sum_products512, key_codes, codes, x, n, direction, u, scale, zero);
}
