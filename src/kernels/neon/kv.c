/* Keys and values on their way into the cache, for NEON: docs/numerics.md "Keys, values, queries". */
#include "kernels/neon/common.h"
#include "kernels/neon/neon.h"
#include "numerics/numerics.h"

/* A vector of at most ACC_MAX_HEAD_DIM, with zeros up to a multiple of 16, which change no bound and no sum. */
typedef struct padded {
    float x[ACC_MAX_HEAD_DIM];
    uint32_t n; /* the multiple of 16 */
} padded;

static void pad(const float *x, uint32_t n, padded *p)
{
    p->n = (n + 15) / 16 * 16;
    if (p->n > n) memset(p->x + p->n - 16, 0, 16 * sizeof *p->x);
    memcpy(p->x, x, n * sizeof *x);
}

/* lo = min(0, min x), hi = max(0, max x); false: NaN or infinity. */
static bool range(const padded *p, float *lo, float *hi)
{
    if (max_abs_neon(p->x, NULL, p->n) >= 0x7f800000) return false;
    float32x4_t a = vdupq_n_f32(0), b = a;
    for (uint32_t i = 0; i < p->n; i += 4) {
        const float32x4_t v = vld1q_f32(p->x + i);
        a = vminq_f32(a, v);
        b = vmaxq_f32(b, v);
    }
    *lo = vminvq_f32(a);
    *hi = vmaxvq_f32(b);
    return true;
}

/* f16 bits and their value; false: overflow. */
static bool f16_scale(float exact, uint16_t *bits, float *scale)
{
    *bits = acc_f32_to_f16(exact);
    *scale = acc_f16_to_f32(*bits);
    return *bits < 0x7c00;
}

static int32_t clamp15(float x)
{
    const int32_t r = acc_rne(x);
    return r < 0 ? 0 : r > 15 ? 15 : r;
}

/* u [n] = clamp(rne(x * inv) + zero, least, most) */
static void codes(const padded *p, uint32_t n, float inv, int32_t zero, int32_t least, int32_t most, uint8_t *u)
{
    const int32x4_t low = vdupq_n_s32(least), high = vdupq_n_s32(most), z = vdupq_n_s32(zero);
    int8_t all[ACC_MAX_HEAD_DIM];
    for (uint32_t i = 0; i < p->n; i += 16) {
        int32x4_t c[4];
        ACC_UNROLL for (uint32_t j = 0; j < 4; j++)
        {
            c[j] = vaddq_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(p->x + i + 4 * j), inv)), z);
            c[j] = vminq_s32(vmaxq_s32(c[j], low), high);
        }
        vst1q_s8(all + i, low_bytes(c));
    }
    memcpy(u, all, n);
}

bool acc_neon_kv4(const float *x, uint32_t n, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    padded p;
    float lo, hi, s;
    pad(x, n, &p);
    if (!range(&p, &lo, &hi) || !f16_scale((hi - lo) * (float)(1.0 / 15), scale, &s)) return false;
    const float inv = s == 0 ? 0 : 1.0f / s;
    const int32_t z = clamp15(-lo * inv);
    *zero = (uint8_t)z;
    codes(&p, n, inv, z, 0, 15, u);
    return true;
}

bool acc_neon_kv8(const float *x, uint32_t n, int8_t *u, uint16_t *scale)
{
    padded p;
    float m, s;
    pad(x, n, &p);
    const uint32_t bits = max_abs_neon(p.x, NULL, p.n);
    memcpy(&m, &bits, sizeof m);
    if (bits >= 0x7f800000 || !f16_scale(m * (float)(1.0 / 127), scale, &s)) return false;
    codes(&p, n, s == 0 ? 0 : 1.0f / s, 0, -127, 127, (uint8_t *)u);
    return true;
}

#define CANDIDATES 8

/* Codes at one step: zero, and v = code - zero. */
static int32_t key_codes(const padded *p, float lo, float hi, float step, padded *v)
{
    const float inv = 1.0f / step;
    const int32_t zero = clamp15(7.5f - ((lo + hi) * 0.5f) * inv);
    const float32x4_t least = vdupq_n_f32((float)-zero), most = vdupq_n_f32((float)(15 - zero));
    v->n = p->n;
    for (uint32_t i = 0; i < p->n; i += 4) {
        const float32x4_t r = vrndnq_f32(vmulq_n_f32(vld1q_f32(p->x + i), inv));
        vst1q_f32(v->x + i, vminq_f32(vmaxq_f32(r, least), most));
    }
    return zero;
}

bool acc_neon_kv4_key(const float *x, uint32_t n, const float *direction, uint8_t *u, uint16_t *scale, uint8_t *zero)
{
    padded p, m, v[2];
    float lo, hi, s, best = 0;
    pad(x, n, &p);
    if (!range(&p, &lo, &hi)) return false;
    const float step = (hi - lo) * (float)(1.0 / 15);
    if (!f16_scale(step, scale, &s)) return false;
    *zero = 0;
    memset(u, 0, n);
    if (s == 0) return true;
    if (direction) pad(direction, n, &m);
    const float xm = direction ? sum_products_neon(p.x, m.x, p.n) : 0;
    int32_t z = 0, kept = 0;
    float fit = step;
    for (int32_t i = 0; i < CANDIDATES; i++) {
        padded *t = &v[1 - kept];
        const int32_t zt = key_codes(&p, lo, hi, step * (1.0f - (float)i * 0.03125f), t);
        const float vm = direction ? sum_products_neon(t->x, m.x, p.n) : 0;
        const float a = sum_products_neon(p.x, t->x, p.n) + xm * vm, b = sum_products_neon(t->x, t->x, p.n) + vm * vm;
        const float gain = a > 0 ? a * (a / b) : 0;
        if (i > 0 && !(gain > best)) continue;
        if (gain > 0) fit = a / b;
        best = gain;
        z = zt;
        kept = 1 - kept;
    }
    if (!f16_scale(fit, scale, &s)) return false;
    *zero = (uint8_t)z;
    codes(&v[kept], n, 1, z, 0, 15, u);
    return true;
}
