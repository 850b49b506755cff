#include "naive.h"

#include <math.h>
#include <stdlib.h>

static double *numbers(size_t n)
{
    double *p = calloc(n, sizeof *p);
    if (!p) abort();
    return p;
}

static void norm(const double *x, const float *g, uint32_t n, double eps, double *y)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += x[i] * x[i];
    for (uint32_t i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / n + eps) * (double)g[i];
}

static void linear(const float *w, const float *bias, const double *x, uint32_t rows, uint32_t cols, double *y)
{
    for (uint32_t r = 0; r < rows; r++) {
        y[r] = bias ? (double)bias[r] : 0;
        for (uint32_t c = 0; c < cols; c++) y[r] += (double)w[(size_t)r * cols + c] * x[c];
    }
}

/* The product of a query with a key `distance` positions before it. */
static double rotated_product(const acc_hparams *hp, const double *q, const double *k, double distance)
{
    uint32_t half = hp->head_dim / 2;
    double sum = 0;
    for (uint32_t i = 0; i < half; i++) {
        double c = cos(distance * hp->rope_freq[i]), s = sin(distance * hp->rope_freq[i]);
        sum += (q[i] * c - q[i + half] * s) * k[i] + (q[i + half] * c + q[i] * s) * k[i + half];
    }
    return sum;
}

static void attend(const acc_hparams *hp, const double *q, const double *k, const double *v, uint32_t t, uint32_t sinks,
                   uint64_t window, double *out)
{
    uint32_t hd = hp->head_dim, q_width = hp->n_heads * hd, width = hp->n_kv_heads * hd;
    for (uint32_t h = 0; h < hp->n_heads; h++) {
        uint32_t kvh = h / (hp->n_heads / hp->n_kv_heads);
        double den = 0;
        for (uint32_t d = 0; d < hd; d++) out[h * hd + d] = 0;
        for (uint32_t j = 0; j <= t; j++) {
            if (j >= sinks && t - j >= window) continue;
            uint64_t from = t;
            if (j < sinks && sinks + window - 1 < t) from = sinks + window - 1;
            double s = rotated_product(hp, q + (size_t)t * q_width + (size_t)h * hd,
                                       k + (size_t)j * width + (size_t)kvh * hd, (double)(from - j));
            double e = exp(s / sqrt(hd));
            den += e;
            for (uint32_t d = 0; d < hd; d++) out[h * hd + d] += e * v[(size_t)j * width + (size_t)kvh * hd + d];
        }
        for (uint32_t d = 0; d < hd; d++) out[h * hd + d] /= den;
    }
}

static void feed_forward(const acc_hparams *hp, const acc_ref_layer *l, double *x)
{
    double *z = numbers(hp->n_embd), *gate = numbers(hp->n_ff), *up = numbers(hp->n_ff), *y = numbers(hp->n_embd);
    norm(x, l->ffn_norm, hp->n_embd, (double)hp->norm_eps, z);
    linear(l->gate, NULL, z, hp->n_ff, hp->n_embd, gate);
    linear(l->up, NULL, z, hp->n_ff, hp->n_embd, up);
    for (uint32_t i = 0; i < hp->n_ff; i++) gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    linear(l->down, NULL, gate, hp->n_embd, hp->n_ff, y);
    for (uint32_t i = 0; i < hp->n_embd; i++) x[i] += y[i];
    free(z);
    free(gate);
    free(up);
    free(y);
}

void naive_block(const acc_hparams *hp, const acc_ref_layer *l, double *x, uint32_t n, uint32_t sinks, uint64_t window)
{
    uint32_t e = hp->n_embd, width = hp->n_kv_heads * hp->head_dim, q_width = hp->n_heads * hp->head_dim;
    double *q = numbers((size_t)n * q_width), *k = numbers((size_t)n * width), *v = numbers((size_t)n * width);
    double *z = numbers(e), *o = numbers(q_width);
    for (uint32_t t = 0; t < n; t++) {
        norm(x + (size_t)t * e, l->attn_norm, e, (double)hp->norm_eps, z);
        linear(l->q, l->q_bias, z, q_width, e, q + (size_t)t * q_width);
        linear(l->k, l->k_bias, z, width, e, k + (size_t)t * width);
        linear(l->v, l->v_bias, z, width, e, v + (size_t)t * width);
    }
    for (uint32_t t = 0; t < n; t++) {
        attend(hp, q, k, v, t, sinks, window, o);
        linear(l->o, NULL, o, e, q_width, z);
        for (uint32_t i = 0; i < e; i++) x[(size_t)t * e + i] += z[i];
        feed_forward(hp, l, x + (size_t)t * e);
    }
    free(q);
    free(k);
    free(v);
    free(z);
    free(o);
}

static float *tensor(const acc_source *src, acc_tensor_id id)
{
    uint64_t rows, cols;
    acc_tensor_shape(&src->hp, id, &rows, &cols);
    float *w = calloc(rows * cols, sizeof *w);
    if (!w || src->read_rows(src, id, 0, 0, rows, w, NULL) != ACCLLM_OK) abort();
    return w;
}

void naive_logits(const acc_source *src, const int32_t *ids, uint32_t n, uint32_t sinks, uint64_t window,
                  double *logits)
{
    const acc_hparams *hp = &src->hp;
    float *embd = tensor(src, ACC_T_TOKEN_EMBD), *g = tensor(src, ACC_T_OUTPUT_NORM);
    float *output = tensor(src, hp->tied ? ACC_T_TOKEN_EMBD : ACC_T_OUTPUT);
    double *x = numbers((size_t)n * hp->n_embd), *z = numbers(hp->n_embd);
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t i = 0; i < hp->n_embd; i++)
            x[(size_t)t * hp->n_embd + i] = (double)embd[(size_t)ids[t] * hp->n_embd + i];
    for (uint32_t layer = 0; layer < hp->n_layers; layer++) {
        acc_ref_layer l;
        if (acc_ref_layer_load(&l, src, layer, NULL) != ACCLLM_OK) abort();
        naive_block(hp, &l, x, n, sinks, window);
        acc_ref_layer_free(&l);
    }
    for (uint32_t t = 0; t < n; t++) {
        norm(x + (size_t)t * hp->n_embd, g, hp->n_embd, (double)hp->norm_eps, z);
        linear(output, NULL, z, hp->n_vocab, hp->n_embd, logits + (size_t)t * hp->n_vocab);
    }
    free(embd);
    free(g);
    free(output);
    free(x);
    free(z);
}
