/*
 * Scalings of a Llama block that change nothing in exact arithmetic and much under quantisation; they are folded into
 * norms and weights before these are quantised, so they cost nothing at run time.
 *
 *   norm gains / c, columns of q k v (gate up) * c     SmoothQuant (Xiao et al. 2023, section 4): a channel that is
 *   rows of up / c, columns of down * c                large for every token would take the 8 bits of all others
 *   rotary pair of q * e, of k / e                     evens out what the 4-bit key cache sees; both halves of a pair
 *                                                      share e, so rotation commutes with it
 */
#include <cblas.h>
#include <math.h>

#include "compress/pipeline.h"
#include "core/memory.h"

#define CHANNEL_POWER 0.5
#define CHANNEL_LIMIT 64.0 /* c and 1 / c */
#define PAIR_LIMIT 16.0

/* c [cols] = (rms / geometric mean of rms) ^ CHANNEL_POWER; 1 for dead channels. */
static void channel_scales(const acc_hessian *h, double *c)
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
        double s = c[j] > 0 && isfinite(c[j]) ? exp(0.5 * CHANNEL_POWER * (log(c[j]) - mean)) : 1;
        c[j] = fmin(fmax(s, 1 / CHANNEL_LIMIT), CHANNEL_LIMIT);
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

/* Mean square of an output row over the calibration tokens: w H w^T. */
static double row_energy(const acc_hessian *h, const float *w, const float *bias, uint32_t row, double *x, double *y)
{
    const int n = (int)h->cols;
    for (int j = 0; j < n; j++) x[j] = w[(size_t)row * h->cols + (size_t)j];
    cblas_dsymv(CblasRowMajor, CblasUpper, n, 1.0 / (double)h->tokens, h->sum, n, x, 1, 0.0, y, 1);
    return cblas_ddot(n, x, 1, y, 1) + (bias ? (double)bias[row] * bias[row] : 0);
}

/* e [head_dim / 2] of one KV head: the fourth root of (energy of centred keys / energy of its queries), geometric mean
 * 1. key_mean [head_dim]: what the cache subtracts. x, y: [n_embd] scratch. */
static void pair_scales(const acc_ref_layer *l, const acc_hparams *hp, const acc_hessian *h, uint32_t head,
                        const double *key_mean, double *e, double *x, double *y)
{
    const uint32_t hd = hp->head_dim, half = hd / 2, group = hp->n_heads / hp->n_kv_heads;
    double log_sum = 0;
    for (uint32_t j = 0; j < half; j++) {
        double key = 0, query = 0;
        for (uint32_t d = j; d < hd; d += half) {
            double all = row_energy(h, l->k, l->k_bias, head * hd + d, x, y);
            key += fmax(all - key_mean[d] * key_mean[d], 1e-3 * all);
            for (uint32_t g = 0; g < group; g++)
                query += row_energy(h, l->q, l->q_bias, (head * group + g) * hd + d, x, y) / group;
        }
        e[j] = key > 0 && query > 0 && isfinite(key) && isfinite(query) ? pow(key / query, 0.25) : 1;
        log_sum += log(e[j]);
    }
    for (uint32_t j = 0; j < half; j++) e[j] = fmin(fmax(e[j] / exp(log_sum / half), 1 / PAIR_LIMIT), PAIR_LIMIT);
}

static void scale_head(float *w, float *bias, uint32_t head, uint32_t hd, uint32_t cols, const double *e, bool divide)
{
    for (uint32_t d = 0; d < hd; d++) {
        const double by = divide ? 1 / e[d % (hd / 2)] : e[d % (hd / 2)];
        const size_t row = (size_t)head * hd + d;
        scale_row(w + row * cols, cols, by);
        if (bias) bias[row] = (float)(bias[row] * by);
    }
}

static void balance_pairs(acc_ref_layer *l, const acc_hparams *hp, const acc_hessian *h, const acc_collector *c,
                          double *scratch)
{
    const uint32_t hd = hp->head_dim, group = hp->n_heads / hp->n_kv_heads;
    double *x = scratch, *y = x + hp->n_embd, mean[ACC_MAX_HEAD_DIM], e[ACC_MAX_HEAD_DIM / 2];
    for (uint32_t head = 0; head < hp->n_kv_heads; head++) {
        for (uint32_t d = 0; d < hd; d++) mean[d] = c->n_keys ? c->key_sum[head * hd + d] / (double)c->n_keys : 0;
        pair_scales(l, hp, h, head, mean, e, x, y);
        scale_head(l->k, l->k_bias, head, hd, hp->n_embd, e, true);
        for (uint32_t g = 0; g < group; g++) scale_head(l->q, l->q_bias, head * group + g, hd, hp->n_embd, e, false);
    }
}

accllm_status acc_smooth_layer(acc_ref_layer *l, const acc_hparams *hp, acc_collector *col, accllm_error *err)
{
    const uint32_t n = hp->n_embd, wide = hp->n_ff > 2 * n ? hp->n_ff : 2 * n;
    const uint64_t q = (uint64_t)hp->n_heads * hp->head_dim, k = (uint64_t)hp->n_kv_heads * hp->head_dim;
    if (col->hessian[0].tokens == 0) return ACCLLM_OK;
    void *p;
    ACC_TRY(acc_alloc(&p, wide, sizeof(double), "channel scales", err));
    double *c = p;

    balance_pairs(l, hp, &col->hessian[0], col, c);

    channel_scales(&col->hessian[0], c);
    scale_columns(l->q, q, n, c);
    scale_columns(l->k, k, n, c);
    scale_columns(l->v, k, n, c);
    for (uint32_t j = 0; j < n; j++) l->attn_norm[j] = (float)(l->attn_norm[j] / c[j]);
    scale_hessian(&col->hessian[0], c);

    channel_scales(&col->hessian[2], c);
    scale_columns(l->gate, hp->n_ff, n, c);
    scale_columns(l->up, hp->n_ff, n, c);
    for (uint32_t j = 0; j < n; j++) l->ffn_norm[j] = (float)(l->ffn_norm[j] / c[j]);
    scale_hessian(&col->hessian[2], c);

    channel_scales(&col->hessian[3], c);
    for (uint32_t j = 0; j < hp->n_ff; j++) scale_row(l->up + (size_t)j * n, n, 1 / c[j]);
    scale_columns(l->down, n, hp->n_ff, c);
    scale_hessian(&col->hessian[3], c);
    acc_free(c);
    return ACCLLM_OK;
}
