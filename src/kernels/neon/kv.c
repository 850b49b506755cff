/* Keys and values on their way into the cache, for NEON: docs/numerics.md "Keys, values, queries". */
#include "kernels/kv_codes.h"
#include "kernels/neon/common.h"
#include "kernels/neon/neon.h"

/* These loops take n in multiples of 16. lo = min(0, min x), hi = max(0, max x); false: NaN or infinity. */
ACC_INLINE bool range(const float *x, uint32_t n, float *lo, float *hi)
{
    if (max_abs_neon(x, NULL, n) >= 0x7f800000) return false;
    float32x4_t a = vdupq_n_f32(0), b = a;
    for (uint32_t i = 0; i < n; i += 4) {
        const float32x4_t v = vld1q_f32(x + i);
        a = vminq_f32(a, v);
        b = vmaxq_f32(b, v);
    }
    *lo = vminvq_f32(a);
    *hi = vmaxvq_f32(b);
    return true;
}

/* u = clamp(rne(x * inv) + zero, least, most) */
ACC_INLINE void codes(const float *x, uint32_t n, float inv, int32_t zero, int32_t least, int32_t most, uint8_t *u)
{
    const int32x4_t low = vdupq_n_s32(least), high = vdupq_n_s32(most), z = vdupq_n_s32(zero);
    for (uint32_t i = 0; i < n; i += 16) {
        int32x4_t c[4];
        ACC_UNROLL for (uint32_t j = 0; j < 4; j++)
        {
            c[j] = vaddq_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4 * j), inv)), z);
            c[j] = vminq_s32(vmaxq_s32(c[j], low), high);
        }
        vst1q_u8(u + i, vreinterpretq_u8_s8(low_bytes(c)));
    }
}

/* v = clamp(rne(x * inv), least, most) */
ACC_INLINE void key_codes(const float *x, uint32_t n, float inv, float least, float most, float *v)
{
    const float32x4_t low = vdupq_n_f32(least), high = vdupq_n_f32(most);
    for (uint32_t i = 0; i < n; i += 4) {
        const float32x4_t r = vrndnq_f32(vmulq_n_f32(vld1q_f32(x + i), inv));
        vst1q_f32(v + i, vminq_f32(vmaxq_f32(r, low), high));
    }
}

bool acc_neon_kv4(const float *x, uint32_t n, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    return acc_kv4_by16(range, codes, x, n, u, scale, zero);
}

bool acc_neon_kv8(const float *x, uint32_t n, int8_t *u, uint16_t *scale)
{
    return acc_kv8_by16(max_abs_neon, codes, x, n, u, scale);
}

bool acc_neon_kv4_key(const float *x, uint32_t n, const float *direction, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    return acc_kv4_key_by16(range, sum_products_neon, key_codes, codes, x, n, direction, u, scale, zero);
}
