/* accllm_compress() on tiny random checkpoints: formats, what the packed file holds, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/eval.h"
#include "compress/pipeline.h"
#include "fixture.h"
#include "model/packed.h"

/* Row r behind its norm (ACC_T_COUNT: none); unit: at length 1. x, gains: of the matrix's columns. */
static void read_row(const acc_source *s, acc_tensor_id id, acc_tensor_id norm, uint32_t layer, uint64_t r, bool unit,
                     uint64_t cols, float *x, float *gains)
{
    double square = 0;
    assert_int_equal(s->read_rows(s, id, layer, r, 1, x, NULL), ACCLLM_OK);
    if (norm != ACC_T_COUNT) assert_int_equal(s->read_rows(s, norm, layer, 0, 1, gains, NULL), ACCLLM_OK);
    for (uint64_t j = 0; j < cols; j++) {
        if (norm != ACC_T_COUNT) x[j] *= gains[j];
        square += (double)x[j] * (double)x[j];
    }
    for (uint64_t j = 0; unit && j < cols; j++) x[j] /= (float)sqrt(square);
}

/* Mean squared difference of two sources' rows of one matrix over the mean square, each multiplied by the norm that
 * stands before it. The compressor moves scales between norms and columns, and between rows of V and columns of the
 * output projection: rows of V are compared at unit length. It also reorders rows of V and of gate: each row of a
 * is compared with the nearest one of b. */
static double relative_error(const acc_source *a, const acc_source *b, acc_tensor_id id, acc_tensor_id norm,
                             uint32_t layer)
{
    uint64_t rows, cols;
    double diff = 0, square = 0;
    const bool unit = id == ACC_T_ATTN_V, ordered = norm == ACC_T_COUNT || norm == ACC_T_OUTPUT_NORM;
    acc_tensor_shape(&a->hp, id, &rows, &cols);
    float *x = calloc((rows + 2) * cols, sizeof *x), *gains = x + cols, *all = gains + cols;
    for (uint64_t r = 0; r < rows; r++) read_row(b, id, norm, layer, r, unit, cols, all + r * cols, gains);
    for (uint64_t r = 0; r < rows; r++) {
        double least = INFINITY;
        read_row(a, id, norm, layer, r, unit, cols, x, gains);
        for (uint64_t i = ordered ? r : 0; i < (ordered ? r + 1 : rows); i++) {
            double d = 0;
            for (uint64_t j = 0; j < cols; j++) d += pow((double)x[j] - (double)all[i * cols + j], 2);
            least = fmin(least, d);
        }
        diff += least;
        for (uint64_t j = 0; j < cols; j++) square += (double)x[j] * (double)x[j];
    }
    free(x);
    return diff / square;
}

/* Opens the output with every check and compares its weights with the source's: those of its matrices that the
 * smoothing of rows (q, k, up) and of columns of out and down leaves in place. */
static void check_output(fixture *f, double linear_error, double head_error)
{
    acc_packed *m;
    acc_source *a, *b;
    if (acc_packed_open(&m, f->out, true, true, &f->err) != ACCLLM_OK) fail_msg("%s", f->err.text);
    assert_int_equal(acc_checkpoint_open(&a, f->src, true, &f->err), ACCLLM_OK);
    assert_int_equal(acc_packed_source(&b, m, &f->err), ACCLLM_OK);
    for (uint32_t layer = 0; layer < a->hp.n_layers; layer++) {
        assert_true(relative_error(a, b, ACC_T_ATTN_V, ACC_T_ATTN_NORM, layer) < linear_error);
        assert_true(relative_error(a, b, ACC_T_FFN_GATE, ACC_T_FFN_NORM, layer) < linear_error);
        assert_int_equal(a->has(a, ACC_T_ATTN_V_BIAS, layer), b->has(b, ACC_T_ATTN_V_BIAS, layer));
        assert_non_null(m->layers[layer].k_mean);
    }
    assert_true(relative_error(a, b, ACC_T_TOKEN_EMBD, ACC_T_COUNT, 0) < head_error);
    if (!a->hp.tied) assert_true(relative_error(a, b, ACC_T_OUTPUT, ACC_T_OUTPUT_NORM, 0) < head_error);
    assert_int_equal(m->embd_scale != NULL, a->hp.tied);
    b->close(b);
    a->close(a);
    acc_packed_free(&m);
}

/* What the run says of the file is what the file says of itself. */
static void check_sizes(const fixture *f, const accllm_compress_result *r)
{
    accllm_inspection *x;
    assert_int_equal(accllm_inspect(&x, f->out, true, NULL), ACCLLM_OK);
    const accllm_model_info *info = accllm_inspection_info(x);
    assert_true(fabs(r->bits_per_weight - info->bits_per_weight) < 1e-9);
    assert_true(fabs(r->bits_per_weight_total - info->bits_per_weight_total) < 1e-9);
    assert_true(r->file_bytes == info->file_bytes);
    accllm_inspection_free(&x);
}

static void every_format_and_method(void **state)
{
    (void)state;
    static const struct {
        const char *weights, *method, *head;
        double linear, head_error;
    } cases[] = {{"w2s", "obs", "w8", 0.5, 1e-3}, {"w2s", "rtn", "w4", 0.3, 0.02}, {"w4", NULL, NULL, 0.03, 1e-3},
                 {"w4", "rtn", "w4", 0.02, 0.02}, {"w2", "obs", "w8", 0.3, 1e-3},  {"w2", "rtn", "w4", 0.15, 0.02},
                 {"w8", "obs", "w8", 1e-3, 1e-3}, {"w8", "rtn", "w8", 1e-3, 1e-3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_options o = tiny_defaults();
        fixture f;
        accllm_compress_result r;
        o.tied = i % 2;
        o.biases = i % 3 == 0;
        start(&f, &o);
        f.p.weights = cases[i].weights;
        f.p.method = cases[i].method;
        f.p.head = cases[i].head;
        must_compress(&f, &r);
        assert_true(r.bits_per_weight > 1.7 && r.bits_per_weight < 14);
        check_sizes(&f, &r);
        assert_int_equal(r.resumed_layers, 0);
        assert_true(f.watch.last == 1 && !f.watch.fell);
        assert_non_null(strstr(f.watch.notes, "memory: about"));
        const bool two_bits = strncmp(cases[i].weights, "w2", 2) == 0;
        assert_int_equal(strstr(f.watch.notes, "not give usable text") != NULL, two_bits);
        assert_true(exists(beside(&f, ".report.json")));
        check_output(&f, cases[i].linear, cases[i].head_error);
        finish(&f);
    }
}

/* What it loses of its outputs is a fraction of what rounding would; W8 is not solved. */
static void lm_head_is_solved(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        tiny_options o = tiny_defaults();
        fixture f;
        double loss, rounded;
        o.tied = tied;
        start(&f, &o);
        f.p.head = "w4";
        must_compress(&f, NULL);
        const char *at = strstr(f.watch.notes, "lm_head: loss");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "lm_head: loss %lf of its outputs' energy, %lf", &loss, &rounded), 2);
        assert_true(loss > 0 && loss < 0.8 * rounded);
        check_output(&f, 0.03, 0.03);
        f.p.head = "w8";
        must_compress(&f, NULL);
        assert_null(strstr(f.watch.notes, "lm_head: loss"));
        finish(&f);
    }
}

static void key_means_are_of_rotated_keys(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    o.biases = true; /* key biases give the keys a mean */
    start(&f, &o);
    f.p.weights = "w8";
    f.p.page = 16;
    must_compress(&f, NULL);
    acc_packed *m;
    assert_int_equal(acc_packed_open(&m, f.out, true, true, NULL), ACCLLM_OK);
    assert_int_equal(m->page, 16);
    double square = 0;
    for (uint32_t i = 0; i < m->hp.n_kv_heads * m->hp.head_dim; i++)
        square += (double)m->layers[0].k_mean[i] * (double)m->layers[0].k_mean[i];
    assert_true(square > 1e-8);
    acc_packed_free(&m);
    finish(&f);
}

/* What the compressed first layer itself gives over the calibration text, not the one that it was made from. */
static void key_means_are_of_the_compressed_layer(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    o.biases = true;
    o.tied = false; /* no channel scales on the embedding */
    start(&f, &o);
    f.p.weights = "w2";
    f.p.method = "rtn";
    must_compress(&f, NULL);
    acc_packed *m;
    acc_run r = {.rt = f.rt};
    accllm_tokenizer *tok;
    acc_ref_layer l;
    acc_ref_work *work;
    acc_collector c;
    assert_int_equal(acc_packed_open(&m, f.out, true, true, NULL), ACCLLM_OK);
    assert_int_equal(acc_packed_source(&r.src, m, NULL), ACCLLM_OK);
    const acc_hparams *hp = r.hp = &m->hp;
    assert_int_equal(accllm_tokenizer_open(&tok, f.src, NULL), ACCLLM_OK);
    assert_int_equal(acc_calibration_create(&r.cal, tok, NULL, f.p.calib_tokens, hp->n_ctx_train, hp->n_vocab, NULL),
                     ACCLLM_OK);
    r.plan.page = m->page;
    r.plan.sinks = m->default_sinks;
    assert_int_equal(acc_ref_layer_load(&l, r.src, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_ref_work_create(&work, hp, r.cal.seq_len, NULL), ACCLLM_OK);
    assert_int_equal(acc_collector_create(&c, &r, NULL), ACCLLM_OK);
    float *x = calloc((size_t)r.cal.seq_len * hp->n_embd, sizeof *x);
    assert_non_null(x);
    const acc_ref_attention att = {m->default_sinks, m->default_window};
    for (uint32_t s = 0; s < r.cal.n_seqs; s++) {
        for (uint32_t t = 0; t < r.cal.seq_len; t++) {
            const uint64_t id = (uint64_t)r.cal.ids[s * r.cal.seq_len + t];
            assert_int_equal(r.src->read_rows(r.src, ACC_T_TOKEN_EMBD, 0, id, 1, x + (size_t)t * hp->n_embd, NULL),
                             ACCLLM_OK);
        }
        assert_int_equal(acc_ref_layer_forward(f.rt, hp, &l, x, r.cal.seq_len, &att, work, acc_collector_tap, &c, NULL),
                         ACCLLM_OK);
    }
    for (uint32_t j = 0; j < c.kv_dim; j++)
        assert_true(fabs(c.key_sum[j] / (double)c.n_keys - (double)m->layers[0].k_mean[j]) < 1e-5);
    free(x);
    acc_collector_free(&c);
    acc_ref_work_free(&work);
    acc_ref_layer_free(&l);
    acc_calibration_free(&r.cal);
    accllm_tokenizer_free(&tok);
    r.src->close(r.src);
    acc_packed_free(&m);
    finish(&f);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    start(&f, &o);
    const accllm_compress_params good = f.p;
    f.p.weights = "f16";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_UNSUPPORTED);
    f.p.weights = "w3";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    f.p = good;
    f.p.head = "w2s";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    f.p = good;
    f.p.method = "magic";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    f.p = good;
    f.p.group = 48;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_UNSUPPORTED);
    f.p = good;
    f.p.page = 100;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    f.p = good;
    f.p.kv_bits = 5;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    f.p = good;
    f.p.calib_path = "/nonexistent";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_IO);
    f.p.calib_path = "/dev/null";
    assert_int_not_equal(compress(&f, NULL), ACCLLM_OK);
    f.p = good;
    f.p.struct_size = 0;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    f.p = good;
    assert_int_equal(accllm_compress(f.rt, f.src, f.src, &f.p, NULL, &f.err), ACCLLM_E_ARG); /* onto itself */
    assert_int_equal(accllm_compress(f.rt, f.src, "/nonexistent/x", &f.p, NULL, &f.err), ACCLLM_E_IO);
    assert_int_equal(accllm_compress(f.rt, f.src, "/tmp", &f.p, NULL, &f.err), ACCLLM_E_IO);
    assert_int_equal(accllm_compress(f.rt, "/nonexistent", f.out, &f.p, NULL, &f.err), ACCLLM_E_IO);
    accllm_runtime_abort(f.rt);
    assert_int_equal(compress(&f, NULL), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(f.rt);
    finish(&f);
}

static void biases_of_some_layers_are_refused_at_once(void **state)
{
    (void)state;
    for (int layer = 0; layer < 2; layer++) {
        tiny_options o = tiny_defaults();
        fixture f;
        o.biases = true;
        o.without = layer ? "blk.1.attn_k.bias" : "blk.0.attn_k.bias";
        start(&f, &o);
        assert_int_equal(compress(&f, NULL), ACCLLM_E_UNSUPPORTED);
        assert_non_null(strstr(f.err.text, "attn_k in layer 0 or 1 alone"));
        assert_int_equal(f.watch.calls, 0);
        finish(&f);
    }
}

/* Heads together wider than embedding and feed-forward part. */
static void wide_heads(void **state)
{
    (void)state;
    for (int obs = 0; obs < 2; obs++) {
        tiny_options o = tiny_defaults();
        fixture f;
        o.n_heads = 16;
        o.n_embd = 64;
        start(&f, &o);
        f.p.method = obs ? "obs" : "rtn";
        must_compress(&f, NULL);
        finish(&f);
    }
}

/* The report names it as well as JSON can. */
static void a_path_need_not_be_utf8(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    start(&f, &o);
    char *plain = f.out;
    const size_t size = strlen(plain) + 16;
    f.out = malloc(size);
    assert_non_null(f.out);
    (void)snprintf(f.out, size, "%s\u00e9\xe9.gguf", plain);
    f.p.method = "rtn";
    must_compress(&f, NULL);
    acc_file report;
    assert_int_equal(acc_file_open(&report, beside(&f, ".report.json"), false, NULL), ACCLLM_OK);
    assert_non_null(memmem(report.data, report.size, "out.gguf\u00e9?.gguf\"", 17));
    acc_file_close(&report);
    finish(&f);
    free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_and_method),
        cmocka_unit_test(lm_head_is_solved),
        cmocka_unit_test(key_means_are_of_rotated_keys),
        cmocka_unit_test(key_means_are_of_the_compressed_layer),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(biases_of_some_layers_are_refused_at_once),
        cmocka_unit_test(wide_heads),
        cmocka_unit_test(a_path_need_not_be_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
