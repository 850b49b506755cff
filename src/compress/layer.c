/* Layer by layer: collect Hessians over the compressed prefix, quantise, pass the tokens' states on. */
#include <string.h>

#include "compress/pipeline.h"
#include "core/clock.h"
#include "core/memory.h"

#define SAVE_HIDDEN_SECONDS 60.0

const uint8_t acc_input_of[ACC_N_LINEAR] = {0, 0, 0, 1, 2, 2, 3};

int acc_input_from(acc_tensor_id tap)
{
    return acc_tensor_is_linear(tap) && tap != ACC_T_ATTN_K ? acc_input_of[tap - ACC_T_ATTN_Q] : -1;
}

float **acc_matrix_of(acc_ref_layer *l, int i)
{
    float **const m[ACC_N_LINEAR] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
    return m[i];
}

/* Scratch of the layer stage. */
typedef struct layer_work {
    acc_run *r;
    acc_ref_work *ref;
    acc_collector collector;
    float *copy; /* [seq_len][n_embd] */
    uint8_t *blob[ACC_N_LINEAR];
    float *vectors; /* [r->n_vectors] */
    acc_ref_layer l;
    uint32_t layer;
} layer_work;

static size_t sequence_floats(const acc_run *r)
{
    return (size_t)r->cal.seq_len * r->hp->n_embd;
}

/* Of the whole work, when n layers are done. */
static double fraction_at(const acc_run *r, uint32_t n)
{
    return r->layers_begin + (r->layers_end - r->layers_begin) * n / r->hp->n_layers;
}

/* One pass of every sequence through the layer. keep: hidden becomes the output, else only the tap sees anything. */
static accllm_status pass(layer_work *w, bool keep, const char *what, double from, double to, accllm_error *err)
{
    acc_run *r = w->r;
    const size_t n = sequence_floats(r);
    for (uint32_t s = 0; s < r->cal.n_seqs; s++) {
        float *x = r->hidden + s * n;
        if (!keep) x = memcpy(w->copy, x, n * sizeof *x);
        acc_run_progress(r, from + (to - from) * s / r->cal.n_seqs, "layer %u/%u: %s", w->layer + 1, r->hp->n_layers,
                         what);
        accllm_status st = acc_ref_layer_forward(r->rt, r->hp, &w->l, x, r->cal.seq_len, &r->attention, w->ref,
                                                 acc_collector_tap, &w->collector, err);
        if (st == ACCLLM_E_CANCELLED) return st;
        if (st != ACCLLM_OK) return acc_prefix(err, st, "layer %u", w->layer);
    }
    return ACCLLM_OK;
}

/* One matrix: codes, packed blob, and the float matrix replaced by what the codes say. */
static accllm_status quantize_matrix(layer_work *w, int i, const acc_factor *f, acc_tensor_record *rec,
                                     accllm_error *err)
{
    acc_run *r = w->r;
    acc_weight shape = r->shapes[w->layer][i];
    char name[64];
    acc_codes c;
    acc_quantize_stats stats;
    const acc_quantize_params p = {.obs = r->obs, .descent = ACC_DESCENT, .choose_levels = true};
    float *m = *acc_matrix_of(&w->l, i);
    acc_tensor_name(name, sizeof name, (acc_tensor_id)(ACC_T_ATTN_Q + i), w->layer, "weight");
    ACC_TRY(acc_codes_create(&c, &shape, shape.rows, err));
    accllm_status s = acc_quantize(r->rt->pool, &p, &shape, m, f, &c, &stats, name, err);
    if (s == ACCLLM_OK) {
        acc_codes_pack(&c, &shape, w->blob[i], 0);
        for (uint32_t row = 0; row < c.rows; row++) acc_codes_dequant_row(&c, row, m + (size_t)row * c.cols);
        acc_weight_bind(&shape, w->blob[i]);
        s = acc_weight_check(&shape, name, 1, err);
        *rec =
            (acc_tensor_record){shape.level1, shape.level2, stats.error, stats.signal, stats.rtn_error, stats.seconds};
    }
    acc_codes_free(&c);
    return s;
}

/* The matrices that share one input. */
static accllm_status quantize_group(layer_work *w, int input, double from, double to, accllm_error *err)
{
    acc_run *r = w->r;
    acc_factor f = {0};
    accllm_status s = ACCLLM_OK;
    for (int i = 0; s == ACCLLM_OK && i < ACC_N_LINEAR; i++) {
        if (acc_input_of[i] != input) continue;
        char what[64];
        acc_tensor_name(what, sizeof what, (acc_tensor_id)(ACC_T_ATTN_Q + i), w->layer, "weight");
        acc_run_progress(r, from + (to - from) * i / ACC_N_LINEAR, "layer %u/%u: %s", w->layer + 1, r->hp->n_layers,
                         acc_tensor_base((acc_tensor_id)(ACC_T_ATTN_Q + i)));
        s = acc_check_abort(r->rt, err);
        if (s == ACCLLM_OK && r->obs)
            s = acc_factor_for(&f, &w->collector.hessian[input], r->shapes[w->layer][i].format, ACC_DAMPING, what, err);
        if (s == ACCLLM_OK)
            s = quantize_matrix(w, i, r->obs ? &f : NULL, &r->records[(size_t)w->layer * ACC_N_LINEAR + i], err);
    }
    acc_factor_free(&f);
    return s;
}

static void reset_keys(acc_collector *c)
{
    memset(c->key_sum, 0, c->kv_dim * sizeof *c->key_sum);
    c->n_keys = 0;
}

/* The layer's own norms and biases from its vectors, or out into them; what the calibration measured stands there too.
 */
static void move_vectors(layer_work *w, float *vectors, bool out)
{
    const acc_ref_layer *l = &w->l;
    float *const own[ACC_T_COUNT] = {[ACC_T_ATTN_NORM] = l->attn_norm,
                                     [ACC_T_FFN_NORM] = l->ffn_norm,
                                     [ACC_T_ATTN_Q_BIAS] = l->q_bias,
                                     [ACC_T_ATTN_K_BIAS] = l->k_bias,
                                     [ACC_T_ATTN_V_BIAS] = l->v_bias};
    for (int i = 0; i < ACC_VECTORS; i++) {
        const acc_vector_place *p = &w->r->place[i];
        float *mine = p->id < ACC_T_COUNT ? own[p->id] : NULL;
        if (mine) memcpy(out ? vectors + p->at : mine, out ? mine : vectors + p->at, p->n * sizeof *mine);
    }
}

static void key_means(layer_work *w)
{
    const acc_vector_place mean = acc_run_vector(w->r, ACC_T_K_MEAN);
    for (uint32_t j = 0; j < mean.n; j++)
        w->vectors[mean.at + j] =
            w->collector.n_keys ? (float)(w->collector.key_sum[j] / (double)w->collector.n_keys) : 0;
}

static accllm_status save_layer(layer_work *w, double seconds, accllm_error *err)
{
    acc_run *r = w->r;
    acc_layer_data d = acc_run_layer_sizes(r, w->layer);
    memcpy(d.record, r->records + (size_t)w->layer * ACC_N_LINEAR, sizeof d.record);
    for (int i = 0; i < ACC_N_LINEAR; i++) d.blob[i] = w->blob[i];
    d.seconds = r->layer_seconds[w->layer] = seconds;
    d.vectors = w->vectors;
    key_means(w);
    memcpy(w->vectors + acc_run_vector(r, ACC_T_Q_DIRECTION).at, w->collector.direction,
           w->collector.kv_dim * sizeof(float));
    move_vectors(w, w->vectors, true);
    return acc_work_save_layer(&r->work, ACC_WORK_SOLVED, w->layer, &d, err);
}

/* The states after this layer, now and then: they cost more to write than a layer does. */
static accllm_status save_hidden(acc_run *r, accllm_error *err)
{
    double now = acc_seconds();
    if (now - r->last_save < SAVE_HIDDEN_SECONDS) return ACCLLM_OK;
    r->last_save = now;
    return acc_work_save_hidden(&r->work, r->hidden_layers, r->hidden, r->cal.n_seqs * sequence_floats(r), err);
}

static accllm_status compress_layer(layer_work *w, double from, double to, accllm_error *err)
{
    acc_run *r = w->r;
    const double start = acc_seconds(), part = to - from;
    for (int i = 0; i < 4; i++) acc_hessian_reset(&w->collector.hessian[i]);
    w->collector.wanted = 15;
    reset_keys(&w->collector);
    ACC_TRY(pass(w, false, "calibrate", from, from + 0.45 * part, err));
    ACC_TRY(acc_smooth_layer(&w->l, r->hp, r->shapes[w->layer], &w->collector, err));
    ACC_TRY(acc_permute_layer(r->rt->pool, &w->l, r->hp, r->shapes[w->layer], &w->collector, err));
    for (int input = 0; input < 4; input++)
        ACC_TRY(quantize_group(w, input, from + 0.45 * part, from + 0.7 * part, err));
    w->collector.wanted = 0;
    reset_keys(&w->collector);
    ACC_TRY(pass(w, true, "propagate", from + 0.7 * part, to, err));
    r->hidden_layers = w->layer + 1;
    return save_layer(w, acc_seconds() - start, err);
}

/* A finished layer: its codes take the place of the weights, and the states pass through. */
static accllm_status replay_layer(layer_work *w, const acc_layer_data *d, const char *what, double from, double to,
                                  accllm_error *err)
{
    acc_run *r = w->r;
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        acc_weight shape = r->shapes[w->layer][i];
        shape.level1 = (uint8_t)d->record[i].level1;
        shape.level2 = (uint8_t)d->record[i].level2;
        acc_weight_bind(&shape, d->blob[i]);
        for (uint32_t row = 0; row < shape.rows; row++)
            acc_weight_dequant_row(&shape, row, *acc_matrix_of(&w->l, i) + (size_t)row * shape.cols);
    }
    memcpy(w->vectors, d->vectors, d->n_vectors * sizeof *w->vectors);
    move_vectors(w, w->vectors, false);
    w->collector.wanted = 0;
    reset_keys(&w->collector);
    return pass(w, true, what, from, to, err);
}

static accllm_status resume_layer(layer_work *w, double from, double to, accllm_error *err)
{
    acc_layer_data d = acc_run_layer_sizes(w->r, w->layer);
    ACC_TRY(acc_work_load_layer(&w->r->work, ACC_WORK_SOLVED, w->layer, &d, err));
    accllm_status s = replay_layer(w, &d, "replay", from, to, err);
    acc_layer_data_close(&d);
    if (s == ACCLLM_OK) w->r->hidden_layers = w->layer + 1;
    return s;
}

/* The best so far is saved layer by layer: a kill in between leaves layers of two steps. */
static accllm_status same_step(const acc_run *r, const acc_layer_data *d, uint32_t layer, accllm_error *err)
{
    if (d->step == r->outside.step) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_FORMAT,
                    "recovery: layer %u is of step %llu, the head of step %llu: the run was interrupted between them; "
                    "resume with more tokens, so that it gets there again",
                    layer, (unsigned long long)d->step, (unsigned long long)r->outside.step);
}

static accllm_status measure_means(layer_work *w, double from, double to, accllm_error *err)
{
    acc_run *r = w->r;
    acc_layer_data d = acc_run_layer_sizes(r, w->layer);
    ACC_TRY(acc_work_load_layer(&r->work, ACC_WORK_TUNED, w->layer, &d, err));
    accllm_status s = same_step(r, &d, w->layer, err);
    if (s == ACCLLM_OK) s = replay_layer(w, &d, "key means", from, to, err);
    key_means(w);
    d.vectors = w->vectors;
    if (s == ACCLLM_OK) s = acc_work_save_layer(&r->work, ACC_WORK_TUNED, w->layer, &d, err);
    acc_layer_data_close(&d);
    return s;
}

static accllm_status layer_work_alloc(layer_work *w, accllm_error *err)
{
    acc_run *r = w->r;
    void *p;
    ACC_TRY(acc_ref_work_create(&w->ref, r->hp, r->cal.seq_len, err));
    ACC_TRY(acc_collector_create(&w->collector, r, err));
    ACC_TRY(acc_alloc(&p, sequence_floats(r), sizeof(float), "states of a sequence", err));
    w->copy = p;
    ACC_TRY(acc_alloc(&p, r->n_vectors, sizeof(float), "a layer's vectors", err));
    w->vectors = p;
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        ACC_TRY(acc_alloc(&p, acc_run_blob_bytes(r, i), 1, "packed weights", err));
        w->blob[i] = p;
    }
    return ACCLLM_OK;
}

static void layer_work_free(layer_work *w)
{
    acc_ref_layer_free(&w->l);
    acc_ref_work_free(&w->ref);
    acc_collector_free(&w->collector);
    acc_free(w->copy);
    acc_free(w->vectors);
    for (int i = 0; i < ACC_N_LINEAR; i++) acc_free(w->blob[i]);
}

/* The states before the first layer, from the trained embedding. */
static accllm_status embed_tuned(acc_run *r, accllm_error *err)
{
    const size_t total = (size_t)r->cal.n_seqs * r->cal.seq_len;
    acc_weight embd = r->plan.embd;
    ACC_TRY(acc_run_load_head(r, ACC_WORK_TUNED, err));
    acc_weight_bind(&embd, r->outside.blob[0]);
    const float *scale = r->outside.vectors + r->hp->n_embd;
    for (size_t i = 0; i < total; i++) {
        float *x = r->hidden + i * r->hp->n_embd;
        acc_weight_dequant_row(&embd, (uint32_t)r->cal.ids[i], x);
        for (uint32_t j = 0; j < r->hp->n_embd; j++) x[j] *= scale[j];
    }
    acc_layer_data_close(&r->outside);
    return ACCLLM_OK;
}

accllm_status acc_run_layers(acc_run *r, accllm_error *err)
{
    layer_work w = {.r = r};
    /* Where a file is started from, what is left for a head of another format is to pass the states on. */
    const uint32_t n = r->hp->n_layers, first = r->hidden_layers, done = r->start_file ? n : r->resumed;
    if (r->start_file) {
        ACC_TRY(acc_run_copy_start(r, err));
        if (r->head_done) return ACCLLM_OK;
    }
    accllm_status s = first < n ? layer_work_alloc(&w, err) : ACCLLM_OK;
    r->last_save = acc_seconds();
    for (uint32_t i = first; s == ACCLLM_OK && i < n; i++) {
        double from = fraction_at(r, i), to = fraction_at(r, i + 1);
        w.layer = i;
        s = acc_ref_layer_load(&w.l, r->src, i, err);
        if (s == ACCLLM_OK) s = i < done ? resume_layer(&w, from, to, err) : compress_layer(&w, from, to, err);
        acc_ref_layer_free(&w.l);
        if (s == ACCLLM_OK) s = save_hidden(r, err);
    }
    layer_work_free(&w);
    if (s == ACCLLM_OK && !r->start_file) acc_run_note_layers(r);
    return s;
}

accllm_status acc_run_tuned_means(acc_run *r, accllm_error *err)
{
    layer_work w = {.r = r};
    const uint32_t n = r->hp->n_layers;
    accllm_status s = layer_work_alloc(&w, err);
    if (s == ACCLLM_OK) s = embed_tuned(r, err);
    for (uint32_t i = 0; s == ACCLLM_OK && i < n; i++) {
        w.layer = i;
        s = acc_ref_layer_load(&w.l, r->src, i, err);
        if (s == ACCLLM_OK) s = measure_means(&w, 0.98, 0.98, err);
        acc_ref_layer_free(&w.l);
    }
    layer_work_free(&w);
    return s;
}

/* Rows of the embedding nearly as the packed file will hold them: rounded, row by row. (What head.c makes of them is
 * known only after the last layer.) */
static accllm_status embed_block(acc_run *r, const int32_t *ids, uint32_t n, float *rows, float *out, accllm_error *err)
{
    acc_codes c;
    acc_weight shape = r->plan.embd;
    acc_quantize_stats stats;
    const acc_quantize_params p = {0};
    const acc_source *src = r->head_source;
    for (uint32_t i = 0; i < n; i++)
        ACC_TRY(src->read_rows(src, ACC_T_TOKEN_EMBD, 0, (uint64_t)ids[i], 1, rows + (size_t)i * shape.cols, err));
    ACC_TRY(acc_codes_create(&c, &shape, n, err));
    accllm_status s = acc_quantize(r->rt->pool, &p, &shape, rows, NULL, &c, &stats, "token_embd", err);
    for (uint32_t i = 0; s == ACCLLM_OK && i < n; i++) acc_codes_dequant_row(&c, i, out + (size_t)i * shape.cols);
    acc_codes_free(&c);
    return s;
}

accllm_status acc_run_embed(acc_run *r, accllm_error *err)
{
    enum { BLOCK = 512 };
    const size_t total = (size_t)r->cal.n_seqs * r->cal.seq_len;
    void *p;
    ACC_TRY(acc_alloc(&p, total, r->hp->n_embd * sizeof(float), "states of the calibration tokens", err));
    r->hidden = p;
    r->hidden_layers = r->resumed ? acc_work_load_hidden(&r->work, r->hidden, total * r->hp->n_embd) : 0;
    if (r->hidden_layers > r->resumed) r->hidden_layers = 0;
    if (r->head_done) r->hidden_layers = r->resumed; /* nothing left that needs them */
    r->fraction_start = fraction_at(r, r->hidden_layers);
    acc_run_progress(r, r->fraction_start, "calibrate");
    if (r->hidden_layers) return ACCLLM_OK;
    ACC_TRY(acc_alloc(&p, (size_t)BLOCK * r->hp->n_embd, sizeof(float), "embedding rows", err));
    accllm_status s = ACCLLM_OK;
    for (size_t i = 0; s == ACCLLM_OK && i < total; i += BLOCK) {
        uint32_t n = total - i < BLOCK ? (uint32_t)(total - i) : BLOCK;
        s = acc_check_abort(r->rt, err);
        if (s == ACCLLM_OK) s = embed_block(r, r->cal.ids + i, n, p, r->hidden + i * r->hp->n_embd, err);
    }
    acc_free(p);
    return s;
}
