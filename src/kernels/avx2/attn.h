/* What the attention kernels of both sets have in common, apart from docs/numerics.md's steps 2 to 4. */
#ifndef ACC_KERNELS_AVX2_ATTN_H
#define ACC_KERNELS_AVX2_ATTN_H

#include "kernels/avx2/softmax.h"

/* Asks for the keys or values that follow those at p. */
ACC_INLINE void attn_ask(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + ACC_ATTN_AHEAD + i, _MM_HINT_T0);
}

/* s = float(n) * (kscale * c) + beta */
ACC_INLINE __m256 attn_score(__m256i n, __m256 kscale, const acc_attn_query *q)
{
    __m256 c = _mm256_mul_ps(kscale, _mm256_set1_ps(q->c));
    return _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(n), c), _mm256_set1_ps(q->beta));
}

/* -inf where the position (s0 * 16 + lane) takes no part. */
ACC_INLINE __m256 attn_mask(const acc_attn_segment *g, uint32_t position, __m256 s)
{
    __m256i i = _mm256_add_epi32(_mm256_set1_epi32((int)position), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i out = _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)g->first), i),
                                  _mm256_cmpgt_epi32(i, _mm256_set1_epi32((int)g->end - 1)));
    return _mm256_blendv_ps(s, _mm256_set1_ps(-__builtin_inff()), _mm256_castsi256_ps(out));
}

/* Stores a strip's scores, number `at` of those that take part, and follows the maximum (a NaN never wins). */
ACC_INLINE void attn_keep(const acc_attn_segment *g, uint32_t s0, uint32_t at, const int nh,
                          __m256 s[ACC_ATTN_GROUP][2], __m256 max[ACC_ATTN_GROUP], acc_attn_scratch *t)
{
    uint32_t position = 16 * (s0 + at);
    if (position < g->first || position + 16 > g->end)
        ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (int j = 0; j < 2; j++) s[h][j] =
            attn_mask(g, position + 8 * (uint32_t)j, s[h][j]);
    ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (int j = 0; j < 2; j++)
    {
        max[h] = _mm256_max_ps(s[h][j], max[h]);
        _mm256_store_ps(&t->s[h][16 * at + 8 * (uint32_t)j], s[h][j]);
    }
}

/* Fills the rows of scores up to a multiple of 32 positions with ones that take no part. */
static inline void attn_pad(acc_attn_scratch *t, uint32_t strips, int nh)
{
    if (strips % 2 == 0) return;
    memset(t->vscale + 16 * strips, 0, 32);
    memset(t->vzero + 16 * strips, 0, 16);
    for (int h = 0; h < nh; h++)
        for (int j = 0; j < 16; j++) t->s[h][16 * strips + (uint32_t)j] = -__builtin_inff();
}

/* Steps 2 and 3 for one row; returns B. */
static inline float attn_close(const acc_attn_segment *g, uint32_t head, acc_attn_scratch *t, int row, uint32_t strips,
                               __m256 max)
{
    float top;
    g->max[head] = max_lane256_ps(max) + 0.0f; /* one zero, whatever the order */
    attn_weights(t->s[row], t->vscale, (strips + 1) / 2 * 32, g->max[head], &g->l[head], &top);
    return top;
}

/* o = float(acc - z) * (B / 32640) */
static inline void attn_output(const acc_attn_segment *g, uint32_t head, acc_attn_scratch *t, int row)
{
    float *o = g->o + (size_t)head * g->head_dim, *f = t->s[row];
    const __m256 unit = _mm256_set1_ps(t->top[row] / 32640.0f);
    const __m256i z = _mm256_set1_epi32(t->z[row]);
    for (uint32_t d = 0; d < g->head_dim; d += 8)
        _mm256_store_ps(f + d, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(load256(&t->acc[row][d]), z)), unit));
    memcpy(o, f, g->head_dim * sizeof *o);
}

#endif
