/* Gradients of softmax attention over a window and sinks: scores are computed again, one sequence, KV head and block of
 * queries at a time. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/clones.h"
#include "reference/internal.h"

typedef struct back_job {
    const acc_ref_attend_back *a;
    const acc_hparams *hp;
    const acc_ref_span *span;
    uint32_t n_seqs, sinks; /* sinks: at most the sequence's length */
    float *const *scratch;
    atomic_uint next;
} back_job;

/* One sequence and KV head, and in it the queries [i0, i0 + n). Rows of q, p and so on are (query head of the group,
 * query); a column of p and dp is a position, of which the block uses [0, sinks) and [lo, to). */
typedef struct item {
    uint32_t head, group, len, hd;
    size_t first;       /* row of the sequence in the batch */
    const float *k, *v; /* [len][hd] */
    float *dk;          /* [len][hd], by the rotated keys */
    uint32_t i0, n, sinks, lo, to;
    uint64_t window;
    float *q, *q_sinks, *dout, *dq; /* [group * n][hd] */
    float *p, *dp;                  /* [group * n][len] */
} item;

static uint32_t block_of(uint32_t len)
{
    return len < ACC_REF_BLOCK ? len : ACC_REF_BLOCK;
}

size_t acc_ref_attend_back_scratch(const acc_hparams *hp, uint32_t len)
{
    const size_t rows = (size_t)hp->n_heads / hp->n_kv_heads * block_of(len);
    return (size_t)len * hp->head_dim + rows * hp->head_dim * 4 + rows * len * 2;
}

static void plan_item(const back_job *j, uint32_t worker, uint32_t index, item *t)
{
    const acc_hparams *hp = j->hp;
    const uint32_t seq = index / hp->n_kv_heads;
    *t = (item){.head = index % hp->n_kv_heads,
                .group = hp->n_heads / hp->n_kv_heads,
                .len = j->span->n,
                .hd = hp->head_dim,
                .first = (size_t)seq * j->span->n};
    const size_t rows = (size_t)t->group * block_of(t->len) * t->hd, kv = (size_t)index * t->len * t->hd;
    t->k = j->a->k + kv;
    t->v = j->a->v + kv;
    t->dk = j->scratch[worker];
    t->q = t->dk + (size_t)t->len * t->hd;
    t->q_sinks = t->q + rows;
    t->dout = t->q_sinks + rows;
    t->dq = t->dout + rows;
    t->p = t->dq + rows;
    t->dp = t->p + (size_t)t->group * block_of(t->len) * t->len;
}

static void plan_block(const back_job *j, uint32_t i0, item *t)
{
    t->i0 = i0;
    t->n = t->len - i0 < ACC_REF_BLOCK ? t->len - i0 : ACC_REF_BLOCK;
    t->to = i0 + t->n;
    const bool all = acc_ref_sees_all(t->to - 1, j->a->window, j->sinks);
    t->window = all ? t->to : j->a->window;
    t->sinks = all ? 0 : j->sinks;
    t->lo = (uint32_t)acc_ref_last(i0, t->window);
    if (t->lo < t->sinks) t->lo = t->sinks;
}

static size_t batch_row(const back_job *j, const item *t, uint32_t g, uint32_t i)
{
    return ((t->first + t->i0 + i) * j->hp->n_heads + (size_t)t->head * t->group + g) * t->hd;
}

static void gather(const back_job *j, const item *t)
{
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t i = 0; i < t->n; i++) {
            const size_t row = ((size_t)g * t->n + i) * t->hd, at = batch_row(j, t, g, i);
            const size_t angle = (size_t)(t->i0 + i) * (t->hd / 2);
            acc_ref_rotate(j->a->q + at, j->span->cos + angle, j->span->sin + angle, t->hd, t->q + row);
            if (t->sinks)
                acc_ref_rotate(j->a->q + at, j->span->sink_cos + angle, j->span->sink_sin + angle, t->hd,
                               t->q_sinks + row);
            memcpy(t->dout + row, j->a->dout + at, t->hd * sizeof(float));
        }
}

/* x [group * n][hd] times the rows [from, to) of y [len][hd] give these columns of out [group * n][len]. */
static void by_columns(const item *t, uint32_t from, uint32_t to, float alpha, const float *x, const float *y,
                       float *out)
{
    if (from == to) return;
    acc_gemm_one(&(acc_gemm){.trans_b = true,
                             .m = t->group * t->n,
                             .n = to - from,
                             .k = t->hd,
                             .alpha = alpha,
                             .a = x,
                             .b = y + (size_t)from * t->hd,
                             .c = out + from,
                             .lda = t->hd,
                             .ldb = t->hd,
                             .ldc = t->len});
}

/* The columns [from, to) of s [group * n][len], transposed, times x [group * n][hd] are added to these rows of out,
 * which stand `width` apart. */
static void add_rows(const item *t, uint32_t from, uint32_t to, const float *s, const float *x, float *out,
                     uint32_t width)
{
    if (from == to) return;
    acc_gemm_one(&(acc_gemm){.trans_a = true,
                             .m = to - from,
                             .n = t->hd,
                             .k = t->group * t->n,
                             .alpha = 1,
                             .beta = 1,
                             .a = s + from,
                             .b = x,
                             .c = out + (size_t)from * width,
                             .lda = t->len,
                             .ldb = t->hd,
                             .ldc = width});
}

/* p becomes the softmax of the scores in the columns that query i sees, 0 in the block's others. */
ACC_CLONES static void softmax_row(const item *t, uint32_t i, float *p)
{
    const uint32_t s = i + 1 < t->sinks ? i + 1 : t->sinks, start = (uint32_t)acc_ref_last(i, t->window);
    const uint32_t lo = start < t->sinks ? t->sinks : start, end = i + 1 > lo ? i + 1 : lo;
    const float max = acc_ref_max(p + lo, end - lo, acc_ref_max(p, s, -INFINITY));
    const float sum = acc_ref_exp_row(p, s, max) + acc_ref_exp_row(p + lo, end - lo, max), inverse = 1 / sum;
    for (uint32_t c = 0; c < s; c++) p[c] *= inverse;
    for (uint32_t c = lo; c < end; c++) p[c] *= inverse;
    memset(p + s, 0, (t->sinks - s) * sizeof *p);
    memset(p + t->lo, 0, (lo - t->lo) * sizeof *p);
    memset(p + end, 0, (t->to - end) * sizeof *p);
}

/* dp becomes the gradient by the scores before their scale: p (dp - sum(p dp)) * scale. */
ACC_CLONES static void softmax_row_back(const item *t, float scale, const float *p, float *dp)
{
    const uint32_t n = t->to - t->lo;
    const float sum = acc_ref_dot(p, dp, t->sinks) + acc_ref_dot(p + t->lo, dp + t->lo, n);
    for (uint32_t c = 0; c < t->sinks; c++) dp[c] = p[c] * (dp[c] - sum) * scale;
    for (uint32_t c = t->lo; c < t->to; c++) dp[c] = p[c] * (dp[c] - sum) * scale;
}

/* y += x turned back. */
static void unrotate_add(const float *x, const float *c, const float *s, uint32_t hd, float *y)
{
    for (uint32_t i = 0; i < hd / 2; i++) {
        const float a = x[i], b = x[i + hd / 2];
        y[i] += a * c[i] + b * s[i];
        y[i + hd / 2] += b * c[i] - a * s[i];
    }
}

/* Gradients by queries and keys through the columns [from, to) of the scores; q: as those columns saw it. */
static void columns_back(const back_job *j, const item *t, uint32_t from, uint32_t to, const float *q, bool sinks)
{
    const uint32_t half = t->hd / 2;
    if (from == to) return;
    const float *c = sinks ? j->span->sink_cos : j->span->cos, *s = sinks ? j->span->sink_sin : j->span->sin;
    acc_gemm_one(&(acc_gemm){.m = t->group * t->n,
                             .n = t->hd,
                             .k = to - from,
                             .alpha = 1,
                             .a = t->dp + from,
                             .b = t->k + (size_t)from * t->hd,
                             .c = t->dq,
                             .lda = t->len,
                             .ldb = t->hd,
                             .ldc = t->hd});
    add_rows(t, from, to, t->dp, q, t->dk, t->hd);
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t i = 0; i < t->n; i++) {
            const size_t angle = (size_t)(t->i0 + i) * half;
            unrotate_add(t->dq + ((size_t)g * t->n + i) * t->hd, c + angle, s + angle, t->hd,
                         j->a->dq + batch_row(j, t, g, i));
        }
}

static void block_back(const back_job *j, const item *t)
{
    const uint32_t rows = t->group * t->n, width = j->hp->n_kv_heads * t->hd;
    const float scale = j->hp->attn_scale;
    float *dv = j->a->dv + t->first * width + (size_t)t->head * t->hd;
    gather(j, t);
    by_columns(t, 0, t->sinks, scale, t->q_sinks, t->k, t->p);
    by_columns(t, t->lo, t->to, scale, t->q, t->k, t->p);
    for (uint32_t r = 0; r < rows; r++) softmax_row(t, t->i0 + r % t->n, t->p + (size_t)r * t->len);
    add_rows(t, 0, t->sinks, t->p, t->dout, dv, width);
    add_rows(t, t->lo, t->to, t->p, t->dout, dv, width);
    by_columns(t, 0, t->sinks, 1, t->dout, t->v, t->dp);
    by_columns(t, t->lo, t->to, 1, t->dout, t->v, t->dp);
    for (uint32_t r = 0; r < rows; r++)
        softmax_row_back(t, scale, t->p + (size_t)r * t->len, t->dp + (size_t)r * t->len);
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t i = 0; i < t->n; i++) memset(j->a->dq + batch_row(j, t, g, i), 0, t->hd * sizeof(float));
    columns_back(j, t, 0, t->sinks, t->q_sinks, true);
    columns_back(j, t, t->lo, t->to, t->q, false);
}

static void item_back(const back_job *j, item *t)
{
    const uint32_t width = j->hp->n_kv_heads * t->hd;
    const size_t kv = t->first * width + (size_t)t->head * t->hd, row = t->hd * sizeof(float);
    memset(t->dk, 0, t->len * row);
    for (uint32_t i = 0; i < t->len; i++) memset(j->a->dv + kv + (size_t)i * width, 0, row);
    for (uint32_t i0 = 0; i0 < t->len; i0 += ACC_REF_BLOCK) {
        plan_block(j, i0, t);
        block_back(j, t);
    }
    for (uint32_t i = 0; i < t->len; i++) {
        float *dk = j->a->dk + kv + (size_t)i * width;
        const size_t angle = (size_t)i * (t->hd / 2);
        memset(dk, 0, row);
        unrotate_add(t->dk + (size_t)i * t->hd, j->span->cos + angle, j->span->sin + angle, t->hd, dk);
    }
}

static void back_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    (void)n_workers;
    back_job *j = ctx;
    for (;;) {
        const uint32_t index = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
        item t;
        if (index >= j->n_seqs * j->hp->n_kv_heads) return;
        plan_item(j, worker, index, &t);
        item_back(j, &t);
    }
}

void acc_ref_attend_backward(accllm_runtime *rt, const acc_hparams *hp, const acc_ref_attend_back *a, uint32_t n_seqs,
                             const acc_ref_span *span, float *const *scratch)
{
    back_job j = {.a = a, .hp = hp, .span = span, .n_seqs = n_seqs, .scratch = scratch};
    j.sinks = a->sinks < span->n ? a->sinks : span->n;
    acc_pool_run(rt->pool, back_worker, &j);
}
