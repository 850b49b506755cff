/* Row operations of the float reference. Vectors of four floats are native on every CPU that we build for. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "reference/internal.h"

typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));

static inline f4 load4(const float *p)
{
    f4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store4(float *p, f4 v)
{
    memcpy(p, &v, sizeof v);
}

static inline f4 select4(i4 mask, f4 a, f4 b)
{
    return (f4)(((i4)a & mask) | ((i4)b & ~mask));
}

static inline f4 all4(float x)
{
    return (f4){x, x, x, x};
}

/* exp by 2^n * p(r), |r| <= ln 2 / 2, Taylor's polynomial of degree 7 (truncation below 3e-9); below -87 the result
 * stays at exp(-87), above 88 at exp(88). A NaN comes out as a NaN. */
static inline f4 exp4(f4 x)
{
    x = select4(x < all4(-87.0f), all4(-87.0f), x);
    x = select4(x > all4(88.0f), all4(88.0f), x);
    const f4 magic = all4(0x1.8p23f);
    f4 t = x * all4(0x1.715476p+0f) + magic; /* the integer n stands in the low bits */
    f4 n = t - magic;
    f4 r = x - n * all4(0x1.62e4p-1f) - n * all4(0x1.7f7d1cp-20f);
    f4 p = all4(1.0f / 5040);
    p = p * r + all4(1.0f / 720);
    p = p * r + all4(1.0f / 120);
    p = p * r + all4(1.0f / 24);
    p = p * r + all4(1.0f / 6);
    p = p * r + all4(0.5f);
    p = p * r * r + r + all4(1.0f);
    const i4 bias = {127 - 0x4b400000, 127 - 0x4b400000, 127 - 0x4b400000, 127 - 0x4b400000};
    return p * (f4)(((i4)t + bias) << 23);
}

float acc_ref_max(const float *x, uint32_t n, float start)
{
    f4 m = all4(start);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        f4 v = load4(x + i);
        m = select4(v > m, v, m);
    }
    float best = start;
    for (int j = 0; j < 4; j++) best = m[j] > best ? m[j] : best;
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

float acc_ref_exp_row(float *x, uint32_t n, float max)
{
    f4 sum = all4(0);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        f4 e = exp4(load4(x + i) - all4(max));
        store4(x + i, e);
        sum += e;
    }
    float s = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    if (i < n) {
        float tail[4] = {max, max, max, max};
        memcpy(tail, x + i, (n - i) * sizeof *x);
        store4(tail, exp4(load4(tail) - all4(max)));
        for (uint32_t j = 0; i < n; i++, j++) s += x[i] = tail[j];
    }
    return s;
}

void acc_ref_silu_mul(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        f4 g = load4(gate + i);
        store4(gate + i, g / (all4(1) + exp4(-g)) * load4(up + i));
    }
    for (; i < n; i++) gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

bool acc_ref_norm(const float *x, const float *g, uint32_t n, float eps, float *y)
{
    double part[4] = {0};
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (uint32_t j = 0; j < 4; j++) part[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++) part[0] += (double)x[i] * (double)x[i];
    double sum = (part[0] + part[1]) + (part[2] + part[3]);
    float r = (float)(1.0 / sqrt(sum / n + (double)eps));
    for (i = 0; i < n; i++) y[i] = x[i] * r * g[i];
    return isfinite(sum);
}

void acc_ref_linear(const float *w, const float *bias, const float *x, float *y, uint32_t n, uint32_t rows,
                    uint32_t cols, bool add)
{
    float beta = add ? 1.0f : 0.0f;
    if (n == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)rows, (blasint)cols, 1.0f, w, (blasint)cols, x, 1, beta, y,
                    1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)rows, (blasint)cols, 1.0f, x,
                    (blasint)cols, w, (blasint)cols, beta, y, (blasint)rows);
    if (!bias) return;
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t r = 0; r < rows; r++) y[(size_t)t * rows + r] += bias[r];
}

/* The phase is position * step modulo one turn in 64-bit fractions (docs/numerics.md, "RoPE"), so an angle is as right
 * at position 10^12 as at 1; the rest is double. */
void acc_ref_angles(const acc_hparams *hp, uint64_t position, float *c, float *s)
{
    for (uint32_t i = 0; i < hp->head_dim / 2; i++) {
        double angle = (double)(int64_t)(position * hp->rope_steps[i]) * (0x1p-64 * 6.283185307179586476925);
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
}

void acc_ref_rotate(const float *x, const float *c, const float *s, uint32_t head_dim, float *y)
{
    uint32_t half = head_dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        y[i] = a * c[i] - b * s[i];
        y[i + half] = b * c[i] + a * s[i];
    }
}
