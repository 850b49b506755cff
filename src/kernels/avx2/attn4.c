/*
 * Attention over the 4-bit cache for AVX2. Scores: unsigned nibbles times signed query bytes (vpmaddubsw), values:
 * unsigned probabilities times nibbles; int16 sums hold what is added to them (see each loop).
 */
#include <math.h>

#include "kernels/avx2/attn.h"
#include "kernels/avx2/softmax.h"
#include "kernels/kv_layout.h"

/* Strips whose values stay in the L1 cache while the dimensions are walked. */
#define VALUE_STRIPS 16u

/* n of sixteen positions (out[h][0], out[h][1]) for nh heads: sum(q * u). */
ACC_INLINE void dot(const uint8_t *lines, const acc_attn_query *q, uint32_t dims, const int nh,
                    __m256i out[ACC_ATTN_GROUP][2])
{
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    ACC_UNROLL for (int h = 0; h < nh; h++) out[h][0] = out[h][1] = _mm256_setzero_si256();
    for (uint32_t d = 0; d < dims; d += 32) {
        __m256i acc[ACC_ATTN_GROUP][2]; /* 8 products of at most 2 * 15 * 127 each: below 2^15 */
        ACC_UNROLL for (int l = 0; l < 4; l++, lines += 64)
        {
            __m256i x0 = load256(lines), x1 = load256(lines + 32);
            __m256i lo0 = _mm256_and_si256(x0, low), hi0 = _mm256_and_si256(_mm256_srli_epi16(x0, 4), low);
            __m256i lo1 = _mm256_and_si256(x1, low), hi1 = _mm256_and_si256(_mm256_srli_epi16(x1, 4), low);
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                __m256i ql = broadcast4(q[h].q + d + 8 * l), qh = broadcast4(q[h].q + d + 8 * l + 4);
                __m256i p0 = _mm256_add_epi16(_mm256_maddubs_epi16(lo0, ql), _mm256_maddubs_epi16(hi0, qh));
                __m256i p1 = _mm256_add_epi16(_mm256_maddubs_epi16(lo1, ql), _mm256_maddubs_epi16(hi1, qh));
                acc[h][0] = l ? _mm256_add_epi16(acc[h][0], p0) : p0;
                acc[h][1] = l ? _mm256_add_epi16(acc[h][1], p1) : p1;
            }
        }
        ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (int j = 0; j < 2; j++) out[h][j] =
            _mm256_add_epi32(out[h][j], _mm256_madd_epi16(acc[h][j], ones));
    }
}

ACC_INLINE void strip_scores(const acc_attn_piece *k, uint32_t strip, const acc_attn_query *q, uint32_t dims,
                             const int nh, __m256 s[ACC_ATTN_GROUP][2])
{
    __m256i n[ACC_ATTN_GROUP][2];
    dot(k->k + strip * acc_kv4_block_bytes(dims), q, dims, nh, n);
    ACC_UNROLL for (int j = 0; j < 2; j++)
    {
        uint32_t at = 16 * strip + 8 * (uint32_t)j;
        __m256i zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(k->kzero + at)));
        __m256 scale = f16_to_f32(k->kscale + at);
        ACC_UNROLL for (int h = 0; h < nh; h++)
        {
            __m256i sum = _mm256_sub_epi32(n[h][j], _mm256_mullo_epi32(zero, _mm256_set1_epi32(q[h].sum)));
            s[h][j] = attn_score(sum, scale, &q[h]);
        }
    }
}

/* Step 4 for a row: p as bytes at the row's start, 1 << x twice in each entry of shift; z. */
static int32_t probabilities(float *w, const uint8_t *vzero, uint32_t strips, float inv, uint32_t *shift)
{
    uint8_t *p = (uint8_t *)w;
    __m128i z = _mm_setzero_si128();
    for (uint32_t b = 0; b < strips; b++) {
        uint32_t x;
        __m256i r = attn_strip(w + 16 * b, _mm256_set1_ps(inv), &x);
        __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
        _mm_storeu_si128((__m128i *)(p + 16 * b), bytes);
        shift[b] = 0x10001u << x;
        __m128i zero = _mm_loadu_si128((const __m128i *)(vzero + 16 * b)); /* 0..15 where p is not 0 */
        __m128i t = _mm_maddubs_epi16(bytes, _mm_and_si128(zero, _mm_set1_epi8(15)));
        z = _mm_add_epi32(z, _mm_madd_epi16(t, _mm_set1_epi32((int)shift[b])));
    }
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(z, _mm_shuffle_epi32(z, 0xb1)));
}

/* acc (sixteen dimensions: low and high nibbles of half lines) += the strips' (sum p * u) << x. */
ACC_INLINE void half_line(const uint8_t *lines, size_t block, size_t group, uint32_t strips, acc_attn_scratch *t,
                          uint32_t at, const int nh, __m256i acc[ACC_ATTN_GROUP][2])
{
    const __m256i low = _mm256_set1_epi8(15);
    for (uint32_t b = 0; b < strips; b++, lines += block) {
        ACC_UNROLL for (int part = 0; part < 2; part++)
        {
            __m256i v[4];
            ACC_UNROLL for (int j = 0; j < 4; j++)
            {
                v[j] = load256(lines + (size_t)j * group);
                v[j] = _mm256_and_si256(part ? _mm256_srli_epi16(v[j], 4) : v[j], low);
            }
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                const uint8_t *p = (const uint8_t *)t->s[h] + 16 * (size_t)(at + b);
                __m256i sum = _mm256_maddubs_epi16(broadcast4(p), v[0]); /* 4 * 2 * 255 * 15: below 2^15 */
                ACC_UNROLL for (int j = 1; j < 4; j++) sum =
                    _mm256_add_epi16(sum, _mm256_maddubs_epi16(broadcast4(p + 4 * j), v[j]));
                sum = _mm256_madd_epi16(sum, _mm256_set1_epi32((int)t->shift[h][at + b]));
                acc[h][part] = _mm256_add_epi32(acc[h][part], sum);
            }
        }
    }
}

ACC_INLINE void run_values(const acc_attn_run *r, uint32_t dims, acc_attn_scratch *t, const int nh)
{
    size_t block = acc_kv4_block_bytes(dims), group = block / 4;
    for (uint32_t b = 0; b < r->n; b += VALUE_STRIPS) {
        uint32_t strips = r->n - b < VALUE_STRIPS ? r->n - b : VALUE_STRIPS;
        const uint8_t *lines = r->piece->v + (r->from + b) * block;
        for (uint32_t half = 0; half < dims / 16; half++) {
            uint32_t d = half / 2 * 32 + half % 2 * 8; /* of the low nibbles; the high ones stand for d + 16 */
            __m256i acc[ACC_ATTN_GROUP][2];
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                acc[h][0] = load256(&t->acc[h][d]);
                acc[h][1] = load256(&t->acc[h][d + 16]);
            }
            half_line(lines + 32 * half, block, group, strips, t, r->at + b, nh, acc);
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                store256(&t->acc[h][d], acc[h][0]);
                store256(&t->acc[h][d + 16], acc[h][1]);
            }
        }
    }
}

/* One group of nh heads from head h0 on. */
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
        memcpy(t->vzero + 16 * r.at, r.piece->vzero + 16 * r.from, 16 * (size_t)r.n);
        for (uint32_t b = 0; b < r.n; b++) {
            __m256 s[ACC_ATTN_GROUP][2];
            strip_scores(r.piece, r.from + b, q, dims, nh, s);
            attn_keep(g, s0, r.at + b, nh, s, max, t);
        }
    }
    attn_pad(t, s1 - s0, nh);
    for (int h = 0; h < nh; h++) {
        float top = attn_close(g, h0 + (uint32_t)h, t, h, s1 - s0, max[h]);
        int32_t z = probabilities(t->s[h], t->vzero, s1 - s0, top > 0 ? 32640.0f / top : 0, t->shift[h]);
        t->top[h] = top;
        t->z[h] = z;
    }
    for (int h = 0; h < nh; h++) memset(t->acc[h], 0, dims * sizeof(int32_t));
    for (p = base = 0; acc_attn_next(g, &p, &base, &r);) run_values(&r, dims, t, nh);
    for (int h = 0; h < nh; h++) attn_output(g, h0 + (uint32_t)h, t, h);
}

void acc_attn4_avx2(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads)
}
