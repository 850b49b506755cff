/*
 * Scalings of a Llama block that change nothing in exact arithmetic and much under quantisation; they are folded into
 * norms and weights before these are quantised, so they cost nothing at run time.
 *
 *   norm gains / c, columns of q k v (gate up) * c     SmoothQuant (Xiao et al. 2023, section 4): a channel that is
 *   rows of up / c, columns of down * c                large for every token would take the 8 bits of all others
 *   rows of v / c, columns of out * c                  the same for the input of out; query heads of a group share c
 * and those of keys and queries in keys.c.
 */
#include <math.h>

#include "compress/pipeline.h"
#include "core/memory.h"

/* How much of a channel's size its weights take. Less where zero has no code: beside a large weight of the same scale
 * small ones cannot vanish (docs/quality.md, "The solver's steps"). */
#define CHANNEL_POWER 0.5
#define CHANNEL_POWER_W2 0.2
#define CHANNEL_LIMIT 64.0 /* c and 1 / c */

/* For an input of these matrices. */
static double power_for(const acc_weight *shapes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (shapes[i].format == ACC_FMT_W2) return CHANNEL_POWER_W2;
    return CHANNEL_POWER;
}

/* c [cols] = (rms / geometric mean of rms) ^ power; 1 for dead channels. */
static void channel_scales(const acc_hessian *h, double power, double *c)
{
    double log_sum = 0;
    uint32_t alive = 0;
    for (uint32_t j = 0; j < h->cols; j++) {
        c[j] = h->sum[(size_t)j * h->cols + j];
        if (!(c[j] > 0) || !isfinite(c[j])) continue;
        log_sum += log(c[j]);
        alive++;
    }
    const double mean = alive ? log_sum / alive : 0;
    for (uint32_t j = 0; j < h->cols; j++) {
        double s = c[j] > 0 && isfinite(c[j]) ? exp(0.5 * power * (log(c[j]) - mean)) : 1;
        c[j] = fmin(fmax(s, 1 / CHANNEL_LIMIT), CHANNEL_LIMIT);
    }
}

/* The input of out is a mean of values: the query heads of a group have the same channels, and get one scale. */
static void share_in_groups(double *c, const acc_hparams *hp)
{
    const uint32_t hd = hp->head_dim, group = hp->n_heads / hp->n_kv_heads;
    for (uint32_t h = 0; h < hp->n_heads; h += group)
        for (uint32_t d = 0; d < hd; d++) {
            double product = 1;
            for (uint32_t g = 0; g < group; g++) product *= c[(h + g) * hd + d];
            for (uint32_t g = 0; g < group; g++) c[(h + g) * hd + d] = pow(product, 1.0 / group);
        }
}

static void scale_columns(float *w, uint64_t rows, uint32_t cols, const double *c)
{
    for (uint64_t r = 0; r < rows; r++)
        for (uint32_t j = 0; j < cols; j++) w[r * cols + j] = (float)(w[r * cols + j] * c[j]);
}

static void scale_row(float *w, uint32_t cols, double by)
{
    for (uint32_t j = 0; j < cols; j++) w[j] = (float)(w[j] * by);
}

/* The Hessian of inputs that were divided by c. */
static void scale_hessian(acc_hessian *h, const double *c)
{
    for (uint32_t i = 0; i < h->cols; i++)
        for (uint32_t j = 0; j < h->cols; j++) h->sum[(size_t)i * h->cols + j] /= c[i] * c[j];
}

static void smooth_values(acc_ref_layer *l, const acc_hparams *hp, acc_hessian *h, double power, double *c)
{
    const uint32_t hd = hp->head_dim, group = hp->n_heads / hp->n_kv_heads;
    channel_scales(h, power, c);
    share_in_groups(c, hp);
    scale_columns(l->o, hp->n_embd, hp->n_heads * hd, c);
    scale_hessian(h, c);
    for (uint32_t i = 0; i < hp->n_kv_heads * hd; i++) {
        const double by = 1 / c[i / hd * group * hd + i % hd];
        scale_row(l->v + (size_t)i * hp->n_embd, hp->n_embd, by);
        if (l->v_bias) l->v_bias[i] = (float)(l->v_bias[i] * by);
    }
}

accllm_status acc_smooth_layer(acc_ref_layer *l, const acc_hparams *hp, const acc_weight shapes[ACC_N_LINEAR],
                               acc_collector *col, accllm_error *err)
{
    const uint32_t n = hp->n_embd, q = hp->n_heads * hp->head_dim;
    const uint32_t most = n > hp->n_ff ? (n > q ? n : q) : (hp->n_ff > q ? hp->n_ff : q);
    const uint64_t k = (uint64_t)hp->n_kv_heads * hp->head_dim;
    if (col->hessian[0].tokens == 0) return ACCLLM_OK;
    void *p;
    ACC_TRY(acc_balance_keys(l, hp, col, err));
    ACC_TRY(acc_alloc(&p, most, sizeof(double), "channel scales", err));
    double *c = p;

    channel_scales(&col->hessian[0], power_for(shapes, 3), c);
    scale_columns(l->q, q, n, c);
    scale_columns(l->k, k, n, c);
    scale_columns(l->v, k, n, c);
    for (uint32_t j = 0; j < n; j++) l->attn_norm[j] = (float)(l->attn_norm[j] / c[j]);
    scale_hessian(&col->hessian[0], c);

    smooth_values(l, hp, &col->hessian[1], power_for(shapes + 3, 1), c);

    channel_scales(&col->hessian[2], power_for(shapes + 4, 2), c);
    scale_columns(l->gate, hp->n_ff, n, c);
    scale_columns(l->up, hp->n_ff, n, c);
    for (uint32_t j = 0; j < n; j++) l->ffn_norm[j] = (float)(l->ffn_norm[j] / c[j]);
    scale_hessian(&col->hessian[2], c);

    channel_scales(&col->hessian[3], power_for(shapes + 6, 1), c);
    for (uint32_t j = 0; j < hp->n_ff; j++) scale_row(l->up + (size_t)j * n, n, 1 / c[j]);
    scale_columns(l->down, n, hp->n_ff, c);
    scale_hessian(&col->hessian[3], c);
    acc_free(c);
    return ACCLLM_OK;
}
