/*
 * What each matrix would cost in each format: the second-order estimate of the loss that its error adds,
 *
 *   sum over rows r of E[(dL / dy_r)^2] e_r H e_r^T,
 *
 * with e the error that the solver leaves and H the Hessian of the inputs, both in the uncompressed model: Fisher
 * information factored into outputs and inputs (Martens and Grosse 2015, K-FAC), of the outputs the diagonal only. The
 * outputs' part comes from gradients of a few batches: E[sum over j of (dL / dw_rj)^2] is that energy times trace H.
 */
#include <math.h>
#include <string.h>

#include "compress/mix.h"
#include "core/memory.h"

#define BATCH 4u
#define BATCHES 8u   /* of gradients */
#define SEQUENCES 8u /* of Hessians, at most */

typedef struct sense {
    acc_run *r;
    acc_costs *costs;
    float *energy[ACC_LINEARS]; /* [n_layers][rows]: sums of squared gradients over a row */
    acc_collector collector;
    acc_ref_work *work;
    acc_ref_layer l;
    float *states, *scaled;
    uint32_t n_seqs;
} sense;

/* ---- energies of the outputs ---- */

/* Tokens of a sequence; a short text still gives one batch. */
static uint32_t gradient_length(const acc_run *r)
{
    const uint64_t all = (uint64_t)r->cal.n_seqs * r->cal.seq_len / BATCH;
    const uint32_t len = r->cal.seq_len < ACC_RECOVER_LEN ? r->cal.seq_len : ACC_RECOVER_LEN;
    return all >= len ? len : all > 0 ? (uint32_t)all : 1;
}

static void add_energy(void *user, acc_tensor_id id, uint32_t layer, const float *g)
{
    sense *s = user;
    if (!acc_tensor_is_linear(id)) return;
    const acc_weight *w = &s->r->plan.linear[id - ACC_T_ATTN_Q];
    float *energy = s->energy[id - ACC_T_ATTN_Q] + (size_t)layer * w->rows;
    for (uint32_t i = 0; i < w->rows; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < w->cols; j++)
            sum += (double)g[(size_t)i * w->cols + j] * (double)g[(size_t)i * w->cols + j];
        energy[i] += (float)sum;
    }
}

static accllm_status gradients(sense *s, const acc_train_model *m, uint32_t len, accllm_error *err)
{
    acc_run *r = s->r;
    const acc_tape_rules rules = {.sinks = r->plan.sinks, .window = r->plan.window};
    const uint64_t total = (uint64_t)r->cal.n_seqs * r->cal.seq_len;
    acc_trainer *t;
    acc_head_result result;
    ACC_TRY(acc_trainer_create(&t, r->rt, r->hp, BATCH, len, false, true, err));
    accllm_status st = ACCLLM_OK;
    for (uint32_t b = 0; st == ACCLLM_OK && b < BATCHES && (uint64_t)(b + 1) * BATCH * len <= total; b++) {
        acc_run_progress(r, 0.3 * r->layers_begin * b / BATCHES, "sensitivity: gradients %u/%u", b + 1, BATCHES);
        st = acc_check_abort(r->rt, err);
        if (st == ACCLLM_OK)
            st = acc_trainer_batch(t, m, &rules, NULL, r->cal.ids + (size_t)b * BATCH * len, &result, add_energy, s,
                                   err);
    }
    acc_trainer_free(&t);
    return st;
}

static accllm_status energies(sense *s, accllm_error *err)
{
    acc_run *r = s->r;
    acc_train_model m = {0};
    accllm_status st = acc_train_model_create(&m, r->src, NULL, NULL, NULL, false, err);
    if (st == ACCLLM_OK) st = acc_train_model_load(&m, r->src, err);
    if (st == ACCLLM_OK) st = gradients(s, &m, gradient_length(r), err);
    acc_train_model_free(&m);
    return st;
}

/* ---- errors of the formats ---- */

static accllm_status embed(sense *s, accllm_error *err)
{
    const acc_run *r = s->r;
    const size_t n = (size_t)s->n_seqs * r->cal.seq_len;
    for (size_t i = 0; i < n; i++)
        ACC_TRY(r->src->read_rows(r->src, ACC_T_TOKEN_EMBD, 0, (uint64_t)r->cal.ids[i], 1,
                                  s->states + i * r->hp->n_embd, err));
    return ACCLLM_OK;
}

/* Rows times the root of their energy: the solver's loss is then the estimate. */
static void scale_rows(const sense *s, uint32_t layer, int i, const float *w, double trace)
{
    const acc_weight *shape = &s->r->plan.linear[i];
    for (uint32_t r = 0; r < shape->rows; r++) {
        const float by = (float)sqrt((double)s->energy[i][(size_t)layer * shape->rows + r] / (trace > 0 ? trace : 1));
        for (uint32_t j = 0; j < shape->cols; j++)
            s->scaled[(size_t)r * shape->cols + j] = by * w[(size_t)r * shape->cols + j];
    }
}

static accllm_status one_cost(sense *s, uint32_t layer, int i, acc_format format, acc_factor *f, accllm_error *err)
{
    acc_run *r = s->r;
    char name[64];
    acc_codes c;
    acc_weight shape;
    acc_quantize_stats stats;
    const acc_quantize_params p = {.obs = format != ACC_FMT_W8, .choose_levels = true, .no_rtn = true};
    acc_tensor_name(name, sizeof name, (acc_tensor_id)(ACC_T_ATTN_Q + i), layer, "weight");
    ACC_TRY(acc_check_abort(r->rt, err));
    ACC_TRY(acc_run_shape(r, i, format, &shape, err));
    ACC_TRY(acc_factor_for(f, &s->collector.hessian[acc_input_of[i]], format, ACC_DAMPING, name, err));
    ACC_TRY(acc_codes_create(&c, &shape, shape.rows, err));
    accllm_status st = acc_quantize(r->rt->pool, &p, &shape, s->scaled, f, &c, &stats, name, err);
    if (st == ACCLLM_OK) s->costs->of[(size_t)layer * ACC_LINEARS + i][format].loss = stats.error;
    acc_codes_free(&c);
    return st;
}

static accllm_status layer_costs(sense *s, uint32_t layer, accllm_error *err)
{
    acc_run *r = s->r;
    const size_t floats = (size_t)r->cal.seq_len * r->hp->n_embd;
    acc_run_progress(r, r->layers_begin * (0.3 + 0.7 * layer / r->hp->n_layers), "sensitivity: layer %u/%u", layer + 1,
                     r->hp->n_layers);
    for (int i = 0; i < 4; i++) acc_hessian_reset(&s->collector.hessian[i]);
    for (uint32_t q = 0; q < s->n_seqs; q++)
        ACC_TRY(acc_ref_layer_forward(r->rt, r->hp, &s->l, s->states + q * floats, r->cal.seq_len, &r->attention,
                                      s->work, acc_collector_tap, &s->collector, err));
    for (int input = 0; input < 4; input++) {
        acc_factor f = {0};
        accllm_status st = ACCLLM_OK;
        const acc_hessian *h = &s->collector.hessian[input];
        double trace = 0;
        for (uint32_t j = 0; j < h->cols; j++) trace += h->sum[(size_t)j * h->cols + j] / (double)h->tokens;
        /* By format, so that a factor serves all matrices of an input. */
        for (int format = 0; st == ACCLLM_OK && format < ACC_FMT_COUNT; format++)
            for (int i = 0; st == ACCLLM_OK && i < ACC_LINEARS; i++) {
                if (acc_input_of[i] != input) continue;
                scale_rows(s, layer, i, *acc_matrix_of(&s->l, i), trace);
                st = one_cost(s, layer, i, (acc_format)format, &f, err);
            }
        acc_factor_free(&f);
        ACC_TRY(st);
    }
    return ACCLLM_OK;
}

static accllm_status allocate(sense *s, accllm_error *err)
{
    acc_run *r = s->r;
    void *p;
    size_t most = 0;
    for (int i = 0; i < ACC_LINEARS; i++) {
        const acc_weight *w = &r->plan.linear[i];
        ACC_TRY(acc_alloc(&p, (size_t)r->hp->n_layers * w->rows, sizeof(float), "energies of outputs", err));
        s->energy[i] = p;
        most = (size_t)w->rows * w->cols > most ? (size_t)w->rows * w->cols : most;
    }
    ACC_TRY(acc_alloc(&p, most, sizeof(float), "scaled weights", err));
    s->scaled = p;
    ACC_TRY(acc_alloc(&p, (size_t)s->n_seqs * r->cal.seq_len, r->hp->n_embd * sizeof(float), "states", err));
    s->states = p;
    ACC_TRY(acc_ref_work_create(&s->work, r->hp, r->cal.seq_len, err));
    ACC_TRY(acc_collector_create(&s->collector, r, err));
    s->collector.wanted = 15;
    return ACCLLM_OK;
}

accllm_status acc_run_costs(acc_run *r, acc_costs *costs, accllm_error *err)
{
    sense s = {.r = r, .costs = costs, .n_seqs = r->cal.n_seqs < SEQUENCES ? r->cal.n_seqs : SEQUENCES};
    accllm_status st = allocate(&s, err);
    if (st == ACCLLM_OK) st = energies(&s, err);
    if (st == ACCLLM_OK) st = embed(&s, err);
    for (uint32_t layer = 0; st == ACCLLM_OK && layer < r->hp->n_layers; layer++) {
        st = acc_ref_layer_load(&s.l, r->src, layer, err);
        if (st == ACCLLM_OK) st = layer_costs(&s, layer, err);
        acc_ref_layer_free(&s.l);
    }
    for (int i = 0; i < ACC_LINEARS; i++) acc_free(s.energy[i]);
    acc_free(s.scaled);
    acc_free(s.states);
    acc_ref_work_free(&s.work);
    acc_collector_free(&s.collector);
    return st;
}

/* The most that stands in memory at once: the whole model in floats and a batch's activations. */
double acc_run_sense_bytes(const acc_run *r)
{
    return (double)(acc_train_model_bytes(r->hp, false, false) +
                    acc_trainer_bytes(r->hp, BATCH, gradient_length(r), false, true, acc_pool_size(r->rt->pool)));
}

/* The way there and back of the batches. */
double acc_run_sense_flops(const acc_run *r)
{
    return 6 * acc_run_linear_weights(r) * BATCHES * BATCH * gradient_length(r);
}
