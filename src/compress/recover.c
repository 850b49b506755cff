/*
 * Recovery: the whole compressed model is trained to give its source's distributions (end-to-end distillation), codes
 * chosen anew in every step. The recipe is measured: docs/quality.md.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/pipeline.h"
#include "core/clock.h"
#include "core/memory.h"
#include "train/train.h"

#define HELD_OUT 16u /* sequences */
/* Learning rates beside that of the matrices. Rows of rare tokens have gradients of noise, which Adam makes large. */
#define SCALE_RATE 0.5f /* of log scales */
#define NORM_RATE 0.15f
#define EMBD_RATE 0.025f
#define CHECKPOINT_SECONDS 480.0

typedef struct recovery {
    acc_run *r;
    acc_train_model student, teacher;
    int32_t *ids; /* training sequences, then the held-out ones */
    uint32_t n_seqs, n_held_out, seq_len, batch;
    uint64_t steps;
    float rate; /* of the matrices on average, relative to their rms */
    uint8_t *blob[ACC_N_LINEAR];
    uint8_t *head[2];
    float *vectors, *head_vectors;
    float *direction; /* [n_layers][KV width]: the solver's directions of queries, which training leaves alone */
    char checkpoint[PATH_MAX];
    double from;  /* fraction of the whole run at which training began */
    bool started; /* its first step is done: time left is counted from there */
} recovery;

static float default_rate(acc_format f)
{
    return f == ACC_FMT_W2S || f == ACC_FMT_W2 ? 0.01f : 0.001f;
}

uint32_t acc_run_recover_length(const acc_run *r)
{
    const uint32_t len = r->p->recover_length ? r->p->recover_length : ACC_RECOVER_LEN;
    return r->hp->n_ctx_train < len ? r->hp->n_ctx_train : len;
}

/* Sequences of a step, so that one of 1,024 tokens at most takes the memory of four of 256; a divisor of HELD_OUT. */
static uint32_t batch_size(uint32_t seq_len)
{
    return seq_len <= 256 ? 4 : seq_len <= 512 ? 2 : 1;
}

uint64_t acc_run_recover_bytes(const acc_run *r)
{
    const acc_hparams *hp = r->hp;
    return acc_train_model_bytes(hp, true, true) + acc_train_model_bytes(hp, false, false) +
           acc_trainer_bytes(hp, batch_size(acc_run_recover_length(r)), acc_run_recover_length(r), true, true,
                             acc_pool_size(r->rt->pool));
}

/* ---- the text ---- */

/* The whole text, every n-th sequence of it held out: neither depends on how many tokens are trained on. */
static accllm_status split_text(recovery *v, const acc_calibration *c, accllm_error *err)
{
    const size_t len = c->seq_len;
    v->seq_len = c->seq_len;
    v->n_held_out = c->n_seqs >= 4 * HELD_OUT ? HELD_OUT : 0;
    v->n_seqs = c->n_seqs - v->n_held_out;
    ACC_TRY(acc_alloc((void **)&v->ids, (size_t)c->n_seqs * len, sizeof *v->ids, "training text", err));
    uint32_t trained = 0, held = 0;
    for (uint32_t i = 0; i < c->n_seqs; i++) {
        const bool hold = held < v->n_held_out && i == (uint32_t)((uint64_t)c->n_seqs * held / v->n_held_out);
        const size_t to = hold ? v->n_seqs + held++ : trained++;
        memcpy(v->ids + to * len, c->ids + i * len, len * sizeof *v->ids);
    }
    return ACCLLM_OK;
}

static accllm_status load_text(recovery *v, accllm_error *err)
{
    acc_run *r = v->r;
    accllm_tokenizer *tok;
    acc_calibration c = {0};
    const uint32_t len = acc_run_recover_length(r);
    ACC_TRY(accllm_tokenizer_open(&tok, r->src_path, err));
    accllm_status s = acc_calibration_create(&c, tok, r->p->calib_path, UINT32_MAX, len, r->hp->n_vocab, err);
    accllm_tokenizer_free(&tok);
    if (s == ACCLLM_OK) v->batch = batch_size(c.seq_len);
    if (s == ACCLLM_OK && c.n_seqs < v->batch)
        s = acc_fail(err, ACCLLM_E_ARG,
                     "recovery: the calibration text has %u sequences of %u tokens; it takes at least %u", c.n_seqs,
                     c.seq_len, v->batch);
    if (s == ACCLLM_OK) s = split_text(v, &c, err);
    if (s == ACCLLM_OK) {
        v->steps = r->p->recover_tokens / (v->batch * (uint64_t)v->seq_len);
        if (v->steps == 0) v->steps = 1;
        if (v->steps * v->batch > v->n_seqs)
            acc_run_note(r, "recovery goes %.1f times through the text's %u sequences",
                         (double)(v->steps * v->batch) / v->n_seqs, v->n_seqs);
    }
    acc_calibration_free(&c);
    return s;
}

/* ---- the models ---- */

/* Where the student has one of a layer's vectors (trained, or what its cache needs); NULL: nowhere. */
static float *student_vector(const recovery *v, const acc_vector_place *p, uint32_t layer)
{
    if (p->id == ACC_T_K_MEAN) return v->student.k_mean + (size_t)layer * p->n;
    if (p->id == ACC_T_Q_DIRECTION) return v->direction + (size_t)layer * p->n;
    const acc_train_tensor *t = acc_train_find(&v->student, p->id, layer);
    return t ? t->latent : NULL;
}

/* The solver's codes and vectors become the student's start. */
static accllm_status load_layer(recovery *v, uint32_t layer, accllm_error *err)
{
    acc_run *r = v->r;
    acc_layer_data d = acc_run_layer_sizes(r, layer);
    ACC_TRY(acc_work_load_layer(&r->work, ACC_WORK_SOLVED, layer, &d, err));
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        acc_weight w = r->shapes[layer][i];
        acc_weight_bind(&w, d.blob[i]);
        acc_train_tensor_unpack(acc_train_find(&v->student, (acc_tensor_id)(ACC_T_ATTN_Q + i), layer), &w);
    }
    for (int i = 0; i < ACC_VECTORS; i++) {
        const acc_vector_place *p = &r->place[i];
        float *mine = student_vector(v, p, layer);
        if (mine) memcpy(mine, d.vectors + p->at, p->n * sizeof *mine);
    }
    acc_layer_data_close(&d);
    return ACCLLM_OK;
}

/* c [n_embd]: what lm_head's columns were multiplied by. */
static accllm_status head_channels(const acc_run *r, float *c, accllm_error *err)
{
    ACC_TRY(r->head_source->read_rows(r->head_source, ACC_T_OUTPUT_NORM, 0, 0, 1, c, err));
    const float *norm = r->outside.vectors;
    for (uint32_t j = 0; j < r->hp->n_embd; j++) c[j] = norm[j] != 0 ? c[j] / norm[j] : 1;
    return ACCLLM_OK;
}

/* Weights between the codes, from the rows that they were made of (their columns times c, NULL: 1): where training
 * moves a weight little, as in the embedding, what brings it to another code is where it stood. W8 takes the rows; of
 * W4 each weight comes as near to its row's as the solver's code safely allows. */
static accllm_status between_codes(recovery *v, acc_train_tensor *t, const float *c, accllm_error *err)
{
    const acc_source *src = v->r->head_source;
    const uint32_t cols = t->shape.cols, group = t->shape.group;
    void *p;
    ACC_TRY(acc_alloc(&p, cols, sizeof(float), "embedding row", err));
    accllm_status s = ACCLLM_OK;
    float *row = p;
    for (uint32_t i = 0; s == ACCLLM_OK && i < t->shape.rows; i++) {
        float *x = t->latent + (size_t)i * cols;
        s = src->read_rows(src, t->id, 0, i, 1, row, err);
        for (uint32_t j = 0; s == ACCLLM_OK && j < cols; j++) {
            const float want = c ? row[j] * c[j] : row[j];
            const float room =
                t->log_scale ? 0.4f * expf(t->log_scale[(size_t)i * t->shape.col_groups + j / group]) : INFINITY;
            x[j] += fminf(fmaxf(want - x[j], -room), room);
        }
    }
    acc_free(p);
    return s;
}

static accllm_status load_head(recovery *v, accllm_error *err)
{
    acc_run *r = v->r;
    const size_t n = r->hp->n_embd;
    void *c;
    ACC_TRY(acc_alloc(&c, n, sizeof(float), "channel scales", err));
    accllm_status s = acc_run_load_head(r, ACC_WORK_SOLVED, err);
    if (s == ACCLLM_OK) s = head_channels(r, c, err);
    for (int i = 0; s == ACCLLM_OK && i < (r->hp->tied ? 1 : 2); i++) {
        acc_train_tensor *t = acc_train_find(&v->student, i ? ACC_T_OUTPUT : ACC_T_TOKEN_EMBD, 0);
        acc_weight w = i ? r->plan.output : r->plan.embd;
        acc_weight_bind(&w, r->outside.blob[i]);
        acc_train_tensor_unpack(t, &w);
        if (!r->start_file || !acc_run_keeps_head(r)) s = between_codes(v, t, i == !r->hp->tied ? c : NULL, err);
    }
    if (s == ACCLLM_OK) {
        memcpy(acc_train_find(&v->student, ACC_T_OUTPUT_NORM, 0)->latent, r->outside.vectors, n * sizeof(float));
        memcpy(v->student.embd_scale, r->outside.vectors + n, n * sizeof(float));
    }
    acc_layer_data_close(&r->outside);
    acc_free(c);
    return s;
}

/* Each matrix learns at its format's rate; the others at the mean of these. */
static void set_rates(recovery *v)
{
    const float given = (float)v->r->p->recover_rate;
    double sum = 0, weights = 0;
    acc_train_rates(&v->student, 1);
    for (uint32_t i = 0; i < v->student.n_tensors; i++) {
        acc_train_tensor *t = &v->student.tensors[i];
        if (!acc_tensor_is_linear(t->id)) continue;
        const float rate = given > 0 ? given : default_rate(t->shape.format);
        t->rate *= rate;
        sum += (double)rate * (double)acc_train_size(t);
        weights += (double)acc_train_size(t);
    }
    v->rate = given > 0 ? given : (float)(sum / weights);
    for (uint32_t i = 0; i < v->student.n_tensors; i++) {
        acc_train_tensor *t = &v->student.tensors[i];
        if (!acc_tensor_is_linear(t->id)) t->rate *= v->rate * (t->shape.rows > 1 ? EMBD_RATE : NORM_RATE);
    }
}

static accllm_status load_models(recovery *v, accllm_error *err)
{
    acc_run *r = v->r;
    const size_t kv = (size_t)r->hp->n_layers * acc_run_vector(r, ACC_T_Q_DIRECTION).n;
    ACC_TRY(acc_alloc((void **)&v->direction, kv, sizeof *v->direction, "directions of queries", err));
    acc_run_take_levels(r);
    ACC_TRY(acc_train_model_create(&v->teacher, r->src, NULL, NULL, NULL, false, err));
    ACC_TRY(acc_train_model_load(&v->teacher, r->src, err));
    ACC_TRY(acc_train_model_create(&v->student, r->src, (const acc_weight(*)[ACC_N_LINEAR])r->shapes, &r->plan.embd,
                                   &r->plan.output, true, err));
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++) ACC_TRY(load_layer(v, layer, err));
    ACC_TRY(load_head(v, err));
    set_rates(v);
    return ACCLLM_OK;
}

/* ---- the best so far ---- */

static accllm_status save_tuned_layer(recovery *v, uint32_t layer, uint64_t step, accllm_error *err)
{
    acc_run *r = v->r;
    acc_layer_data d = acc_run_layer_sizes(r, layer);
    memcpy(d.record, r->records + (size_t)layer * ACC_N_LINEAR, sizeof d.record);
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        const acc_train_tensor *t = acc_train_find(&v->student, (acc_tensor_id)(ACC_T_ATTN_Q + i), layer);
        ACC_TRY(acc_train_tensor_pack(t, v->blob[i], err));
        d.blob[i] = v->blob[i];
    }
    for (int i = 0; i < ACC_VECTORS; i++) {
        const acc_vector_place *p = &r->place[i];
        const float *mine = student_vector(v, p, layer);
        if (mine) memcpy(v->vectors + p->at, mine, p->n * sizeof *mine);
    }
    d.vectors = v->vectors;
    d.step = step;
    return acc_work_save_layer(&r->work, ACC_WORK_TUNED, layer, &d, err);
}

static accllm_status save_best(void *user, uint64_t step, double held_out, accllm_error *err)
{
    recovery *v = user;
    acc_run *r = v->r;
    (void)held_out;
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++) ACC_TRY(save_tuned_layer(v, layer, step, err));
    const size_t norm = r->hp->n_embd * sizeof(float);
    memcpy(v->head_vectors, acc_train_find(&v->student, ACC_T_OUTPUT_NORM, 0)->latent, norm);
    memcpy(v->head_vectors + r->hp->n_embd, v->student.embd_scale, norm);
    acc_layer_data d = acc_run_head_sizes(r);
    d.vectors = v->head_vectors;
    d.step = step;
    for (int i = 0; i < (r->hp->tied ? 1 : 2); i++) {
        const acc_train_tensor *t = acc_train_find(&v->student, i ? ACC_T_OUTPUT : ACC_T_TOKEN_EMBD, 0);
        ACC_TRY(acc_train_tensor_pack(t, v->head[i], err));
        d.blob[i] = v->head[i];
    }
    return acc_work_save_layer(&r->work, ACC_WORK_TUNED, r->hp->n_layers, &d, err);
}

static void show_progress(void *user, uint64_t step, double loss, double held_out)
{
    recovery *v = user;
    const double fraction = 0.98 - (0.98 - v->from) * (double)(v->steps - step) / (double)v->steps; /* ends at 0.98 */
    if (!v->started) {
        v->started = true;
        v->r->eta_start = acc_seconds();
        v->r->fraction_start = fraction;
    }
    char judged[32] = "";
    if (v->n_held_out) (void)snprintf(judged, sizeof judged, ", held-out %.4f", held_out);
    acc_run_progress(v->r, fraction, "recover: step %llu/%llu, KL %.4f%s", (unsigned long long)step,
                     (unsigned long long)v->steps, loss, judged);
}

static accllm_status allocate(recovery *v, accllm_error *err)
{
    acc_run *r = v->r;
    for (int i = 0; i < ACC_N_LINEAR; i++)
        ACC_TRY(acc_alloc((void **)&v->blob[i], acc_run_blob_bytes(r, i), 1, "packed weights", err));
    ACC_TRY(acc_alloc((void **)&v->head[0], acc_weight_bytes(&r->plan.embd), 1, "packed embedding", err));
    if (!r->hp->tied)
        ACC_TRY(acc_alloc((void **)&v->head[1], acc_weight_bytes(&r->plan.output), 1, "packed output", err));
    ACC_TRY(acc_alloc((void **)&v->head_vectors, r->hp->n_embd, 2 * sizeof(float), "the head's vectors", err));
    return acc_alloc((void **)&v->vectors, r->n_vectors, sizeof *v->vectors, "a layer's vectors", err);
}

static accllm_status train(recovery *v, accllm_error *err)
{
    acc_run *r = v->r;
    acc_train_result *result = &r->recovery;
    const size_t held = (size_t)v->n_seqs * v->seq_len;
    const acc_train_params p = {.ids = v->ids,
                                .n_seqs = v->n_seqs,
                                .seq_len = v->seq_len,
                                .held_out = v->ids + held,
                                .n_held_out = v->n_held_out,
                                .batch = v->batch,
                                .steps = v->steps,
                                .scale_rate = SCALE_RATE * v->rate,
                                .keep_all = true,
                                .bf16 = true,
                                .rules = {.a8 = true,
                                          .kv_bits = r->plan.kv_bits,
                                          .page = r->plan.page,
                                          .sinks = r->plan.sinks,
                                          .window = r->plan.window,
                                          .k_mean = v->student.k_mean,
                                          .q_direction = v->direction},
                                .teacher = &v->teacher,
                                .seed = 1,
                                .checkpoint = v->checkpoint,
                                .config_hash = r->work.config_hash,
                                .checkpoint_seconds = CHECKPOINT_SECONDS,
                                .best = save_best,
                                .progress = show_progress,
                                .user = v};
    v->from = r->fraction;
    ACC_TRY(acc_train_run(r->rt, &v->student, &p, result, err));
    if (v->n_held_out == 0) ACC_TRY(save_best(v, result->steps, 0, err));
    if (v->n_held_out == 0)
        acc_run_note(r, "recovery: the text is too short to hold any of it out; the last step is kept");
    else
        acc_run_note(r, "recovery: divergence from the source on held-out text %.4f before, %.4f at step %llu of %llu",
                     result->first.loss, result->best.loss, (unsigned long long)result->best_step,
                     (unsigned long long)result->steps);
    return ACCLLM_OK;
}

static void recovery_free(recovery *v)
{
    acc_train_model_free(&v->student);
    acc_train_model_free(&v->teacher);
    for (int i = 0; i < ACC_N_LINEAR; i++) acc_free(v->blob[i]);
    for (int i = 0; i < 2; i++) acc_free(v->head[i]);
    acc_free(v->ids);
    acc_free(v->vectors);
    acc_free(v->head_vectors);
    acc_free(v->direction);
}

accllm_status acc_run_recover(acc_run *r, accllm_error *err)
{
    recovery v = {.r = r};
    if (!r->p->recover_tokens) return ACCLLM_OK;
    (void)snprintf(v.checkpoint, sizeof v.checkpoint, "%s/recover.bin", r->work.dir);
    accllm_status s = load_text(&v, err);
    if (s == ACCLLM_OK) s = load_models(&v, err);
    if (s == ACCLLM_OK) s = allocate(&v, err);
    if (s == ACCLLM_OK) s = train(&v, err);
    recovery_free(&v);
    return s == ACCLLM_OK ? acc_run_tuned_means(r, err) : s;
}
