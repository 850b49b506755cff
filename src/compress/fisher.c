/* How much the model's predictions depend on what each matrix gives: measured on the source, before anything is coded.
 */
#include <math.h>

#include "compress/mix.h"
#include "core/memory.h"

typedef struct measuring {
    acc_run *r;
    acc_fisher *f;
    uint32_t sequence;
} measuring;

static accllm_status fisher_alloc(acc_fisher *f, const acc_run *r, accllm_error *err)
{
    const size_t tokens = (size_t)f->n_seqs * r->cal.seq_len;
    void *p;
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        ACC_TRY(acc_alloc(&p, (size_t)r->hp->n_layers * r->plan.linear[i].rows, sizeof(float), "sensitivities", err));
        f->row[i] = p;
        ACC_TRY(acc_alloc(&p, r->hp->n_layers * tokens, sizeof(float), "sensitivities", err));
        f->token[i] = p;
    }
    return ACCLLM_OK;
}

void acc_fisher_free(acc_fisher *f)
{
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        acc_free(f->row[i]);
        acc_free(f->token[i]);
    }
    *f = (acc_fisher){0};
}

static void add_output(void *user, acc_tensor_id id, uint32_t layer, const float *dy, uint32_t n, uint32_t rows)
{
    measuring *m = user;
    const int i = (int)(id - ACC_T_ATTN_Q);
    float *row = m->f->row[i] + (size_t)layer * rows;
    float *token = m->f->token[i] + ((size_t)layer * m->f->n_seqs + m->sequence) * n;
    for (uint32_t t = 0; t < n; t++) {
        const float *g = dy + (size_t)t * rows;
        float sum = 0;
        for (uint32_t k = 0; k < rows; k++) {
            row[k] += g[k] * g[k];
            sum += g[k] * g[k];
        }
        token[t] = sum;
    }
}

/* The tokens' sums become their weights. */
static void weigh_tokens(const acc_run *r, const acc_fisher *f)
{
    const size_t n = (size_t)f->n_seqs * r->cal.seq_len;
    for (int i = 0; i < ACC_N_LINEAR; i++)
        for (uint32_t layer = 0; layer < r->hp->n_layers; layer++) {
            float *token = f->token[i] + layer * n;
            double mean = 0;
            for (size_t t = 0; t < n; t++) mean += (double)token[t];
            mean /= (double)n;
            for (size_t t = 0; t < n; t++) token[t] = mean > 0 ? (float)sqrt((double)token[t] / mean) : 0;
        }
}

static accllm_status measure(measuring *m, const acc_train_model *model, double to, accllm_error *err)
{
    acc_run *r = m->r;
    const acc_tape_rules rules = {.sinks = r->plan.sinks, .window = r->plan.window};
    const uint32_t len = r->cal.seq_len, n = m->f->n_seqs;
    acc_trainer *t;
    ACC_TRY(acc_trainer_create(&t, r->rt, r->hp, 1, len, false, true, err));
    accllm_status s = ACCLLM_OK;
    for (m->sequence = 0; s == ACCLLM_OK && m->sequence < n; m->sequence++) {
        acc_run_progress(r, to * m->sequence / n, "sensitivity: gradients %u/%u", m->sequence + 1, n);
        s = acc_check_abort(r->rt, err);
        if (s == ACCLLM_OK)
            s = acc_trainer_fisher(t, model, &rules, r->cal.ids + (size_t)m->sequence * len, m->sequence, add_output, m,
                                   err);
    }
    acc_trainer_free(&t);
    return s;
}

accllm_status acc_run_fisher(acc_run *r, acc_fisher *f, uint32_t n_seqs, double to, accllm_error *err)
{
    measuring m = {.r = r, .f = f};
    acc_train_model model = {0};
    *f = (acc_fisher){.n_seqs = n_seqs};
    accllm_status s = fisher_alloc(f, r, err);
    if (s == ACCLLM_OK) s = acc_train_model_create(&model, r->src, NULL, NULL, NULL, false, err);
    if (s == ACCLLM_OK) s = acc_train_model_load(&model, r->src, err);
    if (s == ACCLLM_OK) s = measure(&m, &model, to, err);
    acc_train_model_free(&model);
    if (s == ACCLLM_OK)
        weigh_tokens(r, f);
    else
        acc_fisher_free(f);
    return s;
}
