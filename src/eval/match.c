/* Channels are told by the rows that make them: of gate, and of v. Even two bits leave a row far nearer to itself than
 * to any other. */
#include "eval/match.h"

#include <math.h>
#include <string.h>

#include "core/clones.h"
#include "core/memory.h"

accllm_status acc_match_create(acc_match *m, const acc_hparams *hp, accllm_error *err)
{
    const size_t kv = (size_t)hp->n_kv_heads * hp->head_dim, q = (size_t)hp->n_heads * hp->head_dim;
    void *p;
    *m = (acc_match){0};
    ACC_TRY(acc_alloc(&p, hp->n_ff + kv + q, sizeof(uint32_t), "orders of channels", err));
    m->hidden = p;
    m->value = m->hidden + hp->n_ff;
    m->query = m->value + kv;
    return ACCLLM_OK;
}

void acc_match_free(acc_match *m)
{
    acc_free(m->hidden);
    *m = (acc_match){0};
}

/* Rows [first, first + n) behind their norm, at unit length: what scalings have moved between the two, and between rows
 * and columns, falls out. */
static void unit_rows(const acc_weight *w, const float *norm, uint32_t first, uint32_t n, float *out)
{
    for (uint32_t r = 0; r < n; r++) {
        float *x = out + (size_t)r * w->cols;
        double square = 0;
        acc_weight_dequant_row(w, first + r, x);
        for (uint32_t j = 0; j < w->cols; j++) {
            x[j] *= norm[j];
            square += (double)x[j] * (double)x[j];
        }
        const float by = square > 0 ? (float)(1 / sqrt(square)) : 0;
        for (uint32_t j = 0; j < w->cols; j++) x[j] *= by;
    }
}

#define LANES 16

ACC_CLONES static float product(const float *a, const float *b, uint32_t n)
{
    float lanes[LANES] = {0}, sum = 0;
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (uint32_t l = 0; l < LANES; l++) lanes[l] += a[i + l] * b[i + l];
    for (; i < n; i++) sum += a[i] * b[i];
    for (int l = 0; l < LANES; l++) sum += lanes[l];
    return sum;
}

/* The largest of like [n] that is not taken yet; one is left. */
static uint32_t nearest(const float *like, const bool *taken, uint32_t n)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++)
        if (!taken[i] && (best == UINT32_MAX || like[i] > like[best])) best = i;
    return best;
}

/* to [n]: rows of b for those of a, both counted from `first` on. */
static accllm_status match_rows(const acc_weight *a, const float *a_norm, const acc_weight *b, const float *b_norm,
                                uint32_t first, uint32_t n, uint32_t *to, accllm_error *err)
{
    accllm_status status;
    const uint32_t cols = a->cols;
    void *row = NULL, *others = NULL, *like = NULL, *taken = NULL;
    ACC_TRY_GOTO(acc_alloc(&row, cols, sizeof(float), "a row of weights", err));
    ACC_TRY_GOTO(acc_alloc(&others, n, cols * sizeof(float), "rows of weights", err));
    ACC_TRY_GOTO(acc_alloc(&like, n, sizeof(float), "likeness of rows", err));
    ACC_TRY_GOTO(acc_alloc(&taken, n, sizeof(bool), "matched rows", err));
    unit_rows(b, b_norm, first, n, others);
    for (uint32_t r = 0; r < n; r++) {
        unit_rows(a, a_norm, first + r, 1, row);
        for (uint32_t i = 0; i < n; i++)
            ((float *)like)[i] = product(row, (const float *)others + (size_t)i * cols, cols);
        to[r] = nearest(like, taken, n);
        ((bool *)taken)[to[r]] = true;
    }
    status = ACCLLM_OK;
fail:
    acc_free(row);
    acc_free(others);
    acc_free(like);
    acc_free(taken);
    return status;
}

accllm_status acc_match_layer(acc_match *m, const acc_packed *a, const acc_packed *b, uint32_t layer, accllm_error *err)
{
    const acc_hparams *hp = &a->hp;
    const acc_packed_layer *x = &a->layers[layer], *y = &b->layers[layer];
    const uint32_t hd = hp->head_dim, group = hp->n_heads / hp->n_kv_heads;
    ACC_TRY(match_rows(&x->gate, x->ffn_norm, &y->gate, y->ffn_norm, 0, hp->n_ff, m->hidden, err));
    for (uint32_t head = 0; head < hp->n_kv_heads; head++) {
        uint32_t *to = m->value + (size_t)head * hd;
        ACC_TRY(match_rows(&x->v, x->attn_norm, &y->v, y->attn_norm, head * hd, hd, to, err));
        for (uint32_t i = 0; i < group * hd; i++) {
            const uint32_t h = head * group + i / hd;
            m->query[h * hd + i % hd] = h * hd + to[i % hd];
        }
        for (uint32_t i = 0; i < hd; i++) to[i] += head * hd;
    }
    return ACCLLM_OK;
}
