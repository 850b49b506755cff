/*
 * What stands outside the layers, made when these are done: embedding, lm_head, output norm.
 *
 * The channels of lm_head's input are scaled as SmoothQuant does it (Xiao et al. 2023, section 4), between the output
 * norm and lm_head. A tied embedding carries that too, so the file has the vector that undoes it in the look-up. W4 is
 * then solved like a layer's matrix. W8 is rounded: it costs next to nothing. So is an embedding that is not lm_head:
 * it is looked up, and every weight of a row counts alike.
 */
#include <math.h>

#include "compress/head.h"
#include "core/memory.h"
#include "reference/tape.h"

/* c = rms(input)^p / rms(column)^0.4 about its geometric mean: the least sum of what the bits of inputs and of weights
 * cost on SmolLM2-135M, in nats per token (docs/quality.md, "The output layer"). */
#define INPUT_POWER_W8 0.5
#define INPUT_POWER_W4 0.25
#define COLUMN_POWER 0.4
#define CHANNEL_LIMIT 64.0 /* c and 1 / c */

void acc_head_inputs(const acc_head_work *w, size_t first, uint32_t n, float *x)
{
    const acc_hparams *hp = w->r->hp;
    /* States that are not finite show in the Hessian. */
    (void)acc_tape_norm(w->r->rt, w->hidden + first * hp->n_embd, w->norm, n, hp->n_embd, hp->norm_eps, false, x);
}

/* a [cols] += squares of x's columns. */
static void add_squares(const float *x, size_t rows, uint32_t cols, double *a)
{
    for (size_t i = 0; i < rows; i++, x += cols)
        for (uint32_t j = 0; j < cols; j++) a[j] += (double)x[j] * (double)x[j];
}

static accllm_status channel_energies(acc_head_work *w, accllm_error *err)
{
    acc_run *r = w->r;
    const uint32_t cols = r->hp->n_embd, rows = r->hp->n_vocab;
    for (size_t at = 0; at < w->n_tokens; at += ACC_HEAD_ROWS) {
        const uint32_t n = acc_head_piece(w->n_tokens, at);
        acc_head_inputs(w, at, n, w->x);
        add_squares(w->x, n, cols, w->in);
    }
    for (uint32_t row = 0; row < rows; row += ACC_HEAD_ROWS) {
        const uint32_t n = acc_head_piece(rows, row);
        ACC_TRY(acc_check_abort(r->rt, err));
        ACC_TRY(r->head_source->read_rows(r->head_source, acc_head_id(r), 0, row, n, w->x, err));
        add_squares(w->x, n, cols, w->columns);
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

static accllm_status scale_channels(acc_head_work *w, accllm_error *err)
{
    const acc_run *r = w->r;
    ACC_TRY(r->head_source->read_rows(r->head_source, ACC_T_OUTPUT_NORM, 0, 0, 1, w->norm, err));
    ACC_TRY(channel_energies(w, err));
    choose_channels(w->in, w->columns, r->hp->n_embd, w->format == ACC_FMT_W8 ? INPUT_POWER_W8 : INPUT_POWER_W4, w->c);
    for (uint32_t j = 0; j < r->hp->n_embd; j++) {
        w->norm[j] /= w->c[j];
        w->undo[j] = r->hp->tied ? 1 / w->c[j] : 1;
    }
    return ACCLLM_OK;
}

static accllm_status make_factor(acc_head_work *w, accllm_error *err)
{
    acc_hessian h;
    ACC_TRY(acc_hessian_create(&h, w->r->hp->n_embd, err));
    accllm_status s = ACCLLM_OK;
    for (size_t at = 0; s == ACCLLM_OK && at < w->n_tokens; at += ACC_HEAD_ROWS) {
        const uint32_t n = acc_head_piece(w->n_tokens, at);
        acc_head_inputs(w, at, n, w->x);
        acc_hessian_add(w->r->rt->pool, &h, w->x, n);
        s = acc_check_abort(w->r->rt, err);
    }
    if (s == ACCLLM_OK) s = acc_factor_for(&w->factor, &h, w->format, ACC_DAMPING, "lm_head", err);
    acc_hessian_free(&h);
    return s;
}

static accllm_status allocate(acc_head_work *w, accllm_error *err)
{
    const uint32_t n = w->r->hp->n_embd;
    void *p;
    ACC_TRY(acc_alloc(&p, (size_t)ACC_HEAD_ROWS * n, sizeof(float), "embedding rows", err));
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

accllm_status acc_head_prepare(acc_head_work *w, accllm_error *err)
{
    ACC_TRY(allocate(w, err));
    ACC_TRY(scale_channels(w, err));
    return acc_run_solves_head(w->r, w->format) ? make_factor(w, err) : ACCLLM_OK;
}

void acc_head_work_free(acc_head_work *w)
{
    acc_factor_free(&w->factor);
    acc_free(w->norm);
    acc_free(w->in);
    acc_free(w->x);
}

accllm_status acc_head_codes(acc_head_work *w, acc_tensor_id id, uint32_t row, uint32_t n, acc_codes *codes,
                             acc_quantize_stats *stats, accllm_error *err)
{
    acc_run *r = w->r;
    const bool is_head = id == acc_head_id(r);
    const acc_factor *f = is_head && w->factor.unit ? &w->factor : NULL;
    const acc_quantize_params params = {.obs = f != NULL, .descent = ACC_DESCENT, .no_rtn = w->no_rtn};
    acc_weight shape;
    ACC_TRY(acc_run_head_shape(r, id, w->format, &shape, err));
    ACC_TRY(r->head_source->read_rows(r->head_source, id, 0, row, n, w->x, err));
    for (uint32_t i = 0; is_head && i < n; i++)
        for (uint32_t j = 0; j < shape.cols; j++) w->x[(size_t)i * shape.cols + j] *= w->c[j];
    ACC_TRY(acc_codes_create(codes, &shape, n, err));
    accllm_status s = acc_quantize(r->rt->pool, &params, &shape, w->x, f, codes, stats, acc_tensor_base(id), err);
    if (s != ACCLLM_OK) acc_codes_free(codes);
    return s;
}

/* ---- for the file ---- */

/* One matrix into its blob; *sum: its losses, of lm_head where it is solved. */
static accllm_status pack_matrix(acc_head_work *w, acc_tensor_id id, uint8_t *blob, acc_quantize_stats *sum,
                                 accllm_error *err)
{
    acc_run *r = w->r;
    const acc_weight *shape = id == ACC_T_OUTPUT ? &r->plan.output : &r->plan.embd;
    const bool is_head = id == acc_head_id(r);
    const uint32_t rows = r->hp->n_vocab;
    for (uint32_t row = 0; row < rows; row += ACC_HEAD_ROWS) {
        /* Nearly all of the time is lm_head's. */
        const double part = is_head ? (r->head_end - r->layers_end) * row / rows : 0;
        acc_quantize_stats stats;
        acc_codes c;
        acc_run_progress(r, r->layers_end + part, "%s", is_head ? "lm_head" : "embedding");
        ACC_TRY(acc_check_abort(r->rt, err));
        ACC_TRY(acc_head_codes(w, id, row, acc_head_piece(rows, row), &c, &stats, err));
        acc_codes_pack(&c, shape, blob, row / ACC_TILE_ROWS);
        acc_codes_free(&c);
        if (!is_head) continue;
        sum->error += stats.error;
        sum->signal += stats.signal;
        sum->rtn_error += stats.rtn_error;
    }
    return ACCLLM_OK;
}

static accllm_status make(acc_head_work *w, uint8_t *const blob[2], accllm_error *err)
{
    acc_run *r = w->r;
    acc_layer_data d = acc_run_head_sizes(r);
    acc_quantize_stats sum = {0};
    ACC_TRY(acc_head_prepare(w, err));
    ACC_TRY(pack_matrix(w, ACC_T_TOKEN_EMBD, blob[0], &sum, err));
    if (!r->hp->tied) ACC_TRY(pack_matrix(w, ACC_T_OUTPUT, blob[1], &sum, err));
    for (int i = 0; i < 2; i++) d.blob[i] = blob[i];
    d.vectors = w->norm;
    if (w->factor.unit)
        acc_run_note(r, "lm_head: loss %.2g of its outputs' energy, %.2g if it were rounded", sum.error / sum.signal,
                     sum.rtn_error / sum.signal);
    return acc_work_save_layer(&r->work, ACC_WORK_SOLVED, r->hp->n_layers, &d, err);
}

bool acc_run_solves_head(const acc_run *r, acc_format format)
{
    return r->obs && format != ACC_FMT_W8;
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
    acc_head_work w = {
        .r = r, .format = r->head, .hidden = r->hidden, .n_tokens = (size_t)r->cal.n_seqs * r->cal.seq_len};
    const acc_layer_data d = acc_run_head_sizes(r);
    void *blob[2] = {NULL, NULL};
    if (r->head_done) return ACCLLM_OK;
    accllm_status s = acc_alloc(&blob[0], d.bytes[0], 1, "packed embedding", err);
    if (s == ACCLLM_OK && d.bytes[1]) s = acc_alloc(&blob[1], d.bytes[1], 1, "packed output", err);
    if (s == ACCLLM_OK) s = make(&w, (uint8_t *const[2]){blob[0], blob[1]}, err);
    acc_head_work_free(&w);
    for (int i = 0; i < 2; i++) acc_free(blob[i]);
    return s;
}
