/* Recovery training as a stage of the compressor: it lowers the divergence from the source, its result is what the
 * file holds, and an interruption anywhere changes no byte. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "model/packed.h"
#include "support/pack.h"

#define TOKENS 5120 /* enough for held-out sequences */

static void note_of(const fixture *f, double *before, double *after)
{
    const char *at = strstr(f->watch.notes, "held-out text ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "held-out text %lf before, %lf at", before, after), 2);
}

static void recovery_lowers_the_divergence(void **state)
{
    (void)state;
    static const char *const formats[] = {"w2s", "w4", "w2"}, *const heads[] = {"w4", "w4", NULL};
    for (int i = 0; i < 3; i++) {
        tiny_options o = tiny_defaults();
        o.n_ctx = 64;
        fixture f;
        double before, after;
        o.tied = i == 0;
        o.biases = i == 1;
        start(&f, &o);
        f.p.weights = formats[i];
        f.p.head = heads[i];
        f.p.group = i == 1 ? 128 : 0; /* W4's own leave little to recover */
        f.p.method = "rtn";
        f.p.recover_tokens = TOKENS;
        f.p.recover_rate = 0.02; /* few steps */
        must_compress(&f, NULL);
        assert_false(f.watch.fell);
        assert_non_null(strstr(f.watch.notes, "recovery: 5120 tokens"));
        note_of(&f, &before, &after);
        assert_true(after < 0.85 * before);
        acc_file page;
        assert_int_equal(acc_file_open(&page, beside(&f, ".report.html"), false, NULL), ACCLLM_OK);
        assert_non_null(memmem(page.data, page.size, "<h2>Recovery</h2>", 17));
        assert_non_null(memmem(page.data, page.size, "blk.1.ffn_down", 14));
        acc_file_close(&page);
        acc_packed *m;
        assert_int_equal(acc_packed_open(&m, f.out, true, true, NULL), ACCLLM_OK);
        acc_packed_free(&m);
        finish(&f);
    }
}

static void an_interrupted_recovery_ends_in_the_same_bytes(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    o.n_ctx = 64;
    fixture f;
    start(&f, &o);
    f.p.weights = "w2s";
    f.p.method = "rtn";
    f.p.recover_tokens = TOKENS;
    must_compress(&f, NULL);
    const unsigned calls = f.watch.calls;
    acc_file want = read_output(&f);
    assert_int_equal(unlink(f.out), 0);
    /* Several interruptions of one run, in the training and in the passes before and after it. */
    f.p.resume = false;
    for (unsigned stop = 3; stop < calls; stop += calls / 6) {
        f.watch.stop_at = stop;
        const accllm_status s = compress(&f, NULL);
        accllm_runtime_clear_abort(f.rt);
        if (s == ACCLLM_OK) break;
        assert_int_equal(s, ACCLLM_E_CANCELLED);
        assert_false(exists(f.out));
        f.p.resume = true;
    }
    f.watch.stop_at = 0;
    must_compress(&f, NULL);
    same_output(&f, &want);
    acc_file_close(&want);
    finish(&f);
}

/* A head of another format is made of the file's own, and made once. */
static void another_head(fixture *f, double divergence)
{
    double before, after;
    acc_packed *m;
    f->p.head = "w4";
    f->p.resume = false;
    accllm_compress_result r;
    must_compress(f, &r);
    assert_int_equal(r.resumed_layers, 0);
    assert_non_null(strstr(f->watch.notes, "lm_head: loss"));
    const unsigned calls = f->watch.calls;
    note_of(f, &before, &after);
    assert_true(before < divergence * 1.2 + 1e-3 && after <= before);
    assert_int_equal(acc_packed_open(&m, f->out, true, true, NULL), ACCLLM_OK);
    assert_int_equal(m->output.format, ACC_FMT_W4);
    assert_int_equal(m->layers[0].q.format, ACC_FMT_W2S);
    acc_packed_free(&m);
    acc_file want = read_output(f);
    for (unsigned i = 4; i < 7; i++) interrupt_and_resume(f, calls * i / 10, &want, NULL);
    acc_file_close(&want);
    f->p.head = NULL;
}

/* The file of one run is where the next one begins: held-out loss goes on from where it was. */
static void a_run_goes_on_from_a_packed_file(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        tiny_options o = tiny_defaults();
        fixture f;
        double before, after, again, best;
        o.n_ctx = 64;
        o.tied = i == 0;
        o.biases = i == 1;
        start(&f, &o);
        f.p.weights = "w2s";
        f.p.method = "rtn";
        f.p.recover_tokens = TOKENS;
        f.p.recover_rate = 0.02;
        f.p.recover_length = i == 1 ? 32 : 0;
        must_compress(&f, NULL);
        note_of(&f, &before, &after);
        char *first = strdup(beside(&f, ".first"));
        assert_non_null(first);
        assert_int_equal(rename(f.out, first), 0);
        f.p.start_path = first;
        assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG); /* the formats are the file's */
        f.p.weights = f.p.method = NULL;
        must_compress(&f, NULL);
        note_of(&f, &again, &best);
        assert_true(again < after * 1.02 + 1e-3 && again > after * 0.98 - 1e-3);
        assert_true(best < again);
        acc_file want = read_output(&f);
        interrupt_and_resume(&f, f.watch.calls / 2, &want, NULL);
        acc_file_close(&want);
        another_head(&f, after);
        assert_int_equal(unlink(first), 0);
        free(first);
        finish(&f);
    }
}

static char *write_text(fixture *f, const char *suffix, const char *first, int lines)
{
    char *path = strdup(beside(f, suffix));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs(first, file);
    for (int i = 0; i < lines; i++) (void)fprintf(file, "%d ships went %d miles to the %d islands.\n", i, i * 7, i % 9);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Training reads the whole text, not only the calibration's sample of it. */
static void another_text_is_another_run(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    o.n_ctx = 64;
    start(&f, &o);
    char *text = write_text(&f, ".txt", "One beginning. ", 400);
    f.p.calib_path = text;
    f.p.calib_tokens = 64;
    f.p.method = "rtn";
    f.p.recover_tokens = TOKENS;
    must_compress(&f, NULL);
    f.watch.stop_at = f.watch.calls / 2;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(f.rt);
    f.watch.stop_at = 0;
    f.p.resume = true;
    FILE *more = fopen(text, "a");
    assert_non_null(more);
    (void)fputs("And one ship more, of which nobody had heard before.\n", more);
    assert_int_equal(fclose(more), 0);
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "recovery text"));
    f.p.resume = false;
    must_compress(&f, NULL);
    assert_int_equal(unlink(text), 0);
    free(text);
    finish(&f);
}

static void stop_in(fixture *f, const char *stage)
{
    f->watch.stop_in = stage;
    assert_int_equal(compress(f, NULL), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(f->rt);
    f->watch.stop_in = NULL;
    f->p.resume = true;
}

/* What the solver did before it was interrupted need not be done again. */
static void recovery_may_be_added_by_resuming(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    accllm_compress_result r;
    o.n_ctx = 64;
    start(&f, &o);
    f.p.method = "rtn";
    stop_in(&f, "layer 2/2");
    f.p.recover_tokens = TOKENS;
    must_compress(&f, &r);
    assert_int_equal(r.resumed_layers, 1);
    assert_non_null(strstr(f.watch.notes, "held-out text"));
    finish(&f);
}

static bool file_has(const char *path, const char *text)
{
    acc_file file;
    assert_int_equal(acc_file_open(&file, path, false, NULL), ACCLLM_OK);
    const bool has = memmem(file.data, file.size, text, strlen(text)) != NULL;
    acc_file_close(&file);
    return has;
}

static void a_text_too_short_to_hold_out_is_not_judged(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    o.n_ctx = 64;
    start(&f, &o);
    char *text = write_text(&f, ".txt", "One beginning. ", 40);
    f.p.calib_path = text;
    f.p.method = "rtn";
    f.p.recover_tokens = 1024;
    f.watch.stop_in = "held-out"; /* no stage says it */
    must_compress(&f, NULL);
    assert_non_null(strstr(f.watch.notes, "too short to hold any of it out"));
    assert_true(file_has(beside(&f, ".report.json"), "\"divergence\""));
    assert_false(file_has(beside(&f, ".report.json"), "\"best_step\""));
    assert_false(file_has(beside(&f, ".report.json"), "\"before\""));
    assert_true(file_has(beside(&f, ".report.html"), "<h2>Recovery</h2>"));
    assert_false(file_has(beside(&f, ".report.html"), "held-out"));
    assert_false(file_has(beside(&f, ".report.html"), "lowest divergence"));
    assert_int_equal(unlink(text), 0);
    free(text);
    finish(&f);
}

static float *head_rows(const char *path, size_t *n)
{
    acc_packed *m;
    assert_int_equal(acc_packed_open(&m, path, true, true, NULL), ACCLLM_OK);
    assert_int_equal(m->output.format, ACC_FMT_W4);
    *n = (size_t)m->output.rows * m->output.cols;
    float *x = malloc(*n * sizeof *x);
    assert_non_null(x);
    for (uint32_t i = 0; i < m->output.rows; i++) acc_weight_dequant_row(&m->output, i, x + (size_t)i * m->output.cols);
    acc_packed_free(&m);
    return x;
}

/* Training starts from weights between the solver's codes, but from these codes. */
static void training_starts_at_the_solvers_head(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        tiny_options o = tiny_defaults();
        fixture f;
        size_t n;
        o.n_ctx = 64;
        o.tied = tied;
        start(&f, &o);
        f.p.head = "w4";
        must_compress(&f, NULL);
        float *want = head_rows(f.out, &n), most = 0;
        f.p.recover_tokens = TOKENS;
        f.p.recover_rate = 1e-9; /* moves nothing */
        must_compress(&f, NULL);
        float *got = head_rows(f.out, &n);
        for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(want[i]));
        for (size_t i = 0; i < n; i++) assert_true(fabsf(want[i] - got[i]) <= 0.01f * most); /* no step */
        free(want);
        free(got);
        finish(&f);
    }
}

/* A kill while the best so far is saved leaves layers of two steps. */
static void layers_of_two_steps_are_refused(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    o.n_ctx = 64;
    start(&f, &o);
    f.p.weights = "w2s";
    f.p.method = "rtn";
    f.p.recover_tokens = TOKENS;
    f.p.recover_rate = 0.02;
    stop_in(&f, "recover: step 1/");
    char *early = strdup(beside(&f, ".early")), *layer = strdup(beside(&f, ".work/tuned-0000.bin"));
    assert_true(early && layer);
    assert_int_equal(link(layer, early), 0); /* a saved file is a new one */
    stop_in(&f, "key means");
    assert_int_equal(rename(early, layer), 0);
    assert_int_equal(compress(&f, NULL), ACCLLM_E_FORMAT);
    assert_non_null(strstr(f.err.text, "recovery: layer 0 is of step"));
    f.p.resume = false;
    must_compress(&f, NULL);
    free(early);
    free(layer);
    finish(&f);
}

/* The format and groups of embedding and lm_head are the file's too. */
static void a_start_gives_its_heads_format(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    pack_options packing = pack_defaults(ACC_FMT_W4);
    fixture f;
    o.n_ctx = 64;
    start(&f, &o);
    char *first = strdup(beside(&f, ".first"));
    packing.head = ACC_FMT_W4;
    packing.group = 64;
    assert_int_equal(pack_model(f.src, first, &packing, &f.err), ACCLLM_OK);
    f.p.start_path = first;
    f.p.recover_tokens = TOKENS;
    must_compress(&f, NULL);
    acc_packed *m;
    assert_int_equal(acc_packed_open(&m, f.out, true, true, NULL), ACCLLM_OK);
    assert_int_equal(m->embd.format, ACC_FMT_W4);
    assert_int_equal(m->embd.group, 64);
    acc_packed_free(&m);
    assert_int_equal(unlink(first), 0);
    free(first);
    finish(&f);
}

static void too_little_text_is_refused(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    o.n_ctx = 64;
    fixture f;
    start(&f, &o);
    FILE *file = fopen(beside(&f, ".txt"), "w");
    assert_non_null(file);
    (void)fputs("a few words only", file);
    assert_int_equal(fclose(file), 0);
    char *path = strdup(beside(&f, ".txt"));
    f.p.calib_path = path;
    f.p.recover_tokens = 1000;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "recovery: the calibration text has"));
    f.p.recover_length = 31;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "recovery: sequences of 31 tokens"));
    f.p.recover_length = 0;
    f.p.recover_rate = -1;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "at a rate of -1"));
    assert_int_equal(unlink(path), 0);
    free(path);
    f.p.resume = false;
    f.p.recover_rate = 0;
    f.p.recover_tokens = 0;
    f.p.calib_path = NULL;
    must_compress(&f, NULL);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovery_lowers_the_divergence),
        cmocka_unit_test(an_interrupted_recovery_ends_in_the_same_bytes),
        cmocka_unit_test(a_run_goes_on_from_a_packed_file),
        cmocka_unit_test(another_text_is_another_run),
        cmocka_unit_test(recovery_may_be_added_by_resuming),
        cmocka_unit_test(a_text_too_short_to_hold_out_is_not_judged),
        cmocka_unit_test(training_starts_at_the_solvers_head),
        cmocka_unit_test(layers_of_two_steps_are_refused),
        cmocka_unit_test(a_start_gives_its_heads_format),
        cmocka_unit_test(too_little_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
