/* Gradients of softmax attention over a window and sinks: scores are computed again, one sequence and KV head a time.
 */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "reference/internal.h"

typedef struct back_job {
    const acc_ref_attend_back *a;
    const acc_hparams *hp;
    const acc_ref_span *span;
    uint32_t n_seqs, sinks; /* sinks: at most the sequence's length */
    float *const *scratch;
    atomic_uint next;
} back_job;

/* One sequence and KV head. Rows of q, o and s are (query head of the group, position). */
typedef struct item {
    uint32_t head, group, len, hd;
    size_t first;                        /* row of the sequence in the batch */
    const float *k, *v;                  /* [len][hd] */
    float *q, *q_sinks, *dout, *dq, *dk; /* [group * len][hd]; dk [len][hd] */
    float *p, *dp;                       /* [group * len][len] */
} item;

size_t acc_ref_attend_back_scratch(const acc_hparams *hp, uint32_t len)
{
    const size_t rows = (size_t)hp->n_heads / hp->n_kv_heads * len;
    return rows * hp->head_dim * 4 + (size_t)len * hp->head_dim + rows * len * 2;
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
    const size_t rows = (size_t)t->group * t->len, kv = (size_t)index * t->len * t->hd;
    t->k = j->a->k + kv;
    t->v = j->a->v + kv;
    t->q = j->scratch[worker];
    t->q_sinks = t->q + rows * t->hd;
    t->dout = t->q_sinks + rows * t->hd;
    t->dq = t->dout + rows * t->hd;
    t->dk = t->dq + rows * t->hd;
    t->p = t->dk + (size_t)t->len * t->hd;
    t->dp = t->p + rows * t->len;
}

static size_t batch_row(const back_job *j, const item *t, uint32_t g, uint32_t i)
{
    return ((t->first + i) * j->hp->n_heads + (size_t)t->head * t->group + g) * t->hd;
}

static void gather(const back_job *j, const item *t)
{
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t i = 0; i < t->len; i++) {
            const size_t row = ((size_t)g * t->len + i) * t->hd, at = batch_row(j, t, g, i), angle = i * (t->hd / 2);
            acc_ref_rotate(j->a->q + at, j->span->cos + angle, j->span->sin + angle, t->hd, t->q + row);
            if (j->sinks)
                acc_ref_rotate(j->a->q + at, j->span->sink_cos + angle, j->span->sink_sin + angle, t->hd,
                               t->q_sinks + row);
            memcpy(t->dout + row, j->a->dout + at, t->hd * sizeof(float));
        }
}

/* p = softmax of the scores in the columns that take part, 0 elsewhere. */
static void probabilities(const back_job *j, const item *t)
{
    const uint32_t rows = t->group * t->len, sinks = j->sinks;
    const acc_gemm all = {.trans_b = true,
                          .m = rows,
                          .n = t->len - sinks,
                          .k = t->hd,
                          .alpha = j->hp->attn_scale,
                          .a = t->q,
                          .b = t->k + (size_t)sinks * t->hd,
                          .c = t->p + sinks,
                          .lda = t->hd,
                          .ldb = t->hd,
                          .ldc = t->len};
    acc_gemm few = all;
    few.n = sinks;
    few.a = t->q_sinks;
    few.b = t->k;
    few.c = t->p;
    if (all.n) acc_gemm_one(&all);
    if (few.n) acc_gemm_one(&few);
    for (uint32_t r = 0; r < rows; r++) {
        float *p = t->p + (size_t)r * t->len;
        const uint32_t i = r % t->len, s = i + 1 < sinks ? i + 1 : sinks;
        uint32_t lo = i >= j->a->window ? i - (uint32_t)j->a->window + 1 : 0;
        if (lo < sinks) lo = sinks;
        const uint32_t n = i + 1 > lo ? i + 1 - lo : 0;
        float max = acc_ref_max(p, s, -INFINITY);
        if (n) max = acc_ref_max(p + lo, n, max);
        float sum = acc_ref_exp_row(p, s, max);
        if (n) sum += acc_ref_exp_row(p + lo, n, max);
        const float inverse = 1 / sum;
        for (uint32_t c = 0; c < s; c++) p[c] *= inverse;
        memset(p + s, 0, (lo > s ? lo - s : 0) * sizeof *p);
        for (uint32_t c = lo; c < lo + n; c++) p[c] *= inverse;
        const uint32_t end = n ? lo + n : s > lo ? s : lo;
        if (end < t->len) memset(p + end, 0, (t->len - end) * sizeof *p);
    }
}

/* dp becomes the gradient by the scores before their scale: p (dp - sum(p dp)) * scale. */
static void softmax_back(const back_job *j, const item *t)
{
    for (uint32_t r = 0; r < t->group * t->len; r++) {
        const float *p = t->p + (size_t)r * t->len;
        float *dp = t->dp + (size_t)r * t->len, sum = 0;
        for (uint32_t c = 0; c < t->len; c++) sum += p[c] * dp[c];
        for (uint32_t c = 0; c < t->len; c++) dp[c] = p[c] * (dp[c] - sum) * j->hp->attn_scale;
    }
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

/* Gradients by queries and keys through one set of columns [from, to) of the scores; q: as those columns saw it. */
static void columns_back(const back_job *j, const item *t, uint32_t from, uint32_t to, const float *q, bool sinks)
{
    const uint32_t rows = t->group * t->len, half = t->hd / 2;
    if (from == to) return;
    const float *c = sinks ? j->span->sink_cos : j->span->cos, *s = sinks ? j->span->sink_sin : j->span->sin;
    acc_gemm_one(&(acc_gemm){.m = rows,
                             .n = t->hd,
                             .k = to - from,
                             .alpha = 1,
                             .a = t->dp + from,
                             .b = t->k + (size_t)from * t->hd,
                             .c = t->dq,
                             .lda = t->len,
                             .ldb = t->hd,
                             .ldc = t->hd});
    acc_gemm_one(&(acc_gemm){.trans_a = true,
                             .m = to - from,
                             .n = t->hd,
                             .k = rows,
                             .alpha = 1,
                             .a = t->dp + from,
                             .b = q,
                             .c = t->dk + (size_t)from * t->hd,
                             .lda = t->len,
                             .ldb = t->hd,
                             .ldc = t->hd});
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t i = 0; i < t->len; i++)
            unrotate_add(t->dq + ((size_t)g * t->len + i) * t->hd, c + i * half, s + i * half, t->hd,
                         j->a->dq + batch_row(j, t, g, i));
}

static void item_back(const back_job *j, const item *t)
{
    const uint32_t rows = t->group * t->len, kv_dim = j->hp->n_kv_heads * t->hd;
    const size_t kv = t->first * kv_dim + (size_t)t->head * t->hd;
    gather(j, t);
    probabilities(j, t);
    acc_gemm_one(&(acc_gemm){.trans_a = true,
                             .m = t->len,
                             .n = t->hd,
                             .k = rows,
                             .alpha = 1,
                             .a = t->p,
                             .b = t->dout,
                             .c = j->a->dv + kv,
                             .lda = t->len,
                             .ldb = t->hd,
                             .ldc = kv_dim});
    acc_gemm_one(&(acc_gemm){.trans_b = true,
                             .m = rows,
                             .n = t->len,
                             .k = t->hd,
                             .alpha = 1,
                             .a = t->dout,
                             .b = t->v,
                             .c = t->dp,
                             .lda = t->hd,
                             .ldb = t->hd,
                             .ldc = t->len});
    softmax_back(j, t);
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t i = 0; i < t->len; i++) memset(j->a->dq + batch_row(j, t, g, i), 0, t->hd * sizeof(float));
    columns_back(j, t, j->sinks, t->len, t->q, false);
    columns_back(j, t, 0, j->sinks, t->q_sinks, true);
    for (uint32_t i = 0; i < t->len; i++) {
        float *dk = j->a->dk + kv + (size_t)i * kv_dim;
        const size_t angle = (size_t)i * (t->hd / 2);
        memset(dk, 0, t->hd * sizeof *dk);
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
