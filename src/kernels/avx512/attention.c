/*
 * Attention over the 4-bit and the 8-bit cache for AVX-512: every product is unsigned bytes times signed bytes, four to
 * a 32-bit sum (vpdpbusd, exact). Keys of 8 bits become unsigned by adding 128, taken back as 128 * sum(q).
 */
#include <math.h>

#include "kernels/avx512/attn.h"
#include "kernels/avx512/softmax.h"
#include "kernels/kv_layout.h"

/* Strips whose values stay in the L1 cache while the dimensions are walked. */
#define VALUE_STRIPS 16u

ACC_INLINE size_t block_bytes(uint32_t dims, const int bits)
{
    return bits == 4 ? acc_kv4_block_bytes(dims) : acc_kv8_block_bytes(dims);
}

/* Two registers of codes from a 4-bit line (low nibbles, high nibbles) or from two 8-bit lines. */
ACC_INLINE void codes_of(const uint8_t *line, const int bits, __m512i x[2])
{
    const __m512i low = _mm512_set1_epi8(15);
    x[0] = _mm512_loadu_si512(line);
    if (bits == 4) {
        x[1] = _mm512_and_si512(_mm512_srli_epi16(x[0], 4), low);
        x[0] = _mm512_and_si512(x[0], low);
    } else {
        x[1] = _mm512_loadu_si512(line + 64);
    }
}

/* Step 1 for one strip and nh heads. Keys are asked for ahead, and the strip's values for step 5, which meets them in
 * an order that no hardware foresees. */
ACC_INLINE void strip_scores(const acc_attn_piece *k, uint32_t strip, const acc_attn_query *q, uint32_t dims,
                             const int bits, const int nh, __m512 s[ACC_ATTN_GROUP])
{
    const size_t block = block_bytes(dims, bits);
    const uint8_t *lines = k->k + strip * block, *values = k->v + strip * block;
    __m512i n[ACC_ATTN_GROUP][2];
    ACC_UNROLL for (int h = 0; h < nh; h++) n[h][0] = n[h][1] = _mm512_setzero_si512();
    for (uint32_t d = 0; d < dims; d += 8, lines += bits == 4 ? 64 : 128, values += bits == 4 ? 64 : 128) {
        for (int i = 0; i < (bits == 4 ? 64 : 128); i += 64) {
            _mm_prefetch(lines + ACC_ATTN_AHEAD + i, _MM_HINT_T0);
            _mm_prefetch(values + i, _MM_HINT_T1);
        }
        __m512i x[2];
        codes_of(lines, bits, x);
        ACC_UNROLL for (int j = 0; j < 2; j++)
        {
            if (bits == 8) x[j] = _mm512_xor_si512(x[j], _mm512_set1_epi8(-128));
            ACC_UNROLL for (int h = 0; h < nh; h++) n[h][j] =
                acc_dot(n[h][j], x[j], broadcast4(q[h].q + d + 4 * (uint32_t)j));
        }
    }
    __m512i zero = _mm512_set1_epi32(128);
    if (bits == 4) zero = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(k->kzero + 16 * strip)));
    __m512 kscale = f16_to_f32(k->kscale + 16 * strip);
    ACC_UNROLL for (int h = 0; h < nh; h++)
    {
        __m512i sum = _mm512_add_epi32(n[h][0], n[h][1]);
        sum = _mm512_sub_epi32(sum, _mm512_mullo_epi32(zero, _mm512_set1_epi32(q[h].sum)));
        __m512 c = _mm512_mul_ps(kscale, _mm512_set1_ps(q[h].c));
        s[h] = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), c), _mm512_set1_ps(q[h].beta));
    }
}

/* The lanes of the strip that starts at `position` which take part. */
ACC_INLINE __mmask16 taking_part(const acc_attn_segment *g, uint32_t position)
{
    uint32_t skip = g->first > position ? g->first - position : 0;
    return (__mmask16)(first_lanes(g->end - position) & (0xffffu << skip));
}

/* Step 4 for a row: p as bytes at the row's start, x in shift; returns z. */
static int32_t probabilities(float *w, const uint8_t *vzero, uint32_t strips, float inv, uint32_t *shift)
{
    uint8_t *p = (uint8_t *)w;
    __m128i z = _mm_setzero_si128();
    for (uint32_t b = 0; b < strips; b++) {
        __m128i bytes = attn_strip(w + 16 * b, _mm512_set1_ps(inv), &shift[b]);
        _mm_storeu_si128((__m128i *)(p + 16 * b), bytes);
        if (!vzero) continue;
        __m128i zero = _mm_loadu_si128((const __m128i *)(vzero + 16 * b)); /* 0..15 where p is not 0 */
        __m128i t = _mm_maddubs_epi16(bytes, _mm_and_si128(zero, _mm_set1_epi8(15)));
        z = _mm_add_epi32(z, _mm_madd_epi16(t, _mm_set1_epi32((int)(0x10001u << shift[b]))));
    }
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(z, _mm_shuffle_epi32(z, 0xb1)));
}

/* acc (32 dimensions) += the strips' (sum p * u) << x; lines: those dimensions' of the first four positions. */
ACC_INLINE void columns(const uint8_t *lines, size_t block, uint32_t strips, const acc_attn_scratch *t, uint32_t at,
                        const int bits, const int nh, __m512i acc[ACC_ATTN_GROUP][2])
{
    for (uint32_t b = 0; b < strips; b++, lines += block) {
        __m512i v[4][2];
        ACC_UNROLL for (int j = 0; j < 4; j++) codes_of(lines + (size_t)j * (block / 4), bits, v[j]);
        ACC_UNROLL for (int h = 0; h < nh; h++)
        {
            const uint8_t *p = (const uint8_t *)t->s[h] + 16 * (size_t)(at + b);
            const __m128i x = _mm_cvtsi32_si128((int)t->shift[h][at + b]);
            __m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
            ACC_UNROLL for (int j = 0; j < 4; j++)
            {
                __m512i four = broadcast4(p + 4 * j);
                sum[0] = acc_dot(sum[0], four, v[j][0]);
                sum[1] = acc_dot(sum[1], four, v[j][1]);
            }
            acc[h][0] = _mm512_add_epi32(acc[h][0], _mm512_sll_epi32(sum[0], x));
            acc[h][1] = _mm512_add_epi32(acc[h][1], _mm512_sll_epi32(sum[1], x));
        }
    }
}

/* Step 5 for one run. */
ACC_INLINE void run_values(const acc_attn_run *r, uint32_t dims, acc_attn_scratch *t, const int bits, const int nh)
{
    size_t block = block_bytes(dims, bits);
    for (uint32_t b = 0; b < r->n; b += VALUE_STRIPS) {
        uint32_t strips = r->n - b < VALUE_STRIPS ? r->n - b : VALUE_STRIPS;
        const uint8_t *lines = r->piece->v + (r->from + b) * block;
        for (uint32_t d = 0; d < dims; d += 32, lines += bits == 4 ? 64 : 128) {
            __m512i acc[ACC_ATTN_GROUP][2];
            ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (uint32_t j = 0; j < 2; j++) acc[h][j] =
                _mm512_loadu_si512(&t->acc[h][d + 16 * j]);
            columns(lines, block, strips, t, r->at + b, bits, nh, acc);
            ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (uint32_t j = 0; j < 2; j++)
                _mm512_storeu_si512(&t->acc[h][d + 16 * j], acc[h][j]);
        }
    }
}

/* Steps 2 to 4 of row h, head h0 + h. */
static void close_row(const acc_attn_segment *g, uint32_t h0, int h, acc_attn_scratch *t, uint32_t strips, __m512 max,
                      bool zeros)
{
    const uint32_t head = h0 + (uint32_t)h;
    g->max[head] = _mm512_reduce_max_ps(max) + 0.0f; /* one zero, whatever the order */
    attn_weights(t->s[h], t->vscale, 16 * strips, g->max[head], &g->l[head], &t->top[h]);
    float inv = t->top[h] > 0 ? 32640.0f / t->top[h] : 0;
    t->z[h] = probabilities(t->s[h], zeros ? t->vzero : NULL, strips, inv, t->shift[h]);
}

/* o = float(acc - z) * (B / 32640) */
static void output(const acc_attn_segment *g, uint32_t head, const acc_attn_scratch *t, int h)
{
    float *o = g->o + (size_t)head * g->head_dim;
    const __m512 unit = _mm512_set1_ps(t->top[h] / 32640.0f);
    const __m512i z = _mm512_set1_epi32(t->z[h]);
    for (uint32_t d = 0; d < g->head_dim; d += 16) {
        __m512i sum = _mm512_sub_epi32(_mm512_loadu_si512(&t->acc[h][d]), z);
        _mm512_mask_storeu_ps(o + d, first_lanes(g->head_dim - d), _mm512_mul_ps(_mm512_cvtepi32_ps(sum), unit));
    }
}

/* One group of nh heads from head h0 on. */
ACC_INLINE void heads(const acc_attn_segment *g, uint32_t h0, const int bits, const int nh, acc_attn_scratch *t)
{
    uint32_t dims = acc_kv_dims(g->head_dim), s0, s1, p = 0, base = 0;
    acc_attn_strips(g, &s0, &s1);
    __m512 max[ACC_ATTN_GROUP];
    ACC_UNROLL for (int h = 0; h < nh; h++) max[h] = _mm512_set1_ps(-INFINITY);
    acc_attn_run r;
    while (acc_attn_next(g, &p, &base, &r)) {
        const acc_attn_query *q = g->queries + (size_t)r.piece->variant * g->n_heads + h0;
        memcpy(t->vscale + 16 * r.at, r.piece->vscale + 16 * r.from, 32 * (size_t)r.n);
        if (bits == 4) memcpy(t->vzero + 16 * r.at, r.piece->vzero + 16 * r.from, 16 * (size_t)r.n);
        for (uint32_t b = 0; b < r.n; b++) {
            __m512 s[ACC_ATTN_GROUP];
            strip_scores(r.piece, r.from + b, q, dims, bits, nh, s);
            const __mmask16 in = taking_part(g, 16 * (s0 + r.at + b));
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                s[h] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), in, s[h]);
                max[h] = _mm512_max_ps(s[h], max[h]); /* a NaN never wins */
                _mm512_storeu_ps(&t->s[h][16 * (r.at + b)], s[h]);
            }
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

void acc_attn4_avx512(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads4)
}

void acc_attn8_avx512(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads8)
}

void acc_kernels_init_avx512_attn(acc_kernels *k)
{
    k->attn4 = acc_attn4_avx512;
    k->attn8 = acc_attn8_avx512;
    k->attn_query = acc_attn_query_avx512;
    k->kv_turn = acc_kv_turn_avx512;
    k->kv4 = acc_kv4_avx512;
    k->kv4_key = acc_kv4_key_avx512;
    k->kv8 = acc_kv8_avx512;
}
