/*
 * Attention over the 4-bit and the 8-bit cache for NEON: products of bytes by dots.h. Values of 8 bits become unsigned
 * by adding 128, as the probabilities are; 128 * sum(p) is taken off with the values' zeros.
 */
#include <math.h>

#include "kernels/kv_layout.h"
#include "kernels/neon/dots.h"
#include "kernels/neon/neon.h"
#include "kernels/neon/softmax.h"

/* Strips whose values stay in the L1 cache while the dimensions are walked. */
#define VALUE_STRIPS 16u

/* Vectors of four positions whose scores are summed together. */
#ifdef ACC_NEON_DOTPROD
#define KEY_VECTORS 4
#else
#define KEY_VECTORS 2
#endif

ACC_INLINE size_t block_bytes(uint32_t dims, const int bits)
{
    return bits == 4 ? acc_kv4_block_bytes(dims) : acc_kv8_block_bytes(dims);
}

/* Two vectors of codes from a vector of a 4-bit line (low nibbles, high nibbles), or from the same place of two 8-bit
 * lines. */
ACC_INLINE void codes_of(const uint8_t *line, const int bits, uint8x16_t x[2])
{
    x[0] = vld1q_u8(line);
    if (bits == 4) {
        x[1] = vshrq_n_u8(x[0], 4);
        x[0] = vandq_u8(x[0], vdupq_n_u8(15));
    } else {
        x[1] = vld1q_u8(line + 64);
    }
}

/* n of 4 * KEY_VECTORS positions for nh heads: sum(q * u). Products of nibbles are summed over 64 dimensions before
 * they leave 16 bits (16 * 15 * 127). */
ACC_INLINE void dot(const uint8_t *lines, const acc_attn_query *q, uint32_t dims, const int bits, const int nh,
                    int32x4_t n[ACC_ATTN_GROUP][KEY_VECTORS])
{
    const int wide = bits == 8;
    ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (int i = 0; i < KEY_VECTORS; i++) n[h][i] = vdupq_n_s32(0);
    for (uint32_t from = 0; from < dims; from += 64) {
        const uint32_t end = dims - from < 64 ? dims : from + 64;
        acc_dots s[ACC_ATTN_GROUP][KEY_VECTORS];
        ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (int i = 0; i < KEY_VECTORS; i++) s[h][i] = dots_zero();
        for (uint32_t d = from; d < end; d += 8, lines += bits == 4 ? 64 : 128) {
            uint8x16_t x[KEY_VECTORS][2];
            ACC_UNROLL for (int i = 0; i < KEY_VECTORS; i++) codes_of(lines + 16 * i, bits, x[i]);
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                const int8x16_t q0 = broadcast4(q[h].q + d), q1 = broadcast4(q[h].q + d + 4);
                ACC_UNROLL for (int i = 0; i < KEY_VECTORS; i++) s[h][i] =
                    dots_add(s[h][i], vreinterpretq_s8_u8(x[i][0]), q0, vreinterpretq_s8_u8(x[i][1]), q1, wide);
            }
        }
        ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (int i = 0; i < KEY_VECTORS; i++) n[h][i] =
            vaddq_s32(n[h][i], dots_total(s[h][i], wide));
    }
}

/* Step 1 for one strip and nh heads; the scores at s[h]. */
ACC_INLINE void strip_scores(const acc_attn_piece *k, uint32_t strip, const acc_attn_query *q, uint32_t dims,
                             const int bits, const int nh, float32x4_t s[ACC_ATTN_GROUP][4])
{
    const uint8_t *lines = k->k + strip * block_bytes(dims, bits);
    for (int part = 0; part < 4; part += KEY_VECTORS) {
        int32x4_t n[ACC_ATTN_GROUP][KEY_VECTORS];
        dot(lines + 16 * part, q, dims, bits, nh, n);
        ACC_UNROLL for (int i = 0; i < KEY_VECTORS; i++)
        {
            const uint32_t at = 16 * strip + 4 * (uint32_t)(part + i);
            const float32x4_t kscale = f16_to_f32(k->kscale + at);
            uint32_t zeros = 0;
            if (bits == 4) memcpy(&zeros, k->kzero + at, sizeof zeros);
            const uint16x4_t z16 = vget_low_u16(vmovl_u8(vcreate_u8(zeros)));
            const int32x4_t zero = vreinterpretq_s32_u32(vmovl_u16(z16));
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                const int32x4_t sum = bits == 4 ? vmlsq_n_s32(n[h][i], zero, q[h].sum) : n[h][i];
                const float32x4_t c = vmulq_n_f32(kscale, q[h].c);
                s[h][part + i] = vaddq_f32(vmulq_f32(vcvtq_f32_s32(sum), c), vdupq_n_f32(q[h].beta));
            }
        }
    }
}

/* -inf where the position takes no part; four from `position` on. */
ACC_INLINE float32x4_t mask(const acc_attn_segment *g, uint32_t position, float32x4_t s)
{
    static const uint32_t lanes[4] = {0, 1, 2, 3};
    const uint32x4_t i = vaddq_u32(vdupq_n_u32(position), vld1q_u32(lanes));
    const uint32x4_t in = vandq_u32(vcgeq_u32(i, vdupq_n_u32(g->first)), vcltq_u32(i, vdupq_n_u32(g->end)));
    return vbslq_f32(in, s, vdupq_n_f32(-INFINITY));
}

/* Stores a strip's scores, number `at` of those that take part, and follows the maximum (a NaN never wins). */
ACC_INLINE void keep(const acc_attn_segment *g, uint32_t s0, uint32_t at, const int nh,
                     float32x4_t s[ACC_ATTN_GROUP][4], float32x4_t max[ACC_ATTN_GROUP], acc_attn_scratch *t)
{
    const uint32_t position = 16 * (s0 + at);
    const bool edge = position < g->first || position + 16 > g->end;
    for (int h = 0; h < nh; h++) ACC_UNROLL for (uint32_t i = 0; i < 4; i++)
        {
            const float32x4_t x = edge ? mask(g, position + 4 * i, s[h][i]) : s[h][i];
            max[h] = vmaxnmq_f32(max[h], x);
            vst1q_f32(&t->s[h][16 * at + 4 * i], x);
        }
}

/* Step 4 for a row: p as bytes at the row's start, x in shift; returns z: sum(p * zero) << x, with 8 bits zero = 128.
 */
static int32_t probabilities(float *w, const uint8_t *vzero, uint32_t strips, float inv, uint32_t *shift)
{
    uint8_t *p = (uint8_t *)w;
    uint32x4_t z = vdupq_n_u32(0);
    for (uint32_t b = 0; b < strips; b++) {
        const uint8x16_t bytes = attn_strip(w + 16 * b, inv, &shift[b]);
        vst1q_u8(p + 16 * b, bytes);
        uint16x8_t t = vpaddlq_u8(bytes);
        if (vzero) { /* 0..15 where p is not 0 */
            const uint8x16_t zero = vandq_u8(vld1q_u8(vzero + 16 * b), vdupq_n_u8(15));
            t = vmlal_high_u8(vmull_u8(vget_low_u8(bytes), vget_low_u8(zero)), bytes, zero);
        }
        z = vaddq_u32(z, vshlq_u32(vpaddlq_u16(t), vdupq_n_s32((int32_t)shift[b])));
    }
    return (int32_t)(vaddvq_u32(z) * (vzero ? 1 : 128));
}

/* acc (dimensions 4 i on and 16 + 4 i on of 32) += the strips' (sum p * u) << x; lines: the vector of those dimensions
 * for the first four positions. */
ACC_INLINE void columns(const uint8_t *lines, size_t block, uint32_t strips, const acc_attn_scratch *t, uint32_t at,
                        const int bits, const int nh, uint32x4_t acc[ACC_ATTN_GROUP][2])
{
    const int wide = bits == 8;
    for (uint32_t b = 0; b < strips; b++, lines += block) {
        uint8x16_t v[4][2];
        ACC_UNROLL for (int j = 0; j < 4; j++)
        {
            codes_of(lines + (size_t)j * (block / 4), bits, v[j]);
            ACC_UNROLL for (int i = 0; bits == 8 && i < 2; i++) v[j][i] = veorq_u8(v[j][i], vdupq_n_u8(128));
        }
        ACC_UNROLL for (int h = 0; h < nh; h++)
        {
            const uint8x16_t p = vld1q_u8((const uint8_t *)t->s[h] + 16 * (size_t)(at + b));
            const int32x4_t x = vdupq_n_s32((int32_t)t->shift[h][at + b]);
            ACC_UNROLL for (int i = 0; i < 2; i++)
            {
                acc_udots sum = udots_zero(); /* nibbles: 4 * 255 * 15 fits 16 bits */
                sum = UDOTS_ADD_LANES(sum, v[0][i], v[1][i], p, 0, wide);
                sum = UDOTS_ADD_LANES(sum, v[2][i], v[3][i], p, 2, wide);
                acc[h][i] = vaddq_u32(acc[h][i], vshlq_u32(udots_total(sum, wide), x));
            }
        }
    }
}

/* Step 5 for one run. */
ACC_INLINE void run_values(const acc_attn_run *r, uint32_t dims, acc_attn_scratch *t, const int bits, const int nh)
{
    const size_t block = block_bytes(dims, bits);
    for (uint32_t b = 0; b < r->n; b += VALUE_STRIPS) {
        const uint32_t strips = r->n - b < VALUE_STRIPS ? r->n - b : VALUE_STRIPS;
        const uint8_t *lines = r->piece->v + (r->from + b) * block;
        for (uint32_t d = 0; d < dims; d += 32, lines += bits == 4 ? 64 : 128)
            for (uint32_t i = 0; i < 4; i++) {
                uint32x4_t acc[ACC_ATTN_GROUP][2];
                ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (uint32_t j = 0; j < 2; j++) acc[h][j] =
                    vreinterpretq_u32_s32(vld1q_s32(&t->acc[h][d + 16 * j + 4 * i]));
                columns(lines + 16 * i, block, strips, t, r->at + b, bits, nh, acc);
                ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (uint32_t j = 0; j < 2; j++)
                    vst1q_s32(&t->acc[h][d + 16 * j + 4 * i], vreinterpretq_s32_u32(acc[h][j]));
            }
    }
}

/* Steps 2 to 4 of row h, head h0 + h. */
static void close_row(const acc_attn_segment *g, uint32_t h0, int h, acc_attn_scratch *t, uint32_t strips,
                      float32x4_t max, bool zeros)
{
    const uint32_t head = h0 + (uint32_t)h;
    g->max[head] = vmaxnmvq_f32(max) + 0.0f; /* one zero, whatever the order */
    attn_weights(t->s[h], t->vscale, 16 * strips, g->max[head], &g->l[head], &t->top[h]);
    const float inv = t->top[h] > 0 ? 32640.0f / t->top[h] : 0;
    t->z[h] = probabilities(t->s[h], zeros ? t->vzero : NULL, strips, inv, t->shift[h]);
}

/* o = float(acc - z) * (B / 32640) */
static void output(const acc_attn_segment *g, uint32_t head, acc_attn_scratch *t, int h)
{
    float *f = t->s[h];
    const float unit = t->top[h] / 32640.0f;
    const int32x4_t z = vdupq_n_s32(t->z[h]);
    for (uint32_t d = 0; d < g->head_dim; d += 4)
        vst1q_f32(f + d, vmulq_n_f32(vcvtq_f32_s32(vsubq_s32(vld1q_s32(&t->acc[h][d]), z)), unit));
    memcpy(g->o + (size_t)head * g->head_dim, f, g->head_dim * sizeof *f);
}

/* One group of nh heads from head h0 on. */
ACC_INLINE void heads(const acc_attn_segment *g, uint32_t h0, const int bits, const int nh, acc_attn_scratch *t)
{
    uint32_t dims = acc_kv_dims(g->head_dim), s0, s1, p = 0, base = 0;
    acc_attn_strips(g, &s0, &s1);
    float32x4_t max[ACC_ATTN_GROUP];
    ACC_UNROLL for (int h = 0; h < nh; h++) max[h] = vdupq_n_f32(-INFINITY);
    acc_attn_run r;
    while (acc_attn_next(g, &p, &base, &r)) {
        const acc_attn_query *q = g->queries + (size_t)r.piece->variant * g->n_heads + h0;
        memcpy(t->vscale + 16 * r.at, r.piece->vscale + 16 * r.from, 32 * (size_t)r.n);
        if (bits == 4) memcpy(t->vzero + 16 * r.at, r.piece->vzero + 16 * r.from, 16 * (size_t)r.n);
        for (uint32_t b = 0; b < r.n; b++) {
            float32x4_t s[ACC_ATTN_GROUP][4];
            strip_scores(r.piece, r.from + b, q, dims, bits, nh, s);
            keep(g, s0, r.at + b, nh, s, max, t);
        }
    }
    ACC_UNROLL for (int h = 0; h < nh; h++) close_row(g, h0, h, t, s1 - s0, max[h], bits == 4);
    for (int h = 0; h < nh; h++) memset(t->acc[h], 0, dims * sizeof(int32_t));
    for (p = base = 0; acc_attn_next(g, &p, &base, &r);) run_values(&r, dims, t, bits, nh);
    for (int h = 0; h < nh; h++) output(g, h0 + (uint32_t)h, t, h);
}

ACC_INLINE void heads4(const acc_attn_segment *g, uint32_t h0, const int nh, acc_attn_scratch *t)
{
    heads(g, h0, 4, nh, t);
}

ACC_INLINE void heads8(const acc_attn_segment *g, uint32_t h0, const int nh, acc_attn_scratch *t)
{
    heads(g, h0, 8, nh, t);
}

void ACC_NEON(attn4)(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads4)
}

void ACC_NEON(attn8)(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads8)
}
