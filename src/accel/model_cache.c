/* The cache unit of the device model: KVW and ATT (docs/numerics.md "Keys, values, queries", "Attention"). */
#include <math.h>
#include <string.h>

#include "accel/model_internal.h"
#include "cache/policy.h"

_Static_assert(ACC_ISA_SEGMENT4 == ACC_SEGMENT_KV4 && ACC_ISA_SEGMENT8 == ACC_SEGMENT_KV8, "one length of segments");

/* What both instructions work with. */
typedef struct unit {
    acc_model *d;
    const acc_inst *i;
    acc_geometry g;
    acc_cache_map map;
    acc_kv_policy policy;
    uint32_t cache; /* the layer's first line */
    uint32_t block; /* of the Hadamard transform */
    uint64_t t;
    uint32_t ring_page, near_slot; /* where t itself goes in the two rings */
    uint64_t steps[ACC_ISA_HEAD_DIM_MAX / 2];
    const float *mean, *direction; /* [kv heads][head_dim], NULL: none */
} unit;

static bool open_unit(unit *u, acc_model *d, const acc_inst *i)
{
    *u = (unit){.d = d, .i = i, .cache = acc_inst_get(i, ACC_F_CACHE), .t = acc_model_position(d)};
    if (!acc_model_geometry(d, &u->g)) return false;
    u->ring_page = acc_model_reg(d, ACC_REG_RING_PAGE);
    u->near_slot = acc_model_reg(d, ACC_REG_NEAR_SLOT);
    if (u->ring_page >= u->g.ring_pages || (u->g.near && u->near_slot >= u->g.near_positions))
        return acc_model_fail(d, ACC_ERROR_BAD_FIELD, 0);
    const uint32_t n = u->g.n_kv_heads * u->g.head_dim, params = acc_inst_get(i, ACC_F_PARAMS);
    const bool mean = acc_inst_get(i, ACC_F_MEAN) != 0;
    u->map = acc_cache_plan(d->channels, &u->g);
    u->policy = (acc_kv_policy){u->g.sinks, u->g.window, u->g.page, u->g.near, u->g.ring_pages};
    u->block = acc_hadamard_block(u->g.head_dim);
    if (!acc_model_has_lines(d, u->cache, u->map.layer_lines)) return false;
    if (!acc_model_load(d, acc_model_reg(d, ACC_REG_ROPE), u->steps, u->g.head_dim)) return false;
    if (mean) u->mean = d->gain;
    if (mean && !acc_model_load(d, params, d->gain, n)) return false;
    if (!acc_inst_get(i, ACC_F_DIRECTION)) return true;
    float *direction = d->gain + n;
    u->direction = direction;
    return acc_model_load(d, params + (mean ? acc_vector_lines(n, d->channels) : 0), direction, n);
}

static uint8_t *cache_block(const unit *u, acc_kv_part part, uint32_t head, bool value, uint32_t slot)
{
    uint32_t channel;
    uint64_t line;
    acc_cache_place(&u->map, part, head, value, slot, &channel, &line);
    return acc_model_line(u->d, channel, u->cache + line);
}

/* Place of a position that the query at t sees. */
static uint32_t slot_of(const unit *u, acc_kv_part part, uint64_t pos)
{
    if (part == ACC_KV_SINKS) return (uint32_t)pos;
    if (part == ACC_KV_NEAR) {
        const uint32_t back = (uint32_t)(u->t - pos), n = u->g.near_positions;
        return (u->near_slot + n - back) % n;
    }
    const uint32_t back = (uint32_t)(u->t / u->g.page - pos / u->g.page), n = u->g.ring_pages;
    return (u->ring_page + n - back) % n * u->g.page + (uint32_t)(pos % u->g.page);
}

/* ---- KVW ---- */

static bool put(const unit *u, acc_kv_part part, uint32_t head, bool value, const float *x, const float *direction)
{
    uint8_t codes[ACC_ISA_HEAD_DIM_MAX], zero = 0;
    uint16_t scale;
    const uint32_t n = u->g.head_dim, slot = slot_of(u, part, u->t);
    const bool ok = u->map.bits[part] == 8 ? acc_kv8(x, n, (int8_t *)codes, &scale)
                    : value                ? acc_kv4(x, n, codes, &scale, &zero)
                                           : acc_kv4_key(x, n, direction, codes, &scale, &zero);
    if (ok)
        acc_cache_put(&u->map, part, cache_block(u, part, head, value, slot), value, slot % ACC_ISA_STRIP, n, codes,
                      scale, zero);
    return ok;
}

static bool put_all(const unit *u, uint32_t head, bool value, const float *x, const float *direction)
{
    if (u->t < u->g.sinks) return put(u, ACC_KV_SINKS, head, value, x, NULL);
    return put(u, ACC_KV_WINDOW, head, value, x, direction) &&
           (!u->g.near || put(u, ACC_KV_NEAR, head, value, x, NULL));
}

void acc_model_kvw(acc_model *d, const acc_inst *i)
{
    unit u;
    float cos[ACC_ISA_HEAD_DIM_MAX / 2], sin[ACC_ISA_HEAD_DIM_MAX / 2], x[ACC_ISA_HEAD_DIM_MAX];
    if (!open_unit(&u, d, i)) return;
    const uint32_t n = u.g.head_dim, keys = acc_inst_get(i, ACC_F_KEYS), values = acc_inst_get(i, ACC_F_VALUES);
    const uint64_t blocks = acc_blocks_of((uint64_t)u.g.n_kv_heads * n);
    if (!acc_model_has_blocks(d, keys, blocks) || !acc_model_has_blocks(d, values, blocks)) return;
    const bool sink = u.t < u.g.sinks;
    acc_rope_angles(sink ? u.t : u.t % u.g.page, u.steps, n, cos, sin);
    for (uint32_t h = 0; h < u.g.n_kv_heads; h++) {
        const float *mean = u.mean && !sink ? u.mean + h * n : NULL;
        const float *direction = u.direction ? u.direction + h * n : NULL;
        d->scalar.kv_turn(d->vmem + keys * ACC_ISA_LANES + h * n, cos, sin, mean, n, sink ? 1 : u.block, x);
        if (!put_all(&u, h, false, x, direction) ||
            !put_all(&u, h, true, d->vmem + values * ACC_ISA_LANES + h * n, NULL))
            (void)acc_model_fail(d, ACC_ERROR_NOT_FINITE, 0);
    }
}

/* ---- ATT ---- */

/* One head's walk over one segment: blocks of 16 positions from `start` on. */
typedef struct walk {
    const unit *u;
    acc_kv_cut s;
    uint64_t start;
    uint32_t blocks, head;
} walk;

static bool takes_part(const walk *w, uint64_t pos)
{
    return pos >= w->s.lo && pos < w->s.hi;
}

/* The query as the pages of a block see it; made anew where a page begins. */
static bool make_query(const walk *w, const float *q, uint64_t pos, int8_t *q8, acc_attn_query *out)
{
    const unit *u = w->u;
    const uint32_t n = u->g.head_dim;
    const bool sinks = w->s.part == ACC_KV_SINKS;
    float cos[ACC_ISA_HEAD_DIM_MAX / 2], sin[ACC_ISA_HEAD_DIM_MAX / 2];
    const uint64_t distance = sinks ? acc_policy_sink_distance(&u->policy, u->t) : u->t - (pos - pos % u->g.page);
    acc_rope_angles(distance, u->steps, n, cos, sin);
    return u->d->scalar.attn_query(q, cos, sin, sinks || !u->mean ? NULL : u->mean + w->head * n, n,
                                   sinks ? 1 : u->block, acc_model_float(u->d, ACC_REG_ATTENTION_SCALE), q8, out);
}

static float scale_at(const uint8_t *scales, uint32_t p)
{
    return acc_f16_to_f32((uint16_t)(scales[2 * p] | scales[2 * p + 1] << 8));
}

/* Step 1. */
static bool scores(const walk *w, const float *q, float *score, float *max)
{
    const acc_cache_map *map = &w->u->map;
    int8_t q8[ACC_ISA_HEAD_DIM_MAX];
    acc_attn_query query;
    bool ok = true;
    *max = -INFINITY;
    for (uint32_t b = 0; b < w->blocks; b++) {
        const uint64_t pos = w->start + (uint64_t)b * ACC_ISA_STRIP;
        const bool page = w->s.part != ACC_KV_SINKS && pos % w->u->g.page == 0;
        if (b == 0 || page) ok &= make_query(w, q, pos, q8, &query);
        const uint8_t *keys = cache_block(w->u, w->s.part, w->head, false, slot_of(w->u, w->s.part, pos));
        const uint8_t *scales = acc_cache_scales(map, w->s.part, keys);
        int32_t n[ACC_ISA_STRIP];
        acc_cache_dot(map, w->s.part, keys, q8, n);
        for (uint32_t p = 0; p < ACC_ISA_STRIP; p++) {
            if (!takes_part(w, pos + p)) continue;
            const float s = (float)(n[p] - scales[32 + p] * query.sum) * (scale_at(scales, p) * query.c) + query.beta;
            score[b * ACC_ISA_STRIP + p] = s;
            if (s > *max) *max = s;
        }
    }
    *max += 0.0f;
    return ok && isfinite(*max);
}

/* Steps 2 and 3, and w and B of step 4. */
static uint32_t weights(const walk *w, float *score, float max, float *top)
{
    uint32_t l = 0;
    *top = 0;
    for (uint32_t b = 0; b < w->blocks; b++) {
        const uint64_t pos = w->start + (uint64_t)b * ACC_ISA_STRIP;
        const uint8_t *values = cache_block(w->u, w->s.part, w->head, true, slot_of(w->u, w->s.part, pos));
        const uint8_t *scales = acc_cache_scales(&w->u->map, w->s.part, values);
        for (uint32_t p = 0; p < ACC_ISA_STRIP; p++) {
            float *s = &score[b * ACC_ISA_STRIP + p];
            if (!takes_part(w, pos + p)) continue;
            const uint32_t e = acc_exp2_u16((*s - max) * ACC_LOG2E_65536);
            l += e;
            *s = (float)e * scale_at(scales, p);
            if (*s > *top) *top = *s;
        }
    }
    return l;
}

/* Steps 4 and 5 for B > 0. */
static void values(const walk *w, const float *weight, float top, float *o)
{
    const acc_cache_map *map = &w->u->map;
    uint32_t acc[ACC_ISA_HEAD_DIM_MAX] = {0}, z = 0;
    const float inv = 32640.0f / top, of_one = top / 32640.0f;
    for (uint32_t b = 0; b < w->blocks; b++) {
        const uint64_t pos = w->start + (uint64_t)b * ACC_ISA_STRIP;
        const uint8_t *block = cache_block(w->u, w->s.part, w->head, true, slot_of(w->u, w->s.part, pos));
        const uint8_t *zero = acc_cache_scales(map, w->s.part, block) + 32;
        uint32_t p[ACC_ISA_STRIP], most = 0, x = 0, sum = 0;
        for (uint32_t j = 0; j < ACC_ISA_STRIP; j++) {
            p[j] = takes_part(w, pos + j) ? (uint32_t)acc_rne(weight[b * ACC_ISA_STRIP + j] * inv) : 0;
            if (p[j] > most) most = p[j];
        }
        while (x < 7 && (most + ((1u << x) >> 1)) >> x > 255) x++;
        for (uint32_t j = 0; j < ACC_ISA_STRIP; j++) {
            p[j] = (p[j] + ((1u << x) >> 1)) >> x;
            sum += p[j] * zero[j];
        }
        z += sum << x;
        acc_cache_weigh(map, w->s.part, block, p, x, acc);
    }
    for (uint32_t d = 0; d < w->u->g.head_dim; d++) o[d] = (float)(int32_t)(acc[d] - z) * of_one;
}

static void attend(const unit *u, acc_model_head *h, uint32_t head, const float *q, float *out)
{
    acc_kv_cut s[ACC_ISA_SEGMENTS_MAX]; /* acc_geometry_bad() bounds their number */
    const uint32_t n = acc_policy_cuts(&u->policy, u->g.kv_bits, u->t, s),
                   kv_head = head / (u->g.n_heads / u->g.n_kv_heads);
    for (uint32_t k = 0; k < n; k++) {
        const uint64_t start = s[k].lo - s[k].lo % ACC_ISA_STRIP;
        const uint32_t blocks = (uint32_t)((s[k].hi - start + ACC_ISA_STRIP - 1) / ACC_ISA_STRIP);
        const walk w = {u, s[k], start, blocks, kv_head};
        acc_attn_part *part = &h->parts[k];
        float top;
        if (!scores(&w, q, h->score, &part->max)) h->failed = true;
        part->l = weights(&w, h->score, part->max, &top);
        part->o = h->o[k];
        memset(h->o[k], 0, u->g.head_dim * sizeof *h->o[k]);
        if (top > 0) values(&w, h->score, top, h->o[k]);
    }
    acc_attn_merge(h->parts, n, u->g.head_dim, out);
}

static void some_heads(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const unit *u = ctx;
    uint32_t h0, h1;
    acc_share(u->g.n_heads, worker, n_workers, &h0, &h1);
    acc_model_head *scratch = &u->d->heads[worker];
    scratch->failed = false;
    for (uint32_t h = h0; h < h1; h++)
        attend(u, scratch, h, u->d->vmem + acc_inst_get(u->i, ACC_F_QUERIES) * ACC_ISA_LANES + h * u->g.head_dim,
               u->d->vmem + acc_inst_get(u->i, ACC_F_DST) * ACC_ISA_LANES + h * u->g.head_dim);
}

void acc_model_att(acc_model *d, const acc_inst *i)
{
    unit u;
    if (!open_unit(&u, d, i)) return;
    const uint64_t blocks = acc_blocks_of((uint64_t)u.g.n_heads * u.g.head_dim);
    if (!acc_model_has_blocks(d, acc_inst_get(i, ACC_F_QUERIES), blocks) ||
        !acc_model_has_blocks(d, acc_inst_get(i, ACC_F_DST), blocks))
        return;
    acc_model_run_job(d, some_heads, &u);
    for (uint32_t w = 0; w < (d->pool ? acc_pool_size(d->pool) : 1); w++)
        if (d->heads[w].failed) (void)acc_model_fail(d, ACC_ERROR_NOT_FINITE, 0);
}
