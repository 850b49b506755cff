/*
 * The channels of lm_head's input: SmoothQuant's scaling (Xiao et al. 2023, section 4) between the output norm and
 * lm_head. A tied embedding carries it too, so the file has
 * the vector that undoes it in the look-up.
 */
#include <math.h>

#include "compress/pipeline.h"
#include "core/memory.h"

#define ROWS_AT_ONCE 1024
/* c = rms(input)^0.5 / rms(column)^0.4 about its geometric mean: the least sum of what 8 bits of inputs and of weights
 * cost on SmolLM2-135M, in nats per token. */
#define INPUT_POWER 0.5
#define COLUMN_POWER 0.4
#define CHANNEL_LIMIT 64.0 /* c and 1 / c */

/* a [cols] += squares of x's columns. */
static void add_squares(const float *x, size_t rows, uint32_t cols, const float *gain, double eps, double *a)
{
    for (size_t i = 0; i < rows; i++, x += cols) {
        double square = 0;
        for (uint32_t j = 0; j < cols; j++) square += (double)x[j] * x[j];
        const double r = gain ? 1 / (square / cols + eps) : 1;
        for (uint32_t j = 0; j < cols; j++) a[j] += (double)x[j] * x[j] * r * (gain ? (double)gain[j] * gain[j] : 1);
    }
}

/* x: scratch [ROWS_AT_ONCE][n_embd]; in, w [n_embd]: sums of squares of lm_head's inputs and of its columns. */
static accllm_status column_energies(acc_run *r, float *x, double *in, double *w, accllm_error *err)
{
    const acc_hparams *hp = r->hp;
    const acc_tensor_id id = hp->tied ? ACC_T_TOKEN_EMBD : ACC_T_OUTPUT;
    ACC_TRY(r->src->read_rows(r->src, ACC_T_OUTPUT_NORM, 0, 0, 1, x, err));
    add_squares(r->hidden, (size_t)r->cal.n_seqs * r->cal.seq_len, hp->n_embd, x, (double)hp->norm_eps, in);
    for (uint32_t row = 0; row < hp->n_vocab; row += ROWS_AT_ONCE) {
        const uint32_t n = hp->n_vocab - row < ROWS_AT_ONCE ? hp->n_vocab - row : ROWS_AT_ONCE;
        ACC_TRY(acc_check_abort(r->rt, err));
        ACC_TRY(r->src->read_rows(r->src, id, 0, row, n, x, err));
        add_squares(x, n, hp->n_embd, NULL, 0, w);
    }
    return ACCLLM_OK;
}

/* 1 where either is dead. */
static void scales(const double *in, const double *w, uint32_t n, float *c)
{
    double sum = 0;
    uint32_t alive = 0;
    for (uint32_t j = 0; j < n; j++) {
        if (!(in[j] > 0 && w[j] > 0)) continue;
        sum += 0.5 * (INPUT_POWER * log(in[j]) - COLUMN_POWER * log(w[j]));
        alive++;
    }
    for (uint32_t j = 0; j < n; j++) {
        c[j] = 1;
        if (!(in[j] > 0 && w[j] > 0)) continue;
        const double s = exp(0.5 * (INPUT_POWER * log(in[j]) - COLUMN_POWER * log(w[j])) - sum / alive);
        c[j] = (float)fmin(fmax(s, 1 / CHANNEL_LIMIT), CHANNEL_LIMIT);
    }
}

accllm_status acc_head_scales(acc_run *r, float *c, accllm_error *err)
{
    const uint32_t n = r->hp->n_embd;
    void *x, *sums;
    ACC_TRY(acc_alloc(&x, (size_t)ROWS_AT_ONCE * n, sizeof(float), "embedding rows", err));
    accllm_status s = acc_alloc(&sums, n, 2 * sizeof(double), "channel energies", err);
    if (s == ACCLLM_OK) {
        double *in = sums, *w = in + n;
        s = column_energies(r, x, in, w, err);
        if (s == ACCLLM_OK) scales(in, w, n, c);
        acc_free(sums);
    }
    acc_free(x);
    return s;
}
