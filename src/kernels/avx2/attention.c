/*
 * Attention by products of bytes: over the 4-bit cache, with AVX-VNNI over the 8-bit one too. Scores: unsigned codes
 * times signed query bytes; keys of 8 bits become unsigned by adding 128, taken back as 128 * sum(q). Values: unsigned
 * probabilities times codes. Sums of 16 bits (dots.h) hold what is added to them (see each loop).
 */
#include <math.h>

#include "kernels/avx2/attn.h"
#include "kernels/avx2/dots.h"
#include "kernels/kv_layout.h"

ACC_INLINE size_t block_bytes(uint32_t dims, const int bits)
{
    return bits == 4 ? acc_kv4_block_bytes(dims) : acc_kv8_block_bytes(dims);
}

/* Codes from half a line of 4 bits (part 0: low nibbles, 1: high ones), or from half of one of two 8-bit lines. */
ACC_INLINE __m256i codes_of(const uint8_t *line, const int bits, const int part)
{
    if (bits == 8) return load256(line + 64 * part);
    const __m256i x = load256(line);
    return _mm256_and_si256(part ? _mm256_srli_epi16(x, 4) : x, _mm256_set1_epi8(15));
}

/* Sums that grow side by side: a dot product takes several cycles, and few heads would wait for it. */
ACC_INLINE int chains(const int nh)
{
    return ACC_SUM_BITS == 16 || nh > 2 ? 1 : 4 / nh;
}

/* n of sixteen positions (out[h][0], out[h][1]) for nh heads: sum(q * u), with 8 bits sum(q * (u + 128)). */
ACC_INLINE void dot(const uint8_t *lines, const acc_attn_query *q, uint32_t dims, const int bits, const int nh,
                    __m256i out[ACC_ATTN_GROUP][2])
{
    const __m256i flip = _mm256_set1_epi8(-128), zero = _mm256_setzero_si256();
    ACC_UNROLL for (int h = 0; h < nh; h++) out[h][0] = out[h][1] = zero;
    for (uint32_t d = 0; d < dims; d += 32, lines += bits == 4 ? 256 : 512) {
        attn_ask(lines, bits == 4 ? 256 : 512);
        __m256i acc[ACC_ATTN_GROUP][2][4]; /* 8 products of at most 2 * 15 * 127 each: below 2^15 */
        ACC_UNROLL for (int i = 0; i < 8; i++)
        {
            const int c = i % chains(nh);
            __m256i x[2];
            ACC_UNROLL for (int j = 0; j < 2; j++)
            {
                x[j] = codes_of(lines + i / 2 * (bits == 4 ? 64 : 128) + 32 * j, bits, i % 2);
                if (bits == 8) x[j] = _mm256_xor_si256(x[j], flip);
            }
            ACC_UNROLL for (int h = 0; h < nh; h++)
            {
                const __m256i v = broadcast4(q[h].q + d + 4 * i);
                ACC_UNROLL for (int j = 0; j < 2; j++) acc[h][j][c] =
                    i >= chains(nh) ? acc_add_bytes(acc[h][j][c], x[j], v)
                                    : acc_first_bytes(c ? zero : out[h][j], x[j], v);
            }
        }
        ACC_UNROLL for (int h = 0; h < nh; h++) ACC_UNROLL for (int j = 0; j < 2; j++)
        {
            out[h][j] = acc_wide(out[h][j], acc[h][j][0]);
            ACC_UNROLL for (int c = 1; c < chains(nh); c++) out[h][j] = _mm256_add_epi32(out[h][j], acc[h][j][c]);
        }
    }
}

ACC_INLINE void strip_scores(const acc_attn_piece *k, uint32_t strip, const acc_attn_query *q, uint32_t dims,
                             const int bits, const int nh, __m256 s[ACC_ATTN_GROUP][2])
{
    __m256i n[ACC_ATTN_GROUP][2];
    dot(k->k + strip * block_bytes(dims, bits), q, dims, bits, nh, n);
    ACC_UNROLL for (int j = 0; j < 2; j++)
    {
        uint32_t at = 16 * strip + 8 * (uint32_t)j;
        __m256i zero = _mm256_set1_epi32(128);
        if (bits == 4) zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(k->kzero + at)));
        __m256 scale = f16_to_f32(k->kscale + at);
        ACC_UNROLL for (int h = 0; h < nh; h++)
        {
            __m256i sum = _mm256_sub_epi32(n[h][j], _mm256_mullo_epi32(zero, _mm256_set1_epi32(q[h].sum)));
            s[h][j] = attn_score(sum, scale, &q[h]);
        }
    }
}

/* Step 4 for a row: p as bytes at the row's start, shift for acc_shifted(); z, 0 without zeros. */
static int32_t probabilities(float *w, const uint8_t *vzero, uint32_t strips, float inv, uint32_t *shift)
{
    uint8_t *p = (uint8_t *)w;
    __m128i z = _mm_setzero_si128();
    for (uint32_t b = 0; b < strips; b++) {
        uint32_t x;
        __m256i r = attn_strip(w + 16 * b, _mm256_set1_ps(inv), &x);
        __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
        _mm_storeu_si128((__m128i *)(p + 16 * b), bytes);
        shift[b] = acc_shift(x);
        if (!vzero) continue;
        __m128i zero = _mm_loadu_si128((const __m128i *)(vzero + 16 * b)); /* 0..15 where p is not 0 */
        __m128i t = _mm_maddubs_epi16(bytes, _mm_and_si128(zero, _mm_set1_epi8(15)));
        z = _mm_add_epi32(z, _mm_madd_epi16(t, _mm_set1_epi32((int)(0x10001u << x))));
    }
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(z, _mm_shuffle_epi32(z, 0xb1)));
}

/* t->acc (dimensions d on of half a line, and those 16 up) += (sum p * u) << x of strip `at`. */
ACC_INLINE void half_line(const uint8_t *line, size_t group, acc_attn_scratch *t, uint32_t at, uint32_t d,
                          const int bits, const int nh)
{
    __m256i v[4][2];
    ACC_UNROLL for (int j = 0; j < 4; j++) ACC_UNROLL for (int part = 0; part < 2; part++) v[j][part] =
        codes_of(line + (size_t)j * group, bits, part);
    ACC_UNROLL for (int h = 0; h < nh; h++)
    {
        const uint8_t *p = (const uint8_t *)t->s[h] + 16 * (size_t)at;
        const uint32_t shift = t->shift[h][at];
        __m256i sum[2]; /* 4 * 2 * 255 * 15: below 2^15 */
        ACC_UNROLL for (int j = 0; j < 4; j++)
        {
            const __m256i four = broadcast4(p + 4 * j);
            ACC_UNROLL for (int part = 0; part < 2; part++) sum[part] =
                j ? acc_add_bytes(sum[part], four, v[j][part])
                  : acc_first_bytes(_mm256_setzero_si256(), four, v[j][part]);
        }
        ACC_UNROLL for (int part = 0; part < 2; part++)
        {
            int32_t *acc = &t->acc[h][d + 16 * (uint32_t)part];
            store256(acc, _mm256_add_epi32(load256(acc), acc_shifted(sum[part], shift)));
        }
    }
}

/* Strip by strip, as the values stand in memory. */
ACC_INLINE void run_values(const acc_attn_run *r, uint32_t dims, acc_attn_scratch *t, const int bits, const int nh)
{
    const size_t block = block_bytes(dims, bits);
    const uint8_t *lines = r->piece->v + r->from * block;
    for (uint32_t b = 0; b < r->n; b++, lines += block)
        for (uint32_t d = 0; d < dims; d += 32) {
            const uint8_t *line = lines + d / 32 * (bits == 4 ? 64 : 128);
            half_line(line, block / 4, t, r->at + b, d, bits, nh);
            half_line(line + 32, block / 4, t, r->at + b, d + 8, bits, nh);
            ACC_UNROLL for (int j = 0; j < 4; j++) attn_ask(line + (size_t)j * (block / 4), bits == 4 ? 64 : 128);
        }
}

/* One group of nh heads from head h0 on. */
ACC_INLINE void heads(const acc_attn_segment *g, uint32_t h0, const int bits, const int nh, acc_attn_scratch *t)
{
    uint32_t dims = acc_kv_dims(g->head_dim), s0, s1, p = 0, base = 0;
    acc_attn_strips(g, &s0, &s1);
    __m256 max[ACC_ATTN_GROUP];
    ACC_UNROLL for (int h = 0; h < nh; h++) max[h] = _mm256_set1_ps(-INFINITY);
    acc_attn_run r;
    while (acc_attn_next(g, &p, &base, &r)) {
        const acc_attn_query *q = g->queries + (size_t)r.piece->variant * g->n_heads + h0;
        memcpy(t->vscale + 16 * r.at, r.piece->vscale + 16 * r.from, 32 * (size_t)r.n);
        if (bits == 4) memcpy(t->vzero + 16 * r.at, r.piece->vzero + 16 * r.from, 16 * (size_t)r.n);
        for (uint32_t b = 0; b < r.n; b++) {
            __m256 s[ACC_ATTN_GROUP][2];
            strip_scores(r.piece, r.from + b, q, dims, bits, nh, s);
            attn_keep(g, s0, r.at + b, nh, s, max, t);
        }
    }
    attn_pad(t, s1 - s0, nh);
    for (int h = 0; h < nh; h++) {
        float top = attn_close(g, h0 + (uint32_t)h, t, h, s1 - s0, max[h]);
        int32_t z =
            probabilities(t->s[h], bits == 4 ? t->vzero : NULL, s1 - s0, top > 0 ? 32640.0f / top : 0, t->shift[h]);
        t->top[h] = top;
        t->z[h] = z;
    }
    for (int h = 0; h < nh; h++) memset(t->acc[h], 0, dims * sizeof(int32_t));
    for (p = base = 0; acc_attn_next(g, &p, &base, &r);) run_values(&r, dims, t, bits, nh);
    for (int h = 0; h < nh; h++) attn_output(g, h0 + (uint32_t)h, t, h);
}

ACC_INLINE void heads4(const acc_attn_segment *g, uint32_t h0, const int nh, acc_attn_scratch *t)
{
    heads(g, h0, 4, nh, t);
}

#ifdef ACC_AVXVNNI

ACC_INLINE void heads8(const acc_attn_segment *g, uint32_t h0, const int nh, acc_attn_scratch *t)
{
    heads(g, h0, 8, nh, t);
}

void acc_avxvnni_attn8(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads8)
}

#endif

void ACC_AVX2(attn4)(const acc_attn_segment *g, void *scratch)
{
    ACC_ATTN_EACH_GROUP(g, scratch, heads4)
}
