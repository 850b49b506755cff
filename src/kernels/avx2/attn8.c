/*
 * Attention over the 8-bit cache for AVX2. Scores: |u| times the query with u's sign (vpmaddubsw; one product pair is
 * at most 2 * 128 * 127, below 2^15); values and p << x (at most 32640) as int16 (vpmaddwd).
 */
#include <math.h>

#include "kernels/avx2/attn.h"
#include "kernels/kv_layout.h"

ACC_INLINE void strip_scores(const acc_attn_piece *k, uint32_t strip, const acc_attn_query *q, uint32_t dims,
                             const int nh, __m256 s[ACC_ATTN_GROUP][2])
{
    const __m256i ones = _mm256_set1_epi16(1);
    const uint8_t *lines = k->k + strip * acc_kv8_block_bytes(dims);
    __m256i n[ACC_ATTN_GROUP][2];
    ACC_UNROLL for (int h = 0; h < nh; h++) n[h][0] = n[h][1] = _mm256_setzero_si256();
    for (uint32_t d = 0; d < dims; d += 4, lines += 64) {
        attn_ask(lines, 64);
        __m256i x[2] = {load256(lines), load256(lines + 32)};
        __m256i a[2] = {_mm256_abs_epi8(x[0]), _mm256_abs_epi8(x[1])};
        ACC_UNROLL for (int h = 0; h < nh; h++)
        {
            __m256i b = broadcast4(q[h].q + d);
            ACC_UNROLL for (int j = 0; j < 2; j++)
            {
                __m256i pairs = _mm256_maddubs_epi16(a[j], _mm256_sign_epi8(b, x[j]));
                n[h][j] = _mm256_add_epi32(n[h][j], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    ACC_UNROLL for (int j = 0; j < 2; j++)
    {
        __m256 scale = f16_to_f32(k->kscale + 16 * strip + 8 * (uint32_t)j);
        ACC_UNROLL for (int h = 0; h < nh; h++) s[h][j] = attn_score(n[h][j], scale, &q[h]);
    }
}

/* Step 4 for a row: p << x as 16-bit numbers at the row's start. */
static void probabilities(float *w, uint32_t strips, float inv)
{
    uint16_t *p = (uint16_t *)w;
    for (uint32_t b = 0; b < strips; b++) {
        uint32_t x;
        __m256i r = attn_strip(w + 16 * b, _mm256_set1_ps(inv), &x);
        store256(p + 16 * b, _mm256_sll_epi16(r, _mm_cvtsi32_si128((int)x)));
    }
}

/* t->acc (eight dimensions from d on, each in two neighbouring halves) += (p << x) * u of strip `at`. */
ACC_INLINE void half_line(const uint8_t *line, size_t group, acc_attn_scratch *t, uint32_t at, uint32_t d, const int nh)
{
    __m256i v[4][2];
    ACC_UNROLL for (int j = 0; j < 4; j++) ACC_UNROLL for (int i = 0; i < 2; i++) v[j][i] =
        _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(line + (size_t)j * group + 16 * i)));
    ACC_UNROLL for (int h = 0; h < nh; h++)
    {
        int32_t *acc = &t->acc[h][2 * d];
        __m256i sum[2] = {load256(acc), load256(acc + 8)};
        ACC_UNROLL for (int j = 0; j < 4; j++)
        {
            const __m256i p = broadcast8((const uint16_t *)t->s[h] + 16 * (size_t)at + 4 * j);
            ACC_UNROLL for (int i = 0; i < 2; i++) sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(p, v[j][i]));
        }
        ACC_UNROLL for (int i = 0; i < 2; i++) store256(acc + 8 * i, sum[i]);
    }
}

/* Strip by strip, as the values stand in memory. */
ACC_INLINE void run_values(const acc_attn_run *r, uint32_t dims, acc_attn_scratch *t, const int nh)
{
    const size_t block = acc_kv8_block_bytes(dims), group = block / 4;
    const uint8_t *lines = r->piece->v + r->from * block;
    for (uint32_t b = 0; b < r->n; b++, lines += block)
        for (uint32_t d = 0; d < dims; d += 16) {
            half_line(lines + 4 * d, group, t, r->at + b, d, nh);
            half_line(lines + 4 * d + 32, group, t, r->at + b, d + 8, nh);
            ACC_UNROLL for (int j = 0; j < 4; j++) attn_ask(lines + 4 * d + (size_t)j * group, 64);
        }
}

ACC_INLINE void heads(const acc_attn_segment *g, uint32_t h0, const int nh, acc_attn_scratch *t)
{
    uint32_t dims = acc_kv_dims(g->head_dim), s0, s1, p = 0, base = 0;
    acc_attn_strips(g, &s0, &s1);
    __m256 max[ACC_ATTN_GROUP];
    ACC_UNROLL for (int h = 0; h < nh; h++) max[h] = _mm256_set1_ps(-INFINITY);
    acc_attn_run r;
    while (acc_attn_next(g, &p, &base, &r)) {
        const acc_attn_query *q = g->queries + (size_t)r.piece->variant * g->n_heads + h0;
        memcpy(t->vscale + 16 * r.at, r.piece->vscale + 16 * r.from, 32 * (size_t)r.n);
        for (uint32_t b = 0; b < r.n; b++) {
            __m256 s[ACC_ATTN_GROUP][2];
            strip_scores(r.piece, r.from + b, q, dims, nh, s);
            attn_keep(g, s0, r.at + b, nh, s, max, t);
        }
    }
    attn_pad(t, s1 - s0, nh);
    for (int h = 0; h < nh; h++) {
        t->top[h] = attn_close(g, h0 + (uint32_t)h, t, h, s1 - s0, max[h]);
        t->z[h] = 0;
        probabilities(t->s[h], s1 - s0, t->top[h] > 0 ? 32640.0f / t->top[h] : 0);
    }
    for (int h = 0; h < nh; h++) memset(t->acc[h], 0, 2 * dims * sizeof(int32_t));
    for (p = base = 0; acc_attn_next(g, &p, &base, &r);) run_values(&r, dims, t, nh);
    for (int h = 0; h < nh; h++) {
        for (uint32_t d = 0; d < dims; d++)
            t->acc[h][d] = (int32_t)((uint32_t)t->acc[h][2 * d] + (uint32_t)t->acc[h][2 * d + 1]);
        attn_output(g, h0 + (uint32_t)h, t, h);
    }
}

void acc_avx2_attn8(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads)
}
