/* accllm_compress() interrupted, damaged, locked out or on a full disk: it resumes to the same bytes or says why not.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compress/work.h"
#include "fixture.h"

static void an_interrupted_run_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    tiny_options o = tiny_defaults();
    fixture f;
    accllm_compress_result r;
    o.n_layers = 3;
    start(&f, &o);
    f.p.weights = "w2s";
    f.p.head = "w4";
    must_compress(&f, NULL);
    const unsigned calls = f.watch.calls;
    acc_file want = read_output(&f);
    must_compress(&f, NULL);
    same_output(&f, &want);
    unsigned resumed = 0;
    for (unsigned stop = 1; stop < calls; stop += stop < 6 ? 1 : 5) {
        interrupt_and_resume(&f, stop, &want, &r);
        resumed |= 1u << r.resumed_layers;
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

static void flip_a_bit(const char *path)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 5000, SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_equal(fseek(file, 5000, SEEK_SET), 0);
    assert_int_not_equal(fputc(c ^ 1, file), EOF);
    assert_int_equal(fclose(file), 0);
}

/* lm_head stands in the work folder behind the layers: made once, and made again if it is damaged. */
static void a_finished_head_is_kept(void **state)
{
    (void)state;
    for (int damaged = 0; damaged < 2; damaged++) {
        tiny_options o = tiny_defaults();
        fixture f;
        o.tied = damaged;
        start(&f, &o);
        f.p.head = "w4";
        must_compress(&f, NULL);
        acc_file want = read_output(&f);
        f.watch.stop_in = "write";
        assert_int_equal(compress(&f, NULL), ACCLLM_E_CANCELLED);
        accllm_runtime_clear_abort(f.rt);
        f.watch.stop_in = NULL;
        if (damaged) flip_a_bit(beside(&f, ".work/layer-0002.bin"));
        f.p.resume = true;
        must_compress(&f, NULL);
        assert_int_equal(strstr(f.watch.notes, "lm_head is done again") != NULL, damaged);
        assert_int_equal(strstr(f.watch.notes, "lm_head: loss") != NULL, damaged);
        same_output(&f, &want);
        acc_file_close(&want);
        finish(&f);
    }
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
    flip_a_bit(beside(&f, ".work/layer-0000.bin"));
    must_compress(&f, &r);
    assert_int_equal(r.resumed_layers, 0);
    assert_non_null(strstr(f.watch.notes, "damaged"));
    same_output(&f, &want);
    interrupt(&f);
    FILE *file = fopen(beside(&f, ".work/config.json"), "wb");
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

/* The files of the work folder alone: each is taken only where it belongs. */
static void what_is_of_another_run_is_not_taken(void **state)
{
    (void)state;
    static _Alignas(64) const uint8_t blob[100] = {1, 2, 3};
    const float vectors[3] = {4, 5, 6};
    const uint8_t mix[4] = {0, 4, 2, 1};
    char folder[] = "/tmp/acc-work-XXXXXX", zero[64], one[64], path[64];
    uint8_t got[5];
    float hidden[4] = {0};
    assert_non_null(mkdtemp(folder));
    (void)snprintf(zero, sizeof zero, "%s/layer-0000.bin", folder);
    (void)snprintf(one, sizeof one, "%s/layer-0001.bin", folder);
    acc_work w = {.dir = folder, .lock = -1, .config_hash = 7};
    acc_layer_data d = {.vectors = vectors, .n_vectors = 3, .step = 9};
    for (int i = 0; i < ACC_N_LINEAR; i++) d.blob[i] = blob, d.bytes[i] = sizeof blob;
    acc_layer_data in = d, other = d;
    other.bytes[3]--;
    assert_int_equal(acc_work_save_layer(&w, ACC_WORK_SOLVED, 1, &d, NULL), ACCLLM_OK);
    assert_int_equal(acc_work_load_layer(&w, ACC_WORK_SOLVED, 1, &in, NULL), ACCLLM_OK);
    assert_int_equal(in.step, 9);
    assert_memory_equal(in.blob[6], blob, sizeof blob);
    assert_memory_equal(in.vectors, vectors, sizeof vectors);
    acc_layer_data_close(&in);
    assert_int_equal(acc_work_load_layer(&w, ACC_WORK_SOLVED, 1, &other, NULL), ACCLLM_E_FORMAT);
    assert_int_equal(acc_work_save_mix(&w, mix, 4, NULL), ACCLLM_OK);
    assert_true(acc_work_load_mix(&w, got, 4, 5));
    assert_memory_equal(got, mix, sizeof mix);
    assert_false(acc_work_load_mix(&w, got, 3, 5) || acc_work_load_mix(&w, got, 5, 5));
    assert_false(acc_work_load_mix(&w, got, 4, 4)); /* an option that is none */
    assert_int_equal(acc_work_save_hidden(&w, 2, vectors, 3, NULL), ACCLLM_OK);
    assert_int_equal(acc_work_load_hidden(&w, hidden, 4), 0);
    assert_int_equal(acc_work_load_hidden(&w, hidden, 3), 2);
    assert_memory_equal(hidden, vectors, sizeof vectors);
    w.config_hash = 8;
    assert_int_equal(acc_work_load_layer(&w, ACC_WORK_SOLVED, 1, &in, NULL), ACCLLM_E_FORMAT);
    assert_int_equal(acc_work_load_hidden(&w, hidden, 3), 0);
    w.config_hash = 7;
    assert_int_equal(rename(one, zero), 0);
    assert_int_equal(acc_work_load_layer(&w, ACC_WORK_SOLVED, 0, &in, NULL), ACCLLM_E_FORMAT);
    static const char *const left[] = {"layer-0000.bin", "mix.json", "hidden.bin"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, left[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
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
    for (int i = 0; i < 3; i++) { /* too small for a layer; enough for layers, too small for the output */
        limit = was;
        limit.rlim_cur = i == 0 ? 4096 : i == 1 ? (rlim_t)want.size - 1000 : (rlim_t)want.size * 2 / 3;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        accllm_status s = compress(&f, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
        assert_int_equal(s, ACCLLM_E_IO);
        assert_non_null(strstr(f.err.text, "cannot write"));
        assert_false(exists(f.out));
        assert_false(exists(beside(&f, ".part")));
        assert_int_equal(exists(beside(&f, ".work")), i > 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interrupted_run_resumes_to_the_same_bytes),
        cmocka_unit_test(resume_refuses_another_configuration),
        cmocka_unit_test(a_finished_head_is_kept),
        cmocka_unit_test(damage_in_the_work_folder_is_found),
        cmocka_unit_test(what_is_of_another_run_is_not_taken),
        cmocka_unit_test(one_process_per_output),
        cmocka_unit_test(a_full_disk_is_an_error_and_can_be_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
