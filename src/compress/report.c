/* What a run measured, as JSON and as a page, beside the output. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compress/pipeline.h"
#include "core/clock.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "tokenizer/utf8.h"

/* Sizes are what the file says of itself. */
static accllm_status totals(const acc_run *r, accllm_compress_result *res, accllm_error *err)
{
    accllm_model_info info = {0};
    acc_packed *m;
    struct stat st;
    ACC_TRY(acc_packed_open(&m, r->out_path, true, false, err));
    acc_info_packed(&info, m);
    acc_packed_free(&m);
    res->bits_per_weight = info.bits_per_weight;
    res->bits_per_weight_total = info.bits_per_weight_total;
    res->seconds = acc_seconds() - r->start;
    res->peak_rss_bytes = accllm_peak_rss_bytes();
    res->resumed_layers = r->resumed;
    res->file_bytes = stat(r->out_path, &st) == 0 ? (uint64_t)st.st_size : 0;
    return ACCLLM_OK;
}

static json_t *tensor_json(const acc_run *r, uint32_t layer, int i)
{
    const acc_tensor_record *t = &r->records[(size_t)layer * ACC_N_LINEAR + i];
    const acc_weight *w = &r->shapes[layer][i];
    char name[64];
    acc_tensor_name(name, sizeof name, (acc_tensor_id)(ACC_T_ATTN_Q + i), layer, acc_format_name(w->format));
    json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:f, s:f}", "name", name, "rows", (int)w->rows, "cols", (int)w->cols,
                          "group", (int)w->group, "bits_per_weight",
                          8 * (double)acc_weight_bytes(w) / ((double)w->rows * w->cols), "seconds", t->seconds);
    if (w->format == ACC_FMT_W2S)
        (void)json_object_set_new(o, "levels", json_pack("[i, i]", (int)t->level1, (int)t->level2));
    if (t->signal > 0) {
        (void)json_object_set_new(o, "loss", json_real(t->error / t->signal));
        if (t->rtn_error >= 0) (void)json_object_set_new(o, "loss_rtn", json_real(t->rtn_error / t->signal));
    }
    return o;
}

static json_t *layers_json(const acc_run *r)
{
    json_t *seconds = json_array();
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++)
        (void)json_array_append_new(seconds, json_real(r->layer_seconds[layer]));
    return seconds;
}

/* A path as JSON takes it: '?' for each byte that belongs to no character. */
static json_t *path_json(const char *path)
{
    char *copy = strdup(path);
    const size_t n = strlen(path);
    for (size_t i = 0; copy && i < n;) {
        const acc_utf8_seq q = acc_utf8_scan(path + i, n - i);
        if (q.state != ACC_UTF8_VALID) memset(copy + i, '?', q.len);
        i += q.len;
    }
    json_t *whole = json_string(copy);
    free(copy);
    return whole;
}

static json_t *judgement_json(const acc_head_result *j)
{
    return json_pack("{s:f, s:f, s:f}", "divergence", j->loss, "perplexity", exp(j->nll), "source_perplexity",
                     exp(j->teacher_nll));
}

/* The course of the loss as means of at most 200 pieces; and what held-out text says, where there was any. */
static json_t *recovery_json(const acc_train_result *t)
{
    const uint64_t pieces = t->steps < 200 ? t->steps : 200;
    json_t *course = json_array();
    for (uint64_t i = 0; i < pieces; i++) {
        const uint64_t a = t->steps * i / pieces, b = t->steps * (i + 1) / pieces;
        double sum = 0;
        for (uint64_t k = a; k < b; k++) sum += (double)t->history[k];
        (void)json_array_append_new(course, json_real(sum / (double)(b - a)));
    }
    json_t *o = json_pack("{s:I, s:o}", "steps", (json_int_t)t->steps, "divergence", course);
    if (!o || t->best.loss < 0) return o;
    (void)json_object_set_new(o, "best_step", json_integer((json_int_t)t->best_step));
    (void)json_object_set_new(o, "before", judgement_json(&t->first));
    (void)json_object_set_new(o, "after", judgement_json(&t->best));
    return o;
}

static json_t *report_json(const acc_run *r, const accllm_compress_result *res)
{
    json_t *tensors = json_array();
    for (uint32_t layer = 0; layer < r->hp->n_layers; layer++)
        for (int i = 0; i < ACC_N_LINEAR; i++) (void)json_array_append_new(tensors, tensor_json(r, layer, i));
    json_t *o = json_pack(
        "{s:o, s:o, s:s, s:o, s:s, s:I, s:I, s:o, s:f, s:f, s:I, s:I, s:i, s:f, s:o}", "output", path_json(r->out_path),
        "source", path_json(r->src_path), "weights", r->mixed ? "mixed" : acc_format_name(r->weights), "method",
        path_json(acc_run_method(r)), "head", acc_format_name(r->head), "calibration_tokens",
        (json_int_t)r->cal.n_seqs * (json_int_t)r->cal.seq_len, "calibration_sequence", (json_int_t)r->cal.seq_len,
        "calibration_text", path_json(r->p->calib_path ? r->p->calib_path : "built-in"), "bits_per_weight",
        res->bits_per_weight, "bits_per_weight_total", res->bits_per_weight_total, "file_bytes",
        (json_int_t)res->file_bytes, "peak_rss_bytes", (json_int_t)res->peak_rss_bytes, "resumed_layers",
        (int)res->resumed_layers, "seconds", res->seconds, "tensors", tensors);
    if (o && !r->start_file) (void)json_object_set_new(o, "layer_seconds", layers_json(r));
    if (o && r->recovery.steps) (void)json_object_set_new(o, "recovery", recovery_json(&r->recovery));
    return o;
}

/* Writes text beside the output, whole or not at all. */
static accllm_status write_beside(const acc_run *r, const char *suffix, const char *text, accllm_error *err)
{
    char *path = NULL;
    acc_writer w;
    if (asprintf(&path, "%s%s", r->out_path, suffix) < 0) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: report");
    accllm_status s = acc_writer_open(&w, path, err);
    free(path);
    ACC_TRY(s);
    acc_writer_put(&w, text, strlen(text));
    acc_writer_put(&w, "\n", 1);
    return acc_writer_commit(&w, err);
}

accllm_status acc_run_report(acc_run *r, accllm_compress_result *result, accllm_error *err)
{
    accllm_compress_result res = {0};
    ACC_TRY(totals(r, &res, err));
    if (result) *result = res;
    json_t *o = report_json(r, &res);
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    char *page = o ? acc_report_page(o) : NULL;
    json_decref(o);
    accllm_status s = text && page ? ACCLLM_OK : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: report");
    if (s == ACCLLM_OK) s = write_beside(r, ".report.json", text, err);
    if (s == ACCLLM_OK) s = write_beside(r, ".report.html", page, err);
    free(text);
    free(page);
    return s;
}
