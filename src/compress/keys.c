/*
 * What four bits per key cost is the error of the scores, q * (k' - k). Two things keep it small (docs/numerics.md,
 * "Keys, values, queries"), both from second moments of the calibration's queries and keys:
 *
 *   the main direction of the queries: page-rotated queries have a mean that holds a fifth to a third of their energy;
 *   the key's quantiser weighs its error in that direction by this, so it goes elsewhere;
 *   rotary pairs of q * e, of k / e: the Hadamard transform spreads the error evenly over all channels, so channels of
 *   keys and of (the rest of) queries are made equally large; both halves of a pair share e, so rotation commutes.
 */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "compress/pipeline.h"
#include "core/memory.h"
#include "numerics/numerics.h"

#define PAIR_LIMIT 16.0
#define DIRECTION_LIMIT 32.0
#define POWER_STEPS 200
#define DISTANCES 128 /* of those that queries are rotated by, sampled evenly */

enum { HD = ACC_MAX_HEAD_DIM };

typedef struct key_work {
    const acc_hparams *hp;
    const acc_hessian *h;
    double *w, *wh;         /* [head_dim][n_embd] */
    double moment[HD * HD]; /* of one KV head's queries, page-rotated */
    double part[HD * HD];   /* of one head */
    double turned[HD * HD];
    double v[HD]; /* the main direction, of length 1 */
} key_work;

/* part [head_dim][head_dim] = second moments of the outputs of rows [row, row + head_dim) of w over the calibration
 * tokens: w H w^T and the bias's own. */
static void head_moment(key_work *k, const float *w, const float *bias, uint32_t row)
{
    const int hd = (int)k->hp->head_dim, n = (int)k->h->cols;
    for (size_t i = 0; i < (size_t)hd * (size_t)n; i++) k->w[i] = w[(size_t)row * (size_t)n + i];
    cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, hd, n, 1.0 / (double)k->h->tokens, k->h->sum, n, k->w, n, 0.0,
                k->wh, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, hd, hd, n, 1.0, k->wh, n, k->w, n, 0.0, k->part, hd);
    for (int i = 0; bias && i < hd; i++)
        for (int j = 0; j < hd; j++) k->part[i * hd + j] += (double)bias[row + (uint32_t)i] * bias[row + (uint32_t)j];
}

static void turn(double *a, double *b, double c, double s)
{
    const double x = *a, y = *b;
    *a = x * c - y * s;
    *b = y * c + x * s;
}

/* R m R^T for the rotation by a distance. */
static void rotate_moment(const acc_hparams *hp, double *m, uint32_t distance)
{
    const uint32_t hd = hp->head_dim, half = hd / 2;
    for (uint32_t j = 0; j < half; j++) {
        const double c = cos(distance * hp->rope_freq[j]), s = sin(distance * hp->rope_freq[j]);
        for (uint32_t i = 0; i < hd; i++) turn(&m[j * hd + i], &m[(j + half) * hd + i], c, s);
        for (uint32_t i = 0; i < hd; i++) turn(&m[i * hd + j], &m[i * hd + j + half], c, s);
    }
}

/* moment += the head's, rotated as for the pages of a sequence: near ones are looked at from every query behind them.
 */
static void add_page_rotated(key_work *k, uint32_t page, uint32_t length)
{
    const uint32_t hd = k->hp->head_dim, n = length < DISTANCES ? length : DISTANCES;
    const uint32_t pages = (length + page - 1) / page;
    double total = 0;
    for (uint32_t i = 0; i < n; i++) total += pages - (uint32_t)((uint64_t)i * length / n) / page;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t distance = (uint32_t)((uint64_t)i * length / n);
        memcpy(k->turned, k->part, (size_t)hd * hd * sizeof *k->turned);
        rotate_moment(k->hp, k->turned, distance);
        cblas_daxpy((int)(hd * hd), (pages - distance / page) / total, k->turned, 1, k->moment, 1);
    }
}

/* The largest eigenvalue of the moment and its vector v, by the power method. */
static double main_direction(key_work *k)
{
    const int hd = (int)k->hp->head_dim;
    double y[HD], value = 0;
    for (int i = 0; i < hd; i++) k->v[i] = sqrt(fmax(k->moment[i * hd + i], 0)) + 1e-300;
    for (int step = 0; step < POWER_STEPS; step++) {
        cblas_dsymv(CblasRowMajor, CblasUpper, hd, 1.0, k->moment, hd, k->v, 1, 0.0, y, 1);
        const double length = cblas_dnrm2(hd, y, 1);
        if (!(length > 0) || !isfinite(length)) return 0;
        for (int i = 0; i < hd; i++) k->v[i] = y[i] / length;
        value = length;
    }
    return value;
}

/* e [head_dim / 2]: the fourth root of (energy of centred keys / energy of the queries without their main direction),
 * geometric mean 1. part: the keys' moment; key_mean [head_dim]: what the cache subtracts. */
static void pair_scales(const key_work *k, double value, const double *key_mean, double *e)
{
    const uint32_t hd = k->hp->head_dim, half = hd / 2;
    double log_sum = 0;
    for (uint32_t j = 0; j < half; j++) {
        double key = 0, query = 0;
        for (uint32_t d = j; d < hd; d += half) {
            const double all = k->part[d * hd + d], seen = k->moment[d * hd + d];
            key += fmax(all - key_mean[d] * key_mean[d], 1e-3 * all);
            query += fmax(seen - value * k->v[d] * k->v[d], 1e-3 * seen);
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
        for (uint32_t j = 0; j < cols; j++) w[row * cols + j] = (float)(w[row * cols + j] * by);
        if (bias) bias[row] = (float)(bias[row] * by);
    }
}

/* The main direction of the scaled queries as the quantiser takes it: transformed, and as long as its weight says: an
 * error e then counts |e|^2 + (e * m)^2. */
static void put_direction(key_work *k, const double *e, float *m)
{
    const uint32_t hd = k->hp->head_dim, half = hd / 2, block = acc_hadamard_block(hd);
    double trace = 0;
    for (uint32_t i = 0; i < hd; i++) {
        for (uint32_t j = 0; j < hd; j++) k->moment[i * hd + j] *= e[i % half] * e[j % half];
        trace += k->moment[i * hd + i];
    }
    const double value = main_direction(k), rest = (trace - value) / (hd - 1);
    double length = value > rest && rest > 0 ? sqrt(value / rest - 1) : 0;
    if (length > DIRECTION_LIMIT) length = DIRECTION_LIMIT;
    for (uint32_t i = 0; i < hd; i++) m[i] = (float)(k->v[i] * length / sqrt((double)block));
    acc_hadamard(m, hd, block);
}

static void balance_head(key_work *k, acc_ref_layer *l, acc_collector *c, uint32_t head)
{
    const acc_hparams *hp = k->hp;
    const uint32_t hd = hp->head_dim, group = hp->n_heads / hp->n_kv_heads;
    double mean[HD], e[HD / 2] = {0};
    memset(k->moment, 0, (size_t)hd * hd * sizeof *k->moment);
    for (uint32_t g = 0; g < group; g++) {
        head_moment(k, l->q, l->q_bias, (head * group + g) * hd);
        cblas_dscal((int)(hd * hd), 1.0 / group, k->part, 1);
        add_page_rotated(k, c->page, c->length);
    }
    head_moment(k, l->k, l->k_bias, head * hd);
    for (uint32_t d = 0; d < hd; d++) mean[d] = c->n_keys ? c->key_sum[head * hd + d] / (double)c->n_keys : 0;
    pair_scales(k, main_direction(k), mean, e);
    scale_head(l->k, l->k_bias, head, hd, hp->n_embd, e, true);
    for (uint32_t g = 0; g < group; g++) scale_head(l->q, l->q_bias, head * group + g, hd, hp->n_embd, e, false);
    put_direction(k, e, c->direction + head * hd);
}

accllm_status acc_balance_keys(acc_ref_layer *l, const acc_hparams *hp, acc_collector *c, accllm_error *err)
{
    const size_t floats = (size_t)hp->head_dim * hp->n_embd;
    void *p, *w;
    ACC_TRY(acc_alloc(&p, 1, sizeof(key_work), "moments of keys", err));
    accllm_status s = acc_alloc(&w, floats, 2 * sizeof(double), "moments of keys", err);
    if (s == ACCLLM_OK) {
        key_work *k = p;
        k->hp = hp;
        k->h = &c->hessian[0];
        k->w = w;
        k->wh = k->w + floats;
        for (uint32_t head = 0; head < hp->n_kv_heads; head++) balance_head(k, l, c, head);
        acc_free(w);
    }
    acc_free(p);
    return s;
}
