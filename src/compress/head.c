/*
 * What stands outside the layers, made when these are done: embedding, lm_head, output norm.
 *
 * The channels of lm_head's input are scaled as SmoothQuant does it (Xiao et al. 2023, section 4), between the output
 * norm and lm_head. A tied embedding carries that too, so the file has the vector that undoes it in the look-up. W4 is
 * then solved like a layer's matrix. W8 is rounded: it costs next to nothing. So is an embedding that is not lm_head:
 * it is looked up, and every weight of a row counts alike.
 */
#include <math.h>
#include <string.h>

#include "compress/pipeline.h"
#include "core/memory.h"

#define ROWS_AT_ONCE 1024u /* a multiple of 64 */
/* c = rms(input)^p / rms(column)^0.4 about its geometric mean: the least sum of what the bits of inputs and of weights
 * cost on SmolLM2-135M, in nats per token (docs/quality.md, "The output layer"). */
#define INPUT_POWER_W8 0.5
#define INPUT_POWER_W4 0.25
#define COLUMN_POWER 0.4
#define CHANNEL_LIMIT 64.0 /* c and 1 / c */

typedef struct head_work {
    acc_run *r;
    float *x;             /* [ROWS_AT_ONCE][n_embd]: rows of a matrix, or inputs of lm_head */
    double *in, *columns; /* [n_embd]: sums of squares of lm_head's inputs and of its columns */
    float *norm, *undo,
        *c;            /* [n_embd]: the output norm; what an embedding row, and lm_head's columns are multiplied by */
    uint8_t *blob[2];  /* embedding; output, unless it is tied */
    acc_factor factor; /* of lm_head's inputs, where it is solved */
    acc_tensor_record record[2];
} head_work;

static acc_tensor_id head_id(const acc_run *r)
{
    return r->hp->tied ? ACC_T_TOKEN_EMBD : ACC_T_OUTPUT;
}

static const acc_weight *shape_of(const acc_run *r, acc_tensor_id id)
{
    return id == ACC_T_OUTPUT ? &r->plan.output : &r->plan.embd;
}

static uint32_t piece(size_t total, size_t at)
{
    return total - at < ROWS_AT_ONCE ? (uint32_t)(total - at) : ROWS_AT_ONCE;
}

/* x = what lm_head sees of n calibration tokens from `first` on, with the output norm as it stands in w. */
static void inputs(const head_work *w, size_t first, uint32_t n)
{
    const acc_hparams *hp = w->r->hp;
    const float *h = w->r->hidden + first * hp->n_embd;
    float *x = w->x;
    for (uint32_t i = 0; i < n; i++, h += hp->n_embd, x += hp->n_embd) {
        double square = 0;
        for (uint32_t j = 0; j < hp->n_embd; j++) square += (double)h[j] * (double)h[j];
        const double by = 1 / sqrt(square / hp->n_embd + (double)hp->norm_eps);
        for (uint32_t j = 0; j < hp->n_embd; j++) x[j] = (float)((double)h[j] * by) * w->norm[j];
    }
}

/* a [cols] += squares of x's columns. */
static void add_squares(const float *x, size_t rows, uint32_t cols, double *a)
{
    for (size_t i = 0; i < rows; i++, x += cols)
        for (uint32_t j = 0; j < cols; j++) a[j] += (double)x[j] * (double)x[j];
}

static size_t calibration_tokens(const acc_run *r)
{
    return (size_t)r->cal.n_seqs * r->cal.seq_len;
}

static accllm_status channel_energies(head_work *w, accllm_error *err)
{
    acc_run *r = w->r;
    const uint32_t cols = r->hp->n_embd, rows = r->hp->n_vocab;
    const size_t tokens = calibration_tokens(r);
    for (size_t at = 0; at < tokens; at += ROWS_AT_ONCE) {
        inputs(w, at, piece(tokens, at));
        add_squares(w->x, piece(tokens, at), cols, w->in);
    }
    for (uint32_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        ACC_TRY(acc_check_abort(r->rt, err));
        ACC_TRY(r->head_source->read_rows(r->head_source, head_id(r), 0, row, piece(rows, row), w->x, err));
        add_squares(w->x, piece(rows, row), cols, w->columns);
    }
    return ACCLLM_OK;
}

/* 1 where either is dead. */
static void choose_channels(const double *in, const double *columns, uint32_t n, double power, float *c)
{
    double sum = 0;
    uint32_t alive = 0;
    for (uint32_t j = 0; j < n; j++) {
        if (!(in[j] > 0 && columns[j] > 0)) continue;
        sum += 0.5 * (power * log(in[j]) - COLUMN_POWER * log(columns[j]));
        alive++;
    }
    for (uint32_t j = 0; j < n; j++) {
        c[j] = 1;
        if (!(in[j] > 0 && columns[j] > 0)) continue;
        const double s = exp(0.5 * (power * log(in[j]) - COLUMN_POWER * log(columns[j])) - sum / alive);
        c[j] = (float)fmin(fmax(s, 1 / CHANNEL_LIMIT), CHANNEL_LIMIT);
    }
}

static accllm_status scale_channels(head_work *w, accllm_error *err)
{
    const acc_run *r = w->r;
    ACC_TRY(r->head_source->read_rows(r->head_source, ACC_T_OUTPUT_NORM, 0, 0, 1, w->norm, err));
    ACC_TRY(channel_energies(w, err));
    choose_channels(w->in, w->columns, r->hp->n_embd, r->head == ACC_FMT_W8 ? INPUT_POWER_W8 : INPUT_POWER_W4, w->c);
    for (uint32_t j = 0; j < r->hp->n_embd; j++) {
        w->norm[j] /= w->c[j];
        w->undo[j] = r->hp->tied ? 1 / w->c[j] : 1;
    }
    return ACCLLM_OK;
}

static accllm_status make_factor(head_work *w, accllm_error *err)
{
    acc_run *r = w->r;
    const size_t tokens = calibration_tokens(r);
    acc_hessian h;
    ACC_TRY(acc_hessian_create(&h, r->hp->n_embd, err));
    for (size_t at = 0; at < tokens; at += ROWS_AT_ONCE) {
        inputs(w, at, piece(tokens, at));
        acc_hessian_add(r->rt->pool, &h, w->x, piece(tokens, at));
    }
    accllm_status s = acc_factor_for(&w->factor, &h, r->head, ACC_DAMPING, "lm_head", err);
    acc_hessian_free(&h);
    return s;
}

/* Rows [row, row + n) of a matrix: codes into its blob, losses into its record. */
static accllm_status quantize_rows(head_work *w, acc_tensor_id id, const acc_factor *f, uint32_t row, uint32_t n,
                                   accllm_error *err)
{
    acc_run *r = w->r;
    const acc_weight *shape = shape_of(r, id);
    const acc_quantize_params params = {.obs = f != NULL, .descent = ACC_DESCENT};
    acc_tensor_record *rec = &w->record[id == ACC_T_OUTPUT];
    acc_weight part = *shape;
    acc_quantize_stats stats;
    acc_codes c;
    ACC_TRY(acc_check_abort(r->rt, err));
    ACC_TRY(r->head_source->read_rows(r->head_source, id, 0, row, n, w->x, err));
    for (uint32_t i = 0; id == head_id(r) && i < n; i++)
        for (uint32_t j = 0; j < shape->cols; j++) w->x[(size_t)i * shape->cols + j] *= w->c[j];
    ACC_TRY(acc_codes_create(&c, shape, n, err));
    accllm_status s = acc_quantize(r->rt->pool, &params, &part, w->x, f, &c, &stats, acc_tensor_base(id), err);
    if (s == ACCLLM_OK) {
        acc_codes_pack(&c, shape, w->blob[id == ACC_T_OUTPUT], row / ACC_TILE_ROWS);
        rec->error += stats.error;
        rec->signal += stats.signal;
        rec->rtn_error += stats.rtn_error;
        rec->seconds += stats.seconds;
    }
    acc_codes_free(&c);
    return s;
}

static accllm_status quantize_matrix(head_work *w, acc_tensor_id id, accllm_error *err)
{
    acc_run *r = w->r;
    const acc_factor *f = id == head_id(r) && w->factor.unit ? &w->factor : NULL;
    const uint32_t rows = r->hp->n_vocab;
    void *blob;
    ACC_TRY(acc_alloc(&blob, acc_weight_bytes(shape_of(r, id)), 1, "packed embedding", err));
    w->blob[id == ACC_T_OUTPUT] = blob;
    for (uint32_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        /* Nearly all of the time is lm_head's. */
        const double part = id == head_id(r) ? (r->head_end - r->layers_end) * row / rows : 0;
        acc_run_progress(r, r->layers_end + part, "%s", id == head_id(r) ? "lm_head" : "embedding");
        ACC_TRY(quantize_rows(w, id, f, row, piece(rows, row), err));
    }
    return ACCLLM_OK;
}

static accllm_status allocate(head_work *w, accllm_error *err)
{
    const uint32_t n = w->r->hp->n_embd;
    void *p;
    ACC_TRY(acc_alloc(&p, (size_t)ROWS_AT_ONCE * n, sizeof(float), "embedding rows", err));
    w->x = p;
    ACC_TRY(acc_alloc(&p, n, 2 * sizeof(double), "channel energies", err));
    w->in = p;
    w->columns = w->in + n;
    ACC_TRY(acc_alloc(&p, n, 3 * sizeof(float), "the head's vectors", err));
    w->norm = p;
    w->undo = w->norm + n;
    w->c = w->undo + n;
    return ACCLLM_OK;
}

static accllm_status make(head_work *w, accllm_error *err)
{
    acc_run *r = w->r;
    ACC_TRY(allocate(w, err));
    ACC_TRY(scale_channels(w, err));
    if (acc_run_solves_head(r)) ACC_TRY(make_factor(w, err));
    ACC_TRY(quantize_matrix(w, ACC_T_TOKEN_EMBD, err));
    if (!r->hp->tied) ACC_TRY(quantize_matrix(w, ACC_T_OUTPUT, err));
    acc_layer_data d = acc_run_head_sizes(r);
    for (int i = 0; i < 2; i++) d.blob[i] = w->blob[i];
    memcpy(d.record, w->record, sizeof w->record);
    d.vectors = w->norm;
    return acc_work_save_layer(&r->work, ACC_WORK_SOLVED, r->hp->n_layers, &d, err);
}

bool acc_run_solves_head(const acc_run *r)
{
    return r->obs && r->head != ACC_FMT_W8;
}

acc_layer_data acc_run_head_sizes(const acc_run *r)
{
    acc_layer_data d = {.n_vectors = 2 * r->hp->n_embd};
    d.bytes[0] = acc_weight_bytes(&r->plan.embd);
    d.bytes[1] = r->hp->tied ? 0 : acc_weight_bytes(&r->plan.output);
    return d;
}

accllm_status acc_run_load_head(acc_run *r, acc_work_kind kind, accllm_error *err)
{
    acc_layer_data_close(&r->outside);
    r->outside = acc_run_head_sizes(r);
    return acc_work_load_layer(&r->work, kind, r->hp->n_layers, &r->outside, err);
}

accllm_status acc_run_head(acc_run *r, accllm_error *err)
{
    head_work w = {.r = r};
    if (r->head_done) return ACCLLM_OK;
    accllm_status s = make(&w, err);
    const acc_tensor_record *t = &w.record[!r->hp->tied];
    if (s == ACCLLM_OK && t->signal > 0)
        acc_run_note(r, "lm_head: loss %.2g of its outputs' energy, %.2g if it were rounded", t->error / t->signal,
                     t->rtn_error / t->signal);
    acc_factor_free(&w.factor);
    for (int i = 0; i < 2; i++) acc_free(w.blob[i]);
    acc_free(w.norm);
    acc_free(w.in);
    acc_free(w.x);
    return s;
}
