/* Keys and values on their way into the cache, for AVX2: docs/numerics.md "Keys, values, queries". */
#include "kernels/avx2/common.h"
#include "kernels/avx2/softmax.h"
#include "kernels/kv_codes.h"

/* These loops take n in multiples of 16. lo = min(0, min x), hi = max(0, max x); false: NaN or infinity. */
ACC_INLINE bool range(const float *x, uint32_t n, float *lo, float *hi)
{
    __m256 a = _mm256_setzero_ps(), b = a;
    for (uint32_t i = 0; i < n; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i);
        a = _mm256_max_ps(_mm256_xor_ps(v, _mm256_set1_ps(-0.0f)), a);
        b = _mm256_max_ps(v, b);
    }
    *lo = -max_lane256_ps(a);
    *hi = max_lane256_ps(b);
    return max_abs256(x, NULL, n) < 0x7f800000;
}

/* u = clamp(rne(x * inv) + zero, least, most) */
ACC_INLINE void codes(const float *x, uint32_t n, float inv, int32_t zero, int32_t least, int32_t most, uint8_t *u)
{
    const __m256i low = _mm256_set1_epi32(least), high = _mm256_set1_epi32(most), z = _mm256_set1_epi32(zero);
    const __m256 by = _mm256_set1_ps(inv);
    for (uint32_t i = 0; i < n; i += 16) {
        __m256i c[2];
        ACC_UNROLL for (int j = 0; j < 2; j++)
        {
            c[j] = _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8 * j), by)), z);
            c[j] = _mm256_min_epi32(_mm256_max_epi32(c[j], low), high);
        }
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(c[0], c[1]), 0xd8);
        const __m256i bytes = _mm256_and_si256(words, _mm256_set1_epi16(255));
        _mm_storeu_si128((__m128i *)(u + i),
                         _mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
    }
}

/* v = clamp(rne(x * inv), least, most) */
ACC_INLINE void key_codes(const float *x, uint32_t n, float inv, float least, float most, float *v)
{
    const __m256 low = _mm256_set1_ps(least), high = _mm256_set1_ps(most), by = _mm256_set1_ps(inv);
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 r = _mm256_mul_ps(_mm256_loadu_ps(x + i), by);
        r = _mm256_round_ps(r, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_storeu_ps(v + i, _mm256_min_ps(high, _mm256_max_ps(low, r)));
    }
}

static bool kv4(const float *x, uint32_t n, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    return acc_kv4_by16(range, codes, x, n, u, scale, zero);
}

static bool kv8(const float *x, uint32_t n, int8_t *u, uint16_t *scale)
{
    return acc_kv8_by16(max_abs256, codes, x, n, u, scale);
}

static bool kv4_key(const float *x, uint32_t n, const float *direction, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    return acc_kv4_key_by16(range, sum_products256, key_codes, codes, x, n, direction, u, scale, zero);
}

void acc_kernels_init_avx2_kv(acc_kernels *k)
{
    k->kv4 = kv4;
    k->kv4_key = kv4_key;
    k->kv8 = kv8;
}
