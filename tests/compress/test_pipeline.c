/* accllm_compress() on tiny random checkpoints: formats, what the packed file holds, resume, refusals. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/compress.h"
#include "core/file.h"
#include "core/runtime.h"
#include "model/packed.h"
#include "support/tiny.h"

/* Stops a run after a number of progress calls. */
typedef struct watcher {
    accllm_runtime *rt;
    unsigned calls, stop_at; /* 0: never */
    double last;
    bool fell; /* progress went back */
    char notes[4096];
} watcher;

static void on_progress(void *user, const accllm_progress *p)
{
    watcher *w = user;
    w->fell |= p->fraction < w->last || p->fraction > 1;
    w->last = p->fraction;
    if (++w->calls == w->stop_at) accllm_runtime_abort(w->rt);
}

static void on_note(void *user, const char *line)
{
    watcher *w = user;
    size_t n = strlen(w->notes);
    (void)snprintf(w->notes + n, sizeof w->notes - n, "%s\n", line);
}

typedef struct fixture {
    char *src, *out;
    char extra[4096]; /* OUT with a suffix */
    accllm_runtime *rt;
    watcher watch;
    accllm_compress_params p;
    accllm_error err;
} fixture;

static accllm_runtime *runtime_of(uint32_t threads)
{
    accllm_runtime_params rp;
    accllm_runtime *rt;
    accllm_runtime_params_init(&rp);
    rp.n_threads = threads;
    assert_int_equal(accllm_runtime_create(&rt, &rp, NULL), ACCLLM_OK);
    return rt;
}

static void start(fixture *f, const tiny_options *o)
{
    *f = (fixture){.src = tiny_path("src.gguf"), .out = tiny_path("out.gguf"), .rt = runtime_of(2)};
    f->watch.rt = f->rt;
    accllm_compress_params_init(&f->p);
    f->p.calib_tokens = 600;
    f->p.progress = on_progress;
    f->p.note = on_note;
    f->p.user = &f->watch;
    assert_int_equal(tiny_write(f->src, o, &f->err), ACCLLM_OK);
}

static const char *beside(fixture *f, const char *suffix)
{
    (void)snprintf(f->extra, sizeof f->extra, "%s%s", f->out, suffix);
    return f->extra;
}

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static accllm_status compress(fixture *f, accllm_compress_result *r)
{
    f->watch.calls = 0;
    f->watch.last = 0;
    f->watch.notes[0] = 0;
    return accllm_compress(f->rt, f->src, f->out, &f->p, r, &f->err);
}

static void must_compress(fixture *f, accllm_compress_result *r)
{
    if (compress(f, r) != ACCLLM_OK) fail_msg("%s", f->err.text);
}

static void finish(fixture *f)
{
    (void)unlink(f->src);
    (void)unlink(f->out);
    (void)unlink(beside(f, ".report.json"));
    assert_false(exists(beside(f, ".work")));
    assert_false(exists(beside(f, ".part")));
    accllm_runtime_free(&f->rt);
    free(f->src);
    free(f->out);
}

static acc_file read_output(const fixture *f)
{
    acc_file file;
    assert_int_equal(acc_file_open(&file, f->out, false, NULL), ACCLLM_OK);
    return file;
}

static void same_output(const fixture *f, const acc_file *want)
{
    acc_file got = read_output(f);
    assert_int_equal(got.size, want->size);
    assert_memory_equal(got.data, want->data, want->size);
    acc_file_close(&got);
}

/* Mean squared difference of two sources' rows of one matrix over the mean square, each multiplied by the norm that
 * stands before it (norm: ACC_T_COUNT: none). The compressor moves scales between norms and columns. */
static double relative_error(const acc_source *a, const acc_source *b, acc_tensor_id id, acc_tensor_id norm,
                             uint32_t layer)
{
    uint64_t rows, cols;
    double diff = 0, square = 0;
    acc_tensor_shape(&a->hp, id, &rows, &cols);
    float *x = calloc(4 * cols, sizeof *x), *y = x + cols, *gx = y + cols, *gy = gx + cols;
    for (uint64_t j = 0; j < cols; j++) gx[j] = gy[j] = 1;
    if (norm != ACC_T_COUNT) {
        assert_int_equal(a->read_rows(a, norm, layer, 0, 1, gx, NULL), ACCLLM_OK);
        assert_int_equal(b->read_rows(b, norm, layer, 0, 1, gy, NULL), ACCLLM_OK);
    }
    for (uint64_t r = 0; r < rows; r++) {
        assert_int_equal(a->read_rows(a, id, layer, r, 1, x, NULL), ACCLLM_OK);
        assert_int_equal(b->read_rows(b, id, layer, r, 1, y, NULL), ACCLLM_OK);
        for (uint64_t j = 0; j < cols; j++) {
            double e = (double)x[j] * (double)gx[j] - (double)y[j] * (double)gy[j];
            diff += e * e;
            square += (double)x[j] * (double)gx[j] * (double)x[j] * (double)gx[j];
        }
    }
    free(x);
    return diff / square;
}

/* Opens the output with every check and compares its weights with the source's: those of its matrices that the
 * smoothing of rows (q, k, up) and of columns of down leaves in place. */
static void check_output(fixture *f, double linear_error, double head_error)
{
    acc_packed *m;
    acc_source *a, *b;
    if (acc_packed_open(&m, f->out, true, true, &f->err) != ACCLLM_OK) fail_msg("%s", f->err.text);
    assert_int_equal(acc_checkpoint_open(&a, f->src, true, &f->err), ACCLLM_OK);
    assert_int_equal(acc_packed_source(&b, m, &f->err), ACCLLM_OK);
    for (uint32_t layer = 0; layer < a->hp.n_layers; layer++) {
        assert_true(relative_error(a, b, ACC_T_ATTN_V, ACC_T_ATTN_NORM, layer) < linear_error);
        assert_true(relative_error(a, b, ACC_T_ATTN_OUT, ACC_T_COUNT, layer) < linear_error);
        assert_true(relative_error(a, b, ACC_T_FFN_GATE, ACC_T_FFN_NORM, layer) < linear_error);
        if (a->has(a, ACC_T_ATTN_V_BIAS, layer))
            assert_true(relative_error(a, b, ACC_T_ATTN_V_BIAS, ACC_T_COUNT, layer) == 0);
        assert_non_null(m->layers[layer].k_mean);
    }
    assert_true(relative_error(a, b, ACC_T_TOKEN_EMBD, ACC_T_COUNT, 0) < head_error);
    if (!a->hp.tied) assert_true(relative_error(a, b, ACC_T_OUTPUT, ACC_T_COUNT, 0) < head_error);
    b->close(b);
    a->close(a);
    acc_packed_free(&m);
}

static void every_format_and_method(void **state)
{
    (void)state;
    static const struct {
        const char *weights, *method, *head;
        double linear, head_error;
    } cases[] = {{"w2s", "obs", "w8", 0.5, 1e-3}, {"w2s", "rtn", "w4", 0.3, 0.02}, {"w4", NULL, NULL, 0.03, 1e-3},
                 {"w4", "rtn", "w4", 0.02, 0.02}, {"w8", "obs", "w8", 1e-3, 1e-3}, {"w8", "rtn", "w8", 1e-3, 1e-3}};
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
        assert_true(r.file_bytes > 0);
        assert_int_equal(r.resumed_layers, 0);
        assert_true(f.watch.last == 1 && !f.watch.fell);
        assert_non_null(strstr(f.watch.notes, "memory: about"));
        if (i < 2) assert_non_null(strstr(f.watch.notes, "not give usable text"));
        assert_true(exists(beside(&f, ".report.json")));
        check_output(&f, cases[i].linear, cases[i].head_error);
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

static void an_interrupted_run_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    accllm_compress_result r;
    o.n_layers = 3;
    start(&f, &o);
    f.p.weights = "w2s";
    must_compress(&f, NULL);
    const unsigned calls = f.watch.calls;
    acc_file want = read_output(&f);
    must_compress(&f, NULL);
    same_output(&f, &want);
    unsigned resumed = 0;
    for (unsigned stop = 1; stop < calls; stop += stop < 6 ? 1 : 5) {
        assert_int_equal(unlink(f.out), 0);
        f.p.resume = false;
        f.watch.stop_at = stop;
        assert_int_equal(compress(&f, NULL), ACCLLM_E_CANCELLED);
        assert_false(exists(f.out));
        accllm_runtime_clear_abort(f.rt);
        f.watch.stop_at = 0;
        f.p.resume = true;
        must_compress(&f, &r);
        assert_true(!f.watch.fell);
        resumed |= 1u << r.resumed_layers;
        same_output(&f, &want);
    }
    assert_int_equal(resumed, 15); /* stopped with 0, 1, 2 and 3 layers done */
    /* Another number of threads: the same bytes. */
    accllm_runtime *other = runtime_of(3);
    f.p.resume = false;
    assert_int_equal(accllm_compress(other, f.src, f.out, &f.p, NULL, &f.err), ACCLLM_OK);
    accllm_runtime_free(&other);
    same_output(&f, &want);
    acc_file_close(&want);
    finish(&f);
}

/* Leaves a work folder with one or two finished layers. */
static void interrupt(fixture *f)
{
    f->p.resume = false;
    f->watch.stop_at = 0;
    must_compress(f, NULL);
    f->watch.stop_at = f->watch.calls * 2 / 3;
    assert_int_equal(compress(f, NULL), ACCLLM_E_CANCELLED);
    accllm_runtime_clear_abort(f->rt);
    f->watch.stop_at = 0;
    assert_true(exists(beside(f, ".work/layer-0000.bin")));
    f->p.resume = true;
}

static void resume_refuses_another_configuration(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    start(&f, &o);
    interrupt(&f);
    f.p.weights = "w2s";
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "weights was w4, now w2s"));
    f.p.weights = NULL;
    f.p.calib_tokens = 1200;
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "calibration"));
    f.p.calib_tokens = 600;
    o.seed = 2;
    assert_int_equal(tiny_write(f.src, &o, NULL), ACCLLM_OK);
    assert_int_equal(compress(&f, NULL), ACCLLM_E_ARG);
    assert_non_null(strstr(f.err.text, "source was"));
    o.seed = 1;
    assert_int_equal(tiny_write(f.src, &o, NULL), ACCLLM_OK);
    accllm_compress_result r;
    must_compress(&f, &r);
    assert_true(r.resumed_layers > 0);
    finish(&f);
}

static void damage_in_the_work_folder_is_found(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    accllm_compress_result r;
    start(&f, &o);
    interrupt(&f);
    acc_file want = read_output(&f);
    FILE *file = fopen(beside(&f, ".work/layer-0000.bin"), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 5000, SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_equal(fseek(file, 5000, SEEK_SET), 0);
    assert_int_not_equal(fputc(c ^ 1, file), EOF);
    assert_int_equal(fclose(file), 0);
    must_compress(&f, &r);
    assert_int_equal(r.resumed_layers, 0);
    assert_non_null(strstr(f.watch.notes, "damaged"));
    same_output(&f, &want);
    interrupt(&f);
    file = fopen(beside(&f, ".work/config.json"), "wb");
    assert_non_null(file);
    (void)fputs("{]", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(compress(&f, NULL), ACCLLM_E_FORMAT);
    f.p.resume = false; /* without resume the folder is replaced */
    must_compress(&f, NULL);
    same_output(&f, &want);
    acc_file_close(&want);
    finish(&f);
}

static void one_process_per_output(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    start(&f, &o);
    assert_int_equal(mkdir(beside(&f, ".work"), 0777), 0);
    int fd = open(beside(&f, ".work/lock"), O_RDWR | O_CREAT, 0666);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(compress(&f, NULL), ACCLLM_E_LIMIT);
    assert_non_null(strstr(f.err.text, "another process"));
    assert_true(exists(beside(&f, ".work/lock")));
    assert_int_equal(close(fd), 0);
    must_compress(&f, NULL);
    finish(&f);
}

/* A file size limit stands for the full disk: every write beyond it fails. */
static void a_full_disk_is_an_error_and_can_be_resumed(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    struct rlimit was, limit;
    start(&f, &o);
    f.p.weights = "w8";
    must_compress(&f, NULL);
    acc_file want = read_output(&f);
    assert_int_equal(unlink(f.out), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < 2; i++) { /* too small for a layer; enough for layers, too small for the output */
        limit = was;
        limit.rlim_cur = i == 0 ? 4096 : (rlim_t)want.size - 1000;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        accllm_status s = compress(&f, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
        assert_int_equal(s, ACCLLM_E_IO);
        assert_non_null(strstr(f.err.text, "cannot write"));
        assert_false(exists(f.out));
        assert_false(exists(beside(&f, ".part")));
        assert_int_equal(exists(beside(&f, ".work")), i == 1);
    }
    (void)signal(SIGXFSZ, handler);
    f.p.resume = true;
    accllm_compress_result r;
    must_compress(&f, &r);
    assert_int_equal(r.resumed_layers, o.n_layers);
    same_output(&f, &want);
    acc_file_close(&want);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_and_method),
        cmocka_unit_test(key_means_are_of_rotated_keys),
        cmocka_unit_test(an_interrupted_run_resumes_to_the_same_bytes),
        cmocka_unit_test(resume_refuses_another_configuration),
        cmocka_unit_test(damage_in_the_work_folder_is_found),
        cmocka_unit_test(one_process_per_output),
        cmocka_unit_test(a_full_disk_is_an_error_and_can_be_resumed),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
