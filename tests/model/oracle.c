#include "model/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache/kv.h"
#include "core/hash.h"
#include "numerics/numerics.h"

/* One stored key and value of one KV head. */
typedef struct entry {
    int32_t k[256], v[256], kzero, vzero;
    float kscale, vscale;
} entry;

/* A matrix as integers: y[n] = float(sum_g m * sum w a) * (rscale * scale). */
typedef struct matrix {
    const acc_weight *w;
    int8_t *ints; /* [rows padded][cols padded] */
    uint8_t *m;   /* [rows padded][col_groups] */
} matrix;

typedef struct layer {
    matrix q, k, v, o, gate, up, down;
    entry *entries; /* [kv head][index of the position] */
    entry *near;    /* the same at 8 bits, for the queries that are near */
    uint64_t hash;
} layer;

struct oracle {
    const acc_packed *p;
    uint32_t sinks, window, bits, near;
    uint64_t pos, depth; /* depth: where tokens begin */
    uint64_t base;       /* the first window position that is kept */
    uint64_t n_entries;
    layer *layers;
    matrix output;
    uint64_t logits_hash;
    float *x;
};

/* A position as seen by one query head, on its way through steps 1 to 5. */
typedef struct seen {
    uint64_t pos;
    bool near;
    const entry *e;
    float s, w;
} seen;

static void *get(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) abort();
    return p;
}

static void fail_unless(bool ok)
{
    if (!ok) abort();
}

static matrix expand(const acc_weight *w)
{
    matrix m = {.w = w};
    size_t cols = (size_t)w->col_groups * w->group;
    m.ints = get((size_t)w->row_blocks * 64, cols);
    m.m = get((size_t)w->row_blocks * 64, w->col_groups);
    for (uint32_t rb = 0; rb < w->row_blocks; rb++)
        acc_weight_unpack_block(w, rb, m.ints + (size_t)rb * 64 * cols, m.m + (size_t)rb * 64 * w->col_groups);
    return m;
}

static void drop(matrix *m)
{
    free(m->ints);
    free(m->m);
}

static void multiply(const matrix *m, const int8_t *a, float scale, const float *bias, float *y)
{
    const acc_weight *w = m->w;
    size_t cols = (size_t)w->col_groups * w->group;
    for (uint32_t n = 0; n < w->rows; n++) {
        int32_t sum = 0;
        for (uint32_t g = 0; g < w->col_groups; g++) {
            int32_t part = 0;
            uint32_t end = (g + 1) * w->group < w->cols ? (g + 1) * w->group : w->cols;
            for (uint32_t k = g * w->group; k < end; k++) part += m->ints[n * cols + k] * a[k];
            sum += m->m[(size_t)n * w->col_groups + g] * part;
        }
        y[n] = (float)sum * (w->rscale[n] * scale);
        if (bias) y[n] += bias[n];
    }
}

void oracle_free(oracle *o)
{
    for (uint32_t i = 0; i < o->p->hp.n_layers; i++) {
        layer *l = &o->layers[i];
        matrix *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (int k = 0; k < 7; k++) drop(all[k]);
        free(l->entries);
        free(l->near);
    }
    drop(&o->output);
    free(o->layers);
    free(o->x);
    free(o);
}

static bool wide(const oracle *o, uint64_t pos)
{
    return pos < o->sinks || o->bits == 8;
}

static entry *slot(const oracle *o, uint32_t index, uint32_t kv_head, uint64_t pos, bool near)
{
    uint64_t i = pos < o->sinks ? pos : o->sinks + (pos - o->base);
    fail_unless(i < o->n_entries);
    return &(near ? o->layers[index].near : o->layers[index].entries)[kv_head * o->n_entries + i];
}

/* key: a transformed one; direction may be NULL. */
static void codes(const float *x, uint32_t n, bool eight, bool key, const float *direction, int32_t *u, float *scale,
                  int32_t *zero)
{
    uint8_t u4[256], z = 0;
    int8_t u8[256];
    uint16_t f16;
    if (eight)
        fail_unless(acc_kv8(x, n, u8, &f16));
    else
        fail_unless(key ? acc_kv4_key(x, n, direction, u4, &f16, &z) : acc_kv4(x, n, u4, &f16, &z));
    for (uint32_t i = 0; i < n; i++) u[i] = eight ? u8[i] : u4[i];
    *scale = acc_f16_to_f32(f16);
    *zero = z;
}

static void rotate(const oracle *o, uint64_t distance, float *x)
{
    float cos[128], sin[128];
    acc_rope_angles(distance, o->p->hp.rope_steps, o->p->hp.head_dim, cos, sin);
    acc_rope_rotate(x, cos, sin, o->p->hp.head_dim);
}

static void store(oracle *o, uint32_t index, uint32_t kv_head, const float *key, const float *value)
{
    entry *e = slot(o, index, kv_head, o->pos, false), *near = slot(o, index, kv_head, o->pos, true);
    uint32_t hd = o->p->hp.head_dim;
    const float *mean = o->p->layers[index].k_mean;
    float x[256];
    bool sink = o->pos < o->sinks;
    memcpy(x, key, hd * sizeof *x);
    rotate(o, sink ? o->pos : o->pos % o->p->page, x);
    if (!sink) {
        for (uint32_t i = 0; mean && i < hd; i++) x[i] -= mean[kv_head * hd + i];
        acc_hadamard(x, hd, acc_hadamard_block(hd));
    }
    const float *direction = o->p->layers[index].q_direction;
    if (direction) direction += kv_head * hd;
    codes(x, hd, wide(o, o->pos), true, direction, e->k, &e->kscale, &e->kzero);
    codes(value, hd, wide(o, o->pos), false, NULL, e->v, &e->vscale, &e->vzero);
    codes(x, hd, true, true, NULL, near->k, &near->kscale, &near->kzero);
    codes(value, hd, true, false, NULL, near->v, &near->vscale, &near->vzero);
}

static void fill_one(const oracle *o, uint32_t index, uint32_t kv_head, uint64_t pos, bool near)
{
    entry *e = slot(o, index, kv_head, pos, near);
    bool eight = near || wide(o, pos);
    uint32_t hd = o->p->hp.head_dim;
    for (int value = 0; value < 2; value++) {
        uint8_t u[256], zero;
        uint16_t f16;
        acc_kv_pseudo(index, kv_head, value, pos, hd, eight ? 8 : 4, u, &f16, &zero);
        int32_t *dst = value ? e->v : e->k;
        for (uint32_t i = 0; i < hd; i++) dst[i] = eight ? (int8_t)u[i] : u[i];
        *(value ? &e->vscale : &e->kscale) = acc_f16_to_f32(f16);
        *(value ? &e->vzero : &e->kzero) = zero;
    }
}

/* What acc_kv_fill() puts into the cache. */
static void fill(oracle *o)
{
    for (uint32_t i = 0; i < o->p->hp.n_layers; i++)
        for (uint32_t h = 0; h < o->p->hp.n_kv_heads; h++) {
            for (uint64_t pos = 0; pos < o->sinks && pos < o->depth; pos++) fill_one(o, i, h, pos, false);
            for (uint64_t pos = o->base; pos < o->depth; pos++)
                for (int near = 0; near < 2; near++) fill_one(o, i, h, pos, near);
        }
}

oracle *oracle_create(const acc_packed *m, uint32_t sinks, uint32_t window, uint32_t bits, uint32_t near,
                      uint64_t depth, uint32_t max_tokens)
{
    oracle *o = get(1, sizeof *o);
    const acc_hparams *hp = &m->hp;
    *o = (oracle){.p = m, .sinks = sinks, .window = window, .bits = bits, .pos = depth, .depth = depth, .base = sinks};
    o->near = bits == 4 ? near : 0;
    if (depth > window && depth - window > sinks) o->base = depth - window;
    o->n_entries = sinks + (depth > o->base ? depth - o->base : 0) + max_tokens;
    o->logits_hash = ACC_FNV_START;
    o->x = get(hp->n_embd, sizeof(float));
    o->output = expand(&m->output);
    o->layers = get(hp->n_layers, sizeof *o->layers);
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        const acc_packed_layer *p = &m->layers[i];
        o->layers[i] = (layer){.q = expand(&p->q),
                               .k = expand(&p->k),
                               .v = expand(&p->v),
                               .o = expand(&p->o),
                               .gate = expand(&p->gate),
                               .up = expand(&p->up),
                               .down = expand(&p->down),
                               .entries = get(hp->n_kv_heads * o->n_entries, sizeof(entry)),
                               .near = get(hp->n_kv_heads * o->n_entries, sizeof(entry)),
                               .hash = ACC_FNV_START};
    }
    fill(o);
    return o;
}

/* One head's query for one page, or for the sinks. */
typedef struct query {
    int8_t a[256];
    int64_t sum;
    float c, beta;
} query;

static query make_query(const oracle *o, uint32_t index, uint32_t kv_head, const float *q, uint64_t pos)
{
    const acc_hparams *hp = &o->p->hp;
    uint32_t hd = hp->head_dim, block = 1;
    const float *mean = o->p->layers[index].k_mean;
    float x[256], scale;
    query y = {.beta = 0};
    memcpy(x, q, hd * sizeof *x);
    if (pos < o->sinks) {
        uint64_t last = (uint64_t)o->sinks + o->window - 1;
        rotate(o, o->pos < last ? o->pos : last, x);
    } else {
        rotate(o, o->pos - pos / o->p->page * o->p->page, x);
        if (mean) y.beta = acc_sum_products(x, mean + kv_head * hd, hd) * hp->attn_scale;
        block = acc_hadamard_block(hd);
        acc_hadamard(x, hd, block);
    }
    fail_unless(acc_a8(x, hd, hd, y.a, &scale));
    for (uint32_t i = 0; i < hd; i++) y.sum += y.a[i];
    y.c = scale * (hp->attn_scale / (float)block);
    return y;
}

/* Step 1 for one position. */
static float score(const query *q, const entry *e, uint32_t hd)
{
    int32_t n = 0;
    for (uint32_t i = 0; i < hd; i++) n += q->a[i] * e->k[i];
    return (float)(int32_t)(n - e->kzero * q->sum) * (e->kscale * q->c) + q->beta;
}

static bool same_page(const oracle *o, uint64_t i, uint64_t j)
{
    if (i < o->sinks || j < o->sinks) return i < o->sinks && j < o->sinks;
    return i / o->p->page == j / o->p->page;
}

/* Steps 2 to 5 of one segment. */
static void segment(seen *z, uint32_t n, uint32_t hd, float *max, uint32_t *total, float *out)
{
    float top = 0;
    *max = z[0].s;
    for (uint32_t i = 1; i < n; i++)
        if (z[i].s > *max) *max = z[i].s;
    *total = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t e = acc_exp2_u16((z[i].s - *max) * ACC_LOG2E_65536);
        *total += e;
        z[i].w = (float)e * z[i].e->vscale;
        if (z[i].w > top) top = z[i].w;
    }
    int32_t acc[256] = {0};
    for (uint32_t i = 0, end; i < n && top > 0; i = end) {
        int32_t r[16], most = 0, x = 0;
        for (end = i; end < n && z[end].pos / 16 == z[i].pos / 16; end++) {
            r[end - i] = acc_rne(z[end].w * (32640.0f / top));
            if (r[end - i] > most) most = r[end - i];
        }
        while (x < 7 && (most + ((1 << x) >> 1)) >> x > 255) x++;
        for (uint32_t j = i; j < end; j++) {
            int32_t p = (r[j - i] + ((1 << x) >> 1)) >> x;
            for (uint32_t d = 0; d < hd; d++) acc[d] += p * (z[j].e->v[d] - z[j].e->vzero) * (1 << x);
        }
    }
    for (uint32_t d = 0; d < hd; d++) out[d] = top > 0 ? (float)acc[d] * (top / 32640.0f) : 0;
}

/* Step 6. */
static void merge(const float *max, const uint32_t *total, const float *parts, uint32_t n, uint32_t hd, float *out)
{
    float all = max[0], den = 0, num[256] = {0};
    for (uint32_t i = 1; i < n; i++)
        if (max[i] > all) all = max[i];
    for (uint32_t i = 0; i < n; i++) {
        float d = (max[i] - all) * ACC_LOG2E_65536;
        float e = d < -60.0f * 65536 ? 0 : acc_exp2_merge(d);
        den += e * (float)total[i];
        for (uint32_t k = 0; k < hd; k++) num[k] += e * parts[(size_t)i * hd + k];
    }
    for (uint32_t k = 0; k < hd; k++) out[k] = num[k] * (1 / den);
}

static void attend(oracle *o, uint32_t index, uint32_t head, const float *q, float *out)
{
    const acc_hparams *hp = &o->p->hp;
    uint32_t hd = hp->head_dim, kv_head = head / (hp->n_heads / hp->n_kv_heads), n = 0, parts = 0;
    uint64_t t = o->pos, begin = t >= o->window ? t - o->window + 1 : 0;
    seen *z = get(o->n_entries, sizeof *z);
    query y;
    for (uint64_t j = 0; j < o->sinks && j <= t; j++) z[n++].pos = j;
    for (uint64_t j = begin > o->sinks ? begin : o->sinks; j <= t; j++) z[n++].pos = j;
    for (uint32_t i = 0; i < n; i++) {
        z[i].near = z[i].pos >= o->sinks && t - z[i].pos < o->near;
        z[i].e = slot(o, index, kv_head, z[i].pos, z[i].near);
        if (i == 0 || !same_page(o, z[i - 1].pos, z[i].pos)) y = make_query(o, index, kv_head, q, z[i].pos);
        z[i].s = score(&y, z[i].e, hd);
    }
    float *max = get(n, sizeof *max), *results = get((size_t)n * hd, sizeof *results);
    uint32_t *total = get(n, sizeof *total);
    for (uint32_t i = 0, end; i < n; i = end, parts++) {
        uint64_t length = z[i].near ? UINT64_MAX : wide(o, z[i].pos) ? 512 : 4096;
        for (end = i; end < n && z[end].near == z[i].near && (z[end].pos < o->sinks) == (z[i].pos < o->sinks) &&
                      z[end].pos / length == z[i].pos / length;)
            end++;
        segment(z + i, end - i, hd, &max[parts], &total[parts], results + (size_t)parts * hd);
    }
    merge(max, total, results, parts, hd, out);
    free(max);
    free(total);
    free(results);
    free(z);
}

static void norm_codes(const oracle *o, const float *gain, int8_t *a, float *scale)
{
    uint32_t n = o->p->hp.n_embd;
    fail_unless(acc_norm_a8(o->x, gain, n, n, o->p->hp.norm_eps, a, scale));
}

static void add(float *x, const float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) x[i] += y[i];
}

static void attention_part(oracle *o, uint32_t index)
{
    const acc_hparams *hp = &o->p->hp;
    const acc_packed_layer *p = &o->p->layers[index];
    const layer *l = &o->layers[index];
    uint32_t hd = hp->head_dim, q_dim = hp->n_heads * hd, kv_dim = hp->n_kv_heads * hd;
    float *q = get(q_dim, sizeof *q), *k = get(kv_dim, sizeof *k), *v = get(kv_dim, sizeof *v), scale;
    float *att = get(q_dim, sizeof *att), *y = get(hp->n_embd, sizeof *y);
    int8_t *a = get(q_dim > hp->n_embd ? q_dim : hp->n_embd, 1);
    norm_codes(o, p->attn_norm, a, &scale);
    multiply(&l->q, a, scale, p->q_bias, q);
    multiply(&l->k, a, scale, p->k_bias, k);
    multiply(&l->v, a, scale, p->v_bias, v);
    for (uint32_t h = 0; h < hp->n_kv_heads; h++) store(o, index, h, k + h * hd, v + h * hd);
    for (uint32_t h = 0; h < hp->n_heads; h++) attend(o, index, h, q + h * hd, att + h * hd);
    fail_unless(acc_a8(att, q_dim, q_dim, a, &scale));
    multiply(&l->o, a, scale, NULL, y);
    add(o->x, y, hp->n_embd);
    float *all[] = {q, k, v, att, y};
    for (int i = 0; i < 5; i++) free(all[i]);
    free(a);
}

static void ffn_part(oracle *o, uint32_t index)
{
    const acc_hparams *hp = &o->p->hp;
    const layer *l = &o->layers[index];
    float *gate = get(hp->n_ff, sizeof *gate), *up = get(hp->n_ff, sizeof *up), *y = get(hp->n_embd, sizeof *y), scale;
    int8_t *a = get(hp->n_ff > hp->n_embd ? hp->n_ff : hp->n_embd, 1);
    norm_codes(o, o->p->layers[index].ffn_norm, a, &scale);
    multiply(&l->gate, a, scale, NULL, gate);
    multiply(&l->up, a, scale, NULL, up);
    for (uint32_t i = 0; i < hp->n_ff; i++) gate[i] = gate[i] * acc_sigmoid(gate[i]) * up[i];
    fail_unless(acc_a8(gate, hp->n_ff, hp->n_ff, a, &scale));
    multiply(&l->down, a, scale, NULL, y);
    add(o->x, y, hp->n_embd);
    free(gate);
    free(up);
    free(y);
    free(a);
}

void oracle_step(oracle *o, int32_t id, float *logits)
{
    const acc_hparams *hp = &o->p->hp;
    acc_weight_dequant_row(&o->p->embd, (uint32_t)id, o->x);
    for (uint32_t i = 0; o->p->embd_scale && i < hp->n_embd; i++) o->x[i] *= o->p->embd_scale[i];
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        attention_part(o, i);
        ffn_part(o, i);
        o->layers[i].hash = acc_fnv1a(o->layers[i].hash, o->x, hp->n_embd * sizeof *o->x);
    }
    int8_t *a = get(hp->n_embd, 1);
    float scale;
    norm_codes(o, o->p->output_norm, a, &scale);
    multiply(&o->output, a, scale, NULL, logits);
    o->logits_hash = acc_fnv1a(o->logits_hash, logits, hp->n_vocab * sizeof *logits);
    free(a);
    o->pos++;
}

uint64_t oracle_hash(const oracle *o)
{
    uint64_t h = ACC_FNV_START;
    for (uint32_t i = 0; i < o->p->hp.n_layers; i++) h = acc_fnv1a(h, &o->layers[i].hash, sizeof(uint64_t));
    return acc_fnv1a(h, &o->logits_hash, sizeof o->logits_hash);
}
