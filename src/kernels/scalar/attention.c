/*
 * Attention of one segment, and the query's codes: the scalar definition of docs/numerics.md "Attention of one query
 * and head", steps 1 to 5, over the lines of kernels/kv_layout.h. Integer sums are modulo 2^32.
 */
#include <math.h>
#include <string.h>

#include "kernels/kv_layout.h"
#include "kernels/scalar/scalar.h"
#include "numerics/numerics.h"

/* What one head carries from step to step; positions by their number in the segment. */
typedef struct head_state {
    float *s;   /* scores, then weights w; one per position of the pieces */
    float max;  /* M */
    float top;  /* B */
    uint32_t l; /* L */
    uint32_t acc[ACC_MAX_HEAD_DIM], z;
} head_state;

static bool takes_part(const acc_attn_segment *g, uint32_t i)
{
    return i >= g->first && i < g->end;
}

static bool strip_takes_part(const acc_attn_segment *g, uint32_t base)
{
    return base + ACC_KV_BLOCK > g->first && base < g->end;
}

/* Step 1 for one block: n[pos] += q * u. */
static void dot4(const uint8_t *lines, const int8_t *q, uint32_t dims, uint32_t n[16])
{
    for (uint32_t d = 0; d < dims; d += 8, lines += 64)
        for (uint32_t b = 0; b < 64; b++)
            n[b / 4] += (uint32_t)(q[d + b % 4] * (lines[b] & 15) + q[d + 4 + b % 4] * (lines[b] >> 4));
}

static void dot8(const uint8_t *lines, const int8_t *q, uint32_t dims, uint32_t n[16])
{
    for (uint32_t d = 0; d < dims; d += 4, lines += 64)
        for (uint32_t b = 0; b < 64; b++) n[b / 4] += (uint32_t)(q[d + b % 4] * (int8_t)lines[b]);
}

static void scores(const acc_attn_segment *g, bool wide, uint32_t head, head_state *h)
{
    uint32_t dims = acc_kv_dims(g->head_dim), base = 0;
    size_t block = wide ? acc_kv8_block_bytes(dims) : acc_kv4_block_bytes(dims);
    h->max = -INFINITY;
    for (uint32_t p = 0; p < g->n_pieces; base += g->pieces[p++].n) {
        const acc_attn_piece *k = &g->pieces[p];
        const acc_attn_query *q = &g->queries[(size_t)k->variant * g->n_heads + head];
        for (uint32_t at = 0; at < k->n; at += ACC_KV_BLOCK) {
            if (!strip_takes_part(g, base + at)) continue;
            uint32_t n[ACC_KV_BLOCK] = {0};
            (wide ? dot8 : dot4)(k->k + at / ACC_KV_BLOCK * block, q->q, dims, n);
            for (uint32_t j = 0; j < ACC_KV_BLOCK; j++) {
                if (!takes_part(g, base + at + j)) continue;
                uint32_t zero = wide ? 0 : k->kzero[at + j];
                int32_t sum = (int32_t)(n[j] - zero * (uint32_t)q->sum);
                float s = (float)sum * (acc_f16_to_f32(k->kscale[at + j]) * q->c) + q->beta;
                h->s[base + at + j] = s;
                if (s > h->max) h->max = s; /* a NaN never wins */
            }
        }
    }
    h->max += 0.0f; /* one zero, whatever the order */
}

/* Steps 2 and 3, and w and B of step 4. */
static void weights(const acc_attn_segment *g, head_state *h)
{
    uint32_t base = 0;
    h->l = 0;
    h->top = 0;
    for (uint32_t p = 0; p < g->n_pieces; base += g->pieces[p++].n)
        for (uint32_t at = 0; at < g->pieces[p].n; at++) {
            uint32_t i = base + at;
            if (!takes_part(g, i)) continue;
            uint32_t e = acc_exp2_u16((h->s[i] - h->max) * ACC_LOG2E_65536);
            float w = (float)e * acc_f16_to_f32(g->pieces[p].vscale[at]);
            h->l += e;
            h->s[i] = w;
            if (w > h->top) h->top = w;
        }
}

/* Step 4 for one strip: p and the shift x. */
static uint32_t strip(const acc_attn_segment *g, const head_state *h, float inv, uint32_t base, uint32_t p[16])
{
    uint32_t max = 0, x = 0;
    for (uint32_t j = 0; j < ACC_KV_BLOCK; j++) {
        p[j] = takes_part(g, base + j) ? (uint32_t)acc_rne(h->s[base + j] * inv) : 0;
        if (p[j] > max) max = p[j];
    }
    while (x < 7 && (max + ((1u << x) >> 1)) >> x > 255) x++;
    for (uint32_t j = 0; j < ACC_KV_BLOCK; j++) p[j] = (p[j] + ((1u << x) >> 1)) >> x;
    return x;
}

/* Step 5 for one strip. */
static void add4(head_state *h, const uint8_t *lines, const uint8_t *zero, uint32_t head_dim, const uint32_t *p,
                 uint32_t x)
{
    uint32_t dims = acc_kv_dims(head_dim), z = 0;
    for (uint32_t j = 0; j < ACC_KV_BLOCK; j++) z += p[j] * zero[j];
    h->z += z << x;
    for (uint32_t d = 0; d < head_dim; d++) {
        uint32_t sum = 0;
        for (uint32_t j = 0; j < ACC_KV_BLOCK; j++)
            sum += p[j] * (lines[acc_kv4_value_at(j, d, dims)] >> acc_kv4_value_shift(d) & 15);
        h->acc[d] += sum << x;
    }
}

static void add8(head_state *h, const uint8_t *lines, uint32_t head_dim, const uint32_t *p, uint32_t x)
{
    uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = 0; d < head_dim; d++) {
        uint32_t sum = 0;
        for (uint32_t j = 0; j < ACC_KV_BLOCK; j++)
            sum += p[j] * (uint32_t)(int32_t)(int8_t)lines[acc_kv8_value_at(j, d, dims)];
        h->acc[d] += sum << x;
    }
}

static void values(const acc_attn_segment *g, bool wide, head_state *h)
{
    uint32_t dims = acc_kv_dims(g->head_dim), base = 0;
    size_t block = wide ? acc_kv8_block_bytes(dims) : acc_kv4_block_bytes(dims);
    float inv = 32640.0f / h->top;
    memset(h->acc, 0, sizeof h->acc);
    h->z = 0;
    for (uint32_t p = 0; p < g->n_pieces; base += g->pieces[p++].n) {
        const acc_attn_piece *k = &g->pieces[p];
        for (uint32_t at = 0; at < k->n; at += ACC_KV_BLOCK) {
            if (!strip_takes_part(g, base + at)) continue;
            uint32_t r[ACC_KV_BLOCK], x = strip(g, h, inv, base + at, r);
            const uint8_t *lines = k->v + at / ACC_KV_BLOCK * block;
            if (wide)
                add8(h, lines, g->head_dim, r, x);
            else
                add4(h, lines, k->vzero + at, g->head_dim, r, x);
        }
    }
}

static void attend(const acc_attn_segment *g, bool wide, void *scratch)
{
    head_state h = {.s = scratch};
    for (uint32_t head = 0; head < g->n_heads; head++) {
        float *o = g->o + (size_t)head * g->head_dim;
        scores(g, wide, head, &h);
        weights(g, &h);
        g->max[head] = h.max;
        g->l[head] = h.l;
        memset(o, 0, g->head_dim * sizeof *o);
        if (h.top == 0) continue;
        values(g, wide, &h);
        float unit = h.top / 32640.0f;
        for (uint32_t d = 0; d < g->head_dim; d++) o[d] = (float)(int32_t)(h.acc[d] - h.z) * unit;
    }
}

static void attn4(const acc_attn_segment *g, void *scratch)
{
    attend(g, false, scratch);
}

static void attn8(const acc_attn_segment *g, void *scratch)
{
    attend(g, true, scratch);
}

static bool attn_query(const float *q, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                       uint32_t block, float att, int8_t *q8, acc_attn_query *out)
{
    float x[ACC_MAX_HEAD_DIM], scale;
    memcpy(x, q, head_dim * sizeof *x);
    acc_rope_rotate(x, cos, sin, head_dim);
    out->beta = mu ? acc_sum_products(x, mu, head_dim) * att : 0;
    acc_hadamard(x, head_dim, block);
    if (!acc_a8(x, head_dim, acc_kv_dims(head_dim), q8, &scale)) return false;
    out->q = q8;
    out->c = scale * (att / (float)block);
    out->sum = 0;
    for (uint32_t d = 0; d < head_dim; d++) out->sum += q8[d];
    return isfinite(out->beta) && isfinite(out->c);
}

void acc_kernels_init_scalar_attn(acc_kernels *k)
{
    k->attn4 = attn4;
    k->attn8 = attn8;
    k->attn_query = attn_query;
}
