/*
 * Softmax attention of the float reference over a window and sinks (Xiao et al. 2023, StreamingLLM): per KV head and
 * block of queries one matrix of scores by products, masked softmax by rows, one product with the values.
 */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "reference/internal.h"

#define SCRATCH_AIM ((size_t)3 << 19) /* floats of scores per worker: 6 MB */

static float *head_row(float *base, uint32_t rows, uint32_t head, uint32_t row, uint32_t head_dim)
{
    return base + ((size_t)head * rows + row) * head_dim;
}

bool acc_ref_kv_put(const acc_ref_kv *kv, const acc_hparams *hp, const acc_ref_span *span, const float *k,
                    const float *v)
{
    uint32_t hd = hp->head_dim, width = hp->n_kv_heads * hd;
    bool ok = true;
    for (uint32_t i = 0; i < span->n; i++) {
        uint64_t pos = span->first + i;
        bool sink = pos < kv->sinks;
        uint32_t rows = sink ? kv->sink_rows : kv->ring_rows;
        uint32_t row = sink ? (uint32_t)pos : (uint32_t)(pos % kv->ring_rows);
        for (uint32_t h = 0; h < hp->n_kv_heads; h++) {
            const size_t from = (size_t)i * width + (size_t)h * hd, angle = (size_t)i * (hd / 2);
            float *to_k = head_row(sink ? kv->sink_k : kv->ring_k, rows, h, row, hd);
            float *to_v = head_row(sink ? kv->sink_v : kv->ring_v, rows, h, row, hd);
            if (kv->bits) {
                ok &= acc_ref_code(kv, hp, span, kv->bits, i, h, k + from, v + from, to_k, to_v);
                if (sink || !kv->near) continue;
                const uint32_t near = (uint32_t)(pos % kv->near_rows);
                to_k = head_row(kv->near_k, kv->near_rows, h, near, hd);
                to_v = head_row(kv->near_v, kv->near_rows, h, near, hd);
                ok &= acc_ref_code(kv, hp, span, 8, i, h, k + from, v + from, to_k, to_v);
                continue;
            }
            acc_ref_rotate(k + from, span->cos + angle, span->sin + angle, hd, to_k);
            memcpy(to_v, v + from, hd * sizeof *v);
        }
    }
    return ok;
}

/* Fewer queries per block where a row of scores is very long. */
uint32_t acc_ref_attention_block(const acc_hparams *hp, uint32_t n, uint64_t max_keys)
{
    uint64_t fit = SCRATCH_AIM / ((uint64_t)(hp->n_heads / hp->n_kv_heads) * (max_keys ? max_keys : 1));
    uint32_t block = fit < 4 ? 4 : fit > ACC_REF_BLOCK ? ACC_REF_BLOCK : (uint32_t)fit;
    return block < n ? block : n;
}

/* Rows of scores stand a cache line more apart than they need, so that they do not alias. */
static size_t score_stride(uint64_t keys)
{
    return acc_round_up((size_t)keys, 16) + 16;
}

bool acc_ref_attention_scratch(const acc_hparams *hp, uint32_t block, uint64_t max_keys, size_t *floats)
{
    size_t rows = (size_t)block * (hp->n_heads / hp->n_kv_heads), scores, vectors;
    return max_keys < SIZE_MAX / 8 && acc_mul(rows, score_stride(max_keys), &scores) &&
           acc_mul(rows, (size_t)3 * hp->head_dim, &vectors) && acc_add(scores, vectors, floats);
}

typedef struct attend_job {
    const acc_ref_kv *kv;
    const acc_hparams *hp;
    const acc_ref_span *span;
    const float *q;
    float *out;
    float *const *scratch;
    uint32_t block;
    atomic_uint next;
} attend_job;

/* The work of one KV head and one block of queries. Rows are (query head of the group, query). */
typedef struct tile {
    uint32_t head, i0, n, group;
    uint32_t n_sinks, n_window, n_near; /* columns, in this order; the last two overlap where queries differ */
    uint64_t window;                    /* of its queries */
    uint64_t lo, near_lo;               /* position of the first window column and of the first near one */
    size_t stride;                      /* of s */
    float *q, *q_sinks, *o, *s;         /* [group * n][...] */
} tile;

static void plan_tile(const attend_job *j, uint32_t worker, uint32_t item, tile *t)
{
    const acc_ref_kv *kv = j->kv;
    t->head = item % j->hp->n_kv_heads;
    t->i0 = item / j->hp->n_kv_heads * j->block;
    t->n = j->span->n - t->i0 < j->block ? j->span->n - t->i0 : j->block;
    t->group = j->hp->n_heads / j->hp->n_kv_heads;
    uint64_t first = j->span->first + t->i0, last = first + t->n - 1;
    /* over a whole sequence, whose rows lie together, sinks and window are one where they touch */
    const bool all = kv->sink_k == kv->ring_k && !kv->near && acc_ref_sees_all(last, kv->window, kv->sinks);
    const uint32_t sinks = all ? 0 : kv->sinks;
    t->window = all ? last + 1 : kv->window;
    t->n_sinks = last + 1 < sinks ? (uint32_t)(last + 1) : sinks;
    t->lo = acc_ref_last(first, t->window);
    if (t->lo < sinks) t->lo = sinks;
    t->near_lo = acc_ref_last(first, kv->near);
    if (t->near_lo < t->lo) t->near_lo = t->lo;
    t->n_near = kv->near && last >= t->near_lo ? (uint32_t)(last - t->near_lo + 1) : 0;
    t->n_window = last >= t->lo + kv->near ? (uint32_t)(last - kv->near - t->lo + 1) : 0;
    t->stride = score_stride((uint64_t)t->n_sinks + t->n_window + t->n_near);
    size_t vectors = (size_t)t->group * t->n * j->hp->head_dim;
    t->q = j->scratch[worker];
    t->q_sinks = t->q + vectors;
    t->o = t->q_sinks + vectors;
    t->s = t->o + vectors;
}

static void rotate_queries(const attend_job *j, const tile *t)
{
    uint32_t hd = j->hp->head_dim, half = hd / 2;
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t i = 0; i < t->n; i++) {
            size_t at = t->i0 + i, row = ((size_t)g * t->n + i) * hd;
            const float *q = j->q + (at * j->hp->n_heads + (size_t)t->head * t->group + g) * hd;
            acc_ref_rotate(q, j->span->cos + at * half, j->span->sin + at * half, hd, t->q + row);
            if (t->n_sinks)
                acc_ref_rotate(q, j->span->sink_cos + at * half, j->span->sink_sin + at * half, hd, t->q_sinks + row);
        }
}

#define PIECES 5

/* The columns' keys or values in pieces that lie together in memory. */
typedef struct piece {
    const float *data;
    uint32_t column, n;
    bool sinks;
} piece;

/* n columns from position lo on, in a ring of rows. */
static uint32_t ring_pieces(float *ring, uint32_t rows, uint32_t head, uint32_t head_dim, uint64_t lo, uint32_t column,
                            uint32_t n, piece *out)
{
    if (n == 0) return 0;
    uint32_t row = (uint32_t)(lo % rows), here = n < rows - row ? n : rows - row;
    out[0] = (piece){head_row(ring, rows, head, row, head_dim), column, here, false};
    if (here == n) return 1;
    out[1] = (piece){head_row(ring, rows, head, 0, head_dim), column + here, n - here, false};
    return 2;
}

static uint32_t pieces_of(const attend_job *j, const tile *t, bool values, piece out[PIECES])
{
    const acc_ref_kv *kv = j->kv;
    uint32_t n = 0, hd = j->hp->head_dim;
    if (t->n_sinks)
        out[n++] =
            (piece){head_row(values ? kv->sink_v : kv->sink_k, kv->sink_rows, t->head, 0, hd), 0, t->n_sinks, true};
    n += ring_pieces(values ? kv->ring_v : kv->ring_k, kv->ring_rows, t->head, hd, t->lo, t->n_sinks, t->n_window,
                     out + n);
    return n + ring_pieces(values ? kv->near_v : kv->near_k, kv->near_rows, t->head, hd, t->near_lo,
                           t->n_sinks + t->n_window, t->n_near, out + n);
}

/* Columns a to b of n take part: the others get weight 0. */
typedef struct visible {
    float *s;
    uint32_t a, b, n;
} visible;

/* The parts of one row of scores, for the query at pos. */
static void see(const acc_ref_kv *kv, const tile *t, uint64_t pos, float *s, visible out[3])
{
    uint64_t lo = acc_ref_last(pos, t->window), near = acc_ref_last(pos, kv->near);
    uint32_t sinks = pos + 1 < t->n_sinks ? (uint32_t)(pos + 1) : t->n_sinks;
    out[0] = (visible){s, 0, sinks, t->n_sinks};
    if (lo < t->lo) lo = t->lo;
    if (near < lo) near = lo;
    out[1] =
        (visible){s + t->n_sinks, (uint32_t)(lo - t->lo), near > t->lo ? (uint32_t)(near - t->lo) : 0, t->n_window};
    out[2] = (visible){s + t->n_sinks + t->n_window, 0, 0, t->n_near};
    if (t->n_near && pos >= near) {
        out[2].a = (uint32_t)(near - t->near_lo);
        out[2].b = (uint32_t)(pos - t->near_lo + 1);
    }
}

/* exp(score - max) in the columns that take part, 0 in the others; the sum's inverse scales the row of o. */
static void softmax_rows(const attend_job *j, const tile *t, float *inverse)
{
    for (uint32_t r = 0; r < t->group * t->n; r++) {
        visible v[3];
        float max = -INFINITY, sum = 0;
        see(j->kv, t, j->span->first + t->i0 + r % t->n, t->s + (size_t)r * t->stride, v);
        for (int i = 0; i < 3; i++) {
            if (v[i].b <= v[i].a) v[i].a = v[i].b = 0;
            if (v[i].b > v[i].a) max = acc_ref_max(v[i].s + v[i].a, v[i].b - v[i].a, max);
        }
        for (int i = 0; i < 3; i++) {
            if (v[i].b > v[i].a) sum += acc_ref_exp_row(v[i].s + v[i].a, v[i].b - v[i].a, max);
            memset(v[i].s, 0, v[i].a * sizeof *v[i].s);
            memset(v[i].s + v[i].b, 0, (v[i].n - v[i].b) * sizeof *v[i].s);
        }
        inverse[r] = 1.0f / sum;
    }
}

static void attend_tile(const attend_job *j, const tile *t)
{
    uint32_t hd = j->hp->head_dim, rows = t->group * t->n;
    piece p[PIECES];
    rotate_queries(j, t);
    uint32_t n = pieces_of(j, t, false, p);
    for (uint32_t i = 0; i < n; i++)
        acc_gemm_one(&(acc_gemm){.trans_b = true,
                                 .m = rows,
                                 .n = p[i].n,
                                 .k = hd,
                                 .alpha = j->hp->attn_scale,
                                 .a = p[i].sinks ? t->q_sinks : t->q,
                                 .b = p[i].data,
                                 .c = t->s + p[i].column,
                                 .lda = hd,
                                 .ldb = hd,
                                 .ldc = (uint32_t)t->stride});
    float *inverse = t->q_sinks; /* the queries have done their work */
    softmax_rows(j, t, inverse);
    n = pieces_of(j, t, true, p);
    for (uint32_t i = 0; i < n; i++)
        acc_gemm_one(&(acc_gemm){.m = rows,
                                 .n = hd,
                                 .k = p[i].n,
                                 .alpha = 1,
                                 .beta = i ? 1.0f : 0.0f,
                                 .a = t->s + p[i].column,
                                 .b = p[i].data,
                                 .c = t->o,
                                 .lda = (uint32_t)t->stride,
                                 .ldb = hd,
                                 .ldc = hd});
    for (uint32_t r = 0; r < rows; r++) {
        size_t at = t->i0 + r % t->n, h = (size_t)t->head * t->group + r / t->n;
        float *out = j->out + (at * j->hp->n_heads + h) * hd;
        for (uint32_t d = 0; d < hd; d++) out[d] = t->o[(size_t)r * hd + d] * inverse[r];
    }
}

static void attend_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)n_workers;
    attend_job *j = ctx;
    uint32_t items = (j->span->n + j->block - 1) / j->block * j->hp->n_kv_heads;
    for (;;) {
        tile t;
        uint32_t item = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
        if (item >= items) return;
        plan_tile(j, worker, item, &t);
        attend_tile(j, &t);
    }
}

void acc_ref_attend(accllm_runtime *rt, const acc_ref_kv *kv, const acc_hparams *hp, const acc_ref_span *span,
                    const float *q, float *out, float *const *scratch, uint32_t block)
{
    attend_job j = {kv, hp, span, q, out, scratch, block, 0};
    acc_pool_run(rt->pool, attend_worker, &j);
}
