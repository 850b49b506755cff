/*
 * What each matrix would cost in each format and group size, in nats per token: the second-order estimate of the
 * divergence that its error e [rows][cols] adds to the uncompressed model,
 *
 *   1/2 sum over rows r of E[g_r^2 (e_r x)^2], taken as 1/2 sum over r of share_r e_r E[|g|^2 x x^T] e_r^T,
 *
 * with x a token's inputs, g the gradients by its outputs (fisher.c) and share_r row r's part of their squares: Fisher
 * information of one matrix's outputs and inputs as K-FAC has it (Martens and Grosse 2015), its two factors taken of
 * the same tokens, which matters where a few tokens have large inputs that nothing depends on (as GuidedQuant weighs
 * tokens, Kim et al. 2025; docs/quality.md, "Mixed formats").
 */
#include <math.h>
#include <string.h>

#include "compress/head.h"
#include "compress/mix.h"
#include "core/memory.h"

#define SEQUENCES 8u  /* at most */
#define GRADIENTS 0.3 /* their part of the time */

typedef struct sense {
    acc_run *r;
    acc_costs *costs;
    acc_fisher fisher;
    acc_hessian hessian[ACC_N_LINEAR]; /* of inputs, each token by its gradients */
    acc_ref_work *work;
    acc_ref_layer l;
    uint32_t layer, sequence;
    float *states, *weighed, *scaled; /* [n_seqs][seq_len][n_embd]; [seq_len][widest]; a matrix */
} sense;

static accllm_status embed(sense *s, accllm_error *err)
{
    const acc_run *r = s->r;
    const size_t n = (size_t)s->fisher.n_seqs * r->cal.seq_len;
    for (size_t i = 0; i < n; i++)
        ACC_TRY(r->src->read_rows(r->src, ACC_T_TOKEN_EMBD, 0, (uint64_t)r->cal.ids[i], 1,
                                  s->states + i * r->hp->n_embd, err));
    return ACCLLM_OK;
}

/* One sequence's inputs x, each token by its weight, into the Hessians of the matrices that read them. */
static void add_inputs(void *user, acc_tensor_id which, const float *x, uint32_t n_tokens, uint32_t cols)
{
    sense *s = user;
    const int input = acc_input_from(which);
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        if (acc_input_of[i] != input) continue;
        const float *token = s->fisher.token[i] + ((size_t)s->layer * s->fisher.n_seqs + s->sequence) * n_tokens;
        for (uint32_t t = 0; t < n_tokens; t++)
            for (uint32_t j = 0; j < cols; j++) s->weighed[(size_t)t * cols + j] = token[t] * x[(size_t)t * cols + j];
        acc_hessian_add(s->r->rt->pool, &s->hessian[i], s->weighed, n_tokens);
    }
}

/* Rows times the root of half their squared gradients: the solver's loss is then the estimate. */
static void scale_rows(const sense *s, int i, const float *w)
{
    const acc_weight *shape = &s->r->plan.linear[i];
    const float *square = s->fisher.row[i] + (size_t)s->layer * shape->rows;
    const double tokens = (double)s->fisher.n_seqs * s->r->cal.seq_len;
    for (uint32_t r = 0; r < shape->rows; r++) {
        const float by = (float)sqrt((double)square[r] / (2 * tokens));
        for (uint32_t j = 0; j < shape->cols; j++)
            s->scaled[(size_t)r * shape->cols + j] = by * w[(size_t)r * shape->cols + j];
    }
}

static accllm_status option_cost(sense *s, int i, int option, acc_factor *f, accllm_error *err)
{
    acc_run *r = s->r;
    const acc_format format = acc_mix_options[option].format;
    acc_cost *cost = &s->costs->of[(size_t)s->layer * ACC_N_LINEAR + i][option];
    char name[64];
    acc_codes c;
    acc_weight shape;
    acc_quantize_stats stats;
    const acc_quantize_params p = {.obs = format != ACC_FMT_W8, .choose_levels = true, .no_rtn = true};
    if (cost->bytes == 0) return ACCLLM_OK;
    acc_tensor_name(name, sizeof name, (acc_tensor_id)(ACC_T_ATTN_Q + i), s->layer, "weight");
    ACC_TRY(acc_check_abort(r->rt, err));
    ACC_TRY(acc_mix_shape(r, i, option, &shape, err));
    ACC_TRY(acc_factor_for(f, &s->hessian[i], format, ACC_DAMPING, name, err));
    ACC_TRY(acc_codes_create(&c, &shape, shape.rows, err));
    accllm_status st = acc_quantize(r->rt->pool, &p, &shape, s->scaled, f, &c, &stats, name, err);
    if (st == ACCLLM_OK) cost->loss = stats.error;
    acc_codes_free(&c);
    return st;
}

static accllm_status matrix_costs(sense *s, int i, accllm_error *err)
{
    acc_factor f = {0};
    accllm_status st = ACCLLM_OK;
    scale_rows(s, i, *acc_matrix_of(&s->l, i));
    for (int option = 0; st == ACCLLM_OK && option < ACC_MIX_OPTIONS; option++) st = option_cost(s, i, option, &f, err);
    acc_factor_free(&f);
    return st;
}

static accllm_status layer_costs(sense *s, accllm_error *err)
{
    acc_run *r = s->r;
    const size_t floats = (size_t)r->cal.seq_len * r->hp->n_embd;
    acc_run_progress(r, r->layers_begin * (GRADIENTS + (1 - GRADIENTS) * s->layer / r->hp->n_layers),
                     "sensitivity: layer %u/%u", s->layer + 1, r->hp->n_layers);
    for (int i = 0; i < ACC_N_LINEAR; i++) acc_hessian_reset(&s->hessian[i]);
    for (s->sequence = 0; s->sequence < s->fisher.n_seqs; s->sequence++)
        ACC_TRY(acc_ref_layer_forward(r->rt, r->hp, &s->l, s->states + s->sequence * floats, r->cal.seq_len,
                                      &r->attention, s->work, add_inputs, s, err));
    for (int i = 0; i < ACC_N_LINEAR; i++) ACC_TRY(matrix_costs(s, i, err));
    return ACCLLM_OK;
}

static accllm_status allocate(sense *s, accllm_error *err)
{
    acc_run *r = s->r;
    void *p;
    size_t most = 0, widest = 0;
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        const acc_weight *w = &r->plan.linear[i];
        most = (size_t)w->rows * w->cols > most ? (size_t)w->rows * w->cols : most;
        widest = w->cols > widest ? w->cols : widest;
        ACC_TRY(acc_hessian_create(&s->hessian[i], w->cols, err));
    }
    ACC_TRY(acc_alloc(&p, most, sizeof(float), "scaled weights", err));
    s->scaled = p;
    ACC_TRY(acc_alloc(&p, r->cal.seq_len, widest * sizeof(float), "inputs of a sequence", err));
    s->weighed = p;
    ACC_TRY(acc_alloc(&p, (size_t)s->fisher.n_seqs * r->cal.seq_len, r->hp->n_embd * sizeof(float), "states", err));
    s->states = p;
    return acc_ref_work_create(&s->work, r->hp, r->cal.seq_len, err);
}

static uint32_t sequences(const acc_run *r)
{
    return r->cal.n_seqs < SEQUENCES ? r->cal.n_seqs : SEQUENCES;
}

/* The states have passed all layers. */
static accllm_status head_costs(sense *s, accllm_error *err)
{
    acc_run *r = s->r;
    const uint32_t at = r->hp->n_layers * ACC_N_LINEAR;
    if (at >= s->costs->n) return ACCLLM_OK;
    acc_run_progress(r, r->layers_begin, "sensitivity: lm_head");
    for (int o = 0; o < ACC_MIX_OPTIONS; o++) {
        acc_cost *cost = &s->costs->of[at][o];
        if (cost->bytes == 0) continue;
        ACC_TRY(acc_head_cost(r, acc_mix_options[o].format, s->states, (size_t)s->fisher.n_seqs * r->cal.seq_len,
                              &cost->loss, err));
    }
    return ACCLLM_OK;
}

accllm_status acc_run_costs(acc_run *r, acc_costs *costs, accllm_error *err)
{
    sense s = {.r = r, .costs = costs};
    accllm_status st = acc_run_fisher(r, &s.fisher, sequences(r), GRADIENTS * r->layers_begin, err);
    if (st == ACCLLM_OK) st = allocate(&s, err);
    if (st == ACCLLM_OK) st = embed(&s, err);
    for (s.layer = 0; st == ACCLLM_OK && s.layer < r->hp->n_layers; s.layer++) {
        st = acc_ref_layer_load(&s.l, r->src, s.layer, err);
        if (st == ACCLLM_OK) st = layer_costs(&s, err);
        acc_ref_layer_free(&s.l);
    }
    if (st == ACCLLM_OK) st = head_costs(&s, err);
    for (int i = 0; i < ACC_N_LINEAR; i++) acc_hessian_free(&s.hessian[i]);
    acc_fisher_free(&s.fisher);
    acc_free(s.scaled);
    acc_free(s.weighed);
    acc_free(s.states);
    acc_ref_work_free(&s.work);
    return st;
}

/* The most that stands in memory at once: the whole model in floats and a sequence's activations. */
double acc_run_sense_bytes(const acc_run *r)
{
    return (double)(acc_train_model_bytes(r->hp, false, false) +
                    acc_trainer_bytes(r->hp, 1, r->cal.seq_len, false, true, acc_pool_size(r->rt->pool)));
}

/* Of the gradients: there, there again (activations are not kept) and back, without gradients by the matrices. */
double acc_run_sense_flops(const acc_run *r)
{
    const double weights = acc_run_linear_weights(r), head = (double)r->hp->n_vocab * r->hp->n_embd;
    return (6 * weights + 4 * head) * sequences(r) * r->cal.seq_len;
}
