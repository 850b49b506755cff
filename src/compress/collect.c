/* What a calibration pass leaves behind: Hessians of the linear inputs, and the mean of page-rotated keys. */
#include <math.h>
#include <string.h>

#include "compress/pipeline.h"
#include "core/memory.h"

static accllm_status rotation_tables(acc_collector *c, const acc_hparams *hp, uint32_t positions, accllm_error *err)
{
    const uint32_t half = hp->head_dim / 2;
    void *p;
    ACC_TRY(acc_alloc(&p, (size_t)positions * half, sizeof *c->cos, "rotation table", err));
    c->cos = p;
    ACC_TRY(acc_alloc(&p, (size_t)positions * half, sizeof *c->sin, "rotation table", err));
    c->sin = p;
    for (uint32_t t = 0; t < positions; t++)
        for (uint32_t j = 0; j < half; j++) {
            c->cos[(size_t)t * half + j] = (float)cos(t * hp->rope_freq[j]);
            c->sin[(size_t)t * half + j] = (float)sin(t * hp->rope_freq[j]);
        }
    return ACCLLM_OK;
}

static accllm_status sequence_alloc(acc_collector *c, const acc_run *r, const uint32_t *cols, accllm_error *err)
{
    const size_t len = r->cal.seq_len;
    void *p;
    for (int i = 0; i < 2; i++) {
        ACC_TRY(acc_alloc(&p, len, r->hp->n_embd * sizeof(float), "states of a sequence", err));
        c->residual[i] = p;
    }
    ACC_TRY(acc_alloc(&p, len * (cols[1] > cols[3] ? cols[1] : cols[3]), sizeof(float), "inputs of a sequence", err));
    c->weighed = p;
    return ACCLLM_OK;
}

static accllm_status collector_alloc(acc_collector *c, const acc_run *r, accllm_error *err)
{
    const acc_hparams *hp = r->hp;
    const uint32_t cols[4] = {hp->n_embd, hp->n_heads * hp->head_dim, hp->n_embd, hp->n_ff};
    void *p;
    ACC_TRY(acc_alloc(&p, c->kv_dim, sizeof *c->key_sum, "key means", err));
    c->key_sum = p;
    ACC_TRY(acc_alloc(&p, c->kv_dim, sizeof *c->direction, "directions of queries", err));
    c->direction = p;
    for (int i = 0; i < 4; i++) ACC_TRY(acc_hessian_create(&c->hessian[i], cols[i], err));
    ACC_TRY(sequence_alloc(c, r, cols, err));
    return rotation_tables(c, hp, c->page < r->cal.seq_len ? c->page : r->cal.seq_len, err);
}

accllm_status acc_collector_create(acc_collector *c, const acc_run *r, accllm_error *err)
{
    *c = (acc_collector){.head_dim = r->hp->head_dim, .kv_dim = r->hp->n_kv_heads * r->hp->head_dim};
    c->n_embd = r->hp->n_embd;
    c->pool = r->rt->pool;
    c->page = r->plan.page;
    c->sinks = r->plan.sinks;
    c->length = r->cal.seq_len;
    accllm_status s = collector_alloc(c, r, err);
    if (s != ACCLLM_OK) acc_collector_free(c);
    return s;
}

void acc_collector_free(acc_collector *c)
{
    for (int i = 0; i < 4; i++) acc_hessian_free(&c->hessian[i]);
    for (int i = 0; i < 2; i++) acc_free(c->residual[i]);
    acc_free(c->weighed);
    acc_free(c->key_sum);
    acc_free(c->direction);
    acc_free(c->cos);
    acc_free(c->sin);
    *c = (acc_collector){0};
}

/* Keys of one whole sequence. Sinks are stored apart and without the mean (docs/numerics.md), so they do not count. */
static void add_keys(acc_collector *c, const float *k, uint32_t n)
{
    const uint32_t half = c->head_dim / 2;
    for (uint32_t t = c->sinks; t < n; t++) {
        const float *row = k + (size_t)t * c->kv_dim;
        const float *cs = c->cos + (size_t)(t % c->page) * half, *sn = c->sin + (size_t)(t % c->page) * half;
        for (uint32_t h = 0; h < c->kv_dim; h += c->head_dim)
            for (uint32_t j = 0; j < half; j++) {
                float a = row[h + j], b = row[h + half + j];
                c->key_sum[h + j] += (double)(a * cs[j] - b * sn[j]);
                c->key_sum[h + half + j] += (double)(b * cs[j] + a * sn[j]);
            }
        c->n_keys++;
    }
}

/* What is added to the residual h counts relative to it, since a norm follows: a token's weight is 1 / rms(h). Of the
 * residual in front of the matrix: that behind it takes weight from the tokens whose massive activations are made here,
 * which attention needs exact, and was worse than no weights (docs/quality.md, "The solver's steps"). */
static float weight(const float *h, uint32_t n_embd)
{
    double sum = 0;
    for (uint32_t j = 0; j < n_embd; j++) sum += (double)h[j] * (double)h[j];
    return sum > 0 ? (float)sqrt(n_embd / sum) : 1;
}

static const float *weigh(const acc_collector *c, const float *x, const float *residual, uint32_t n_tokens,
                          uint32_t cols)
{
    for (uint32_t t = 0; t < n_tokens; t++) {
        const float by = weight(residual + (size_t)t * c->n_embd, c->n_embd);
        for (uint32_t j = 0; j < cols; j++) c->weighed[(size_t)t * cols + j] = x[(size_t)t * cols + j] * by;
    }
    return c->weighed;
}

void acc_collector_tap(void *user, acc_tensor_id which, const float *x, uint32_t n_tokens, uint32_t cols)
{
    acc_collector *c = user;
    const int i = acc_input_from(which);
    if (which == ACC_T_ATTN_K)
        add_keys(c, x, n_tokens);
    else if (which == ACC_T_ATTN_NORM || which == ACC_T_FFN_NORM)
        memcpy(c->residual[which == ACC_T_FFN_NORM], x, (size_t)n_tokens * cols * sizeof *x);
    else if (i >= 0 && c->wanted >> i & 1)
        acc_hessian_add(c->pool, &c->hessian[i], i % 2 ? weigh(c, x, c->residual[i / 2], n_tokens, cols) : x, n_tokens);
}
