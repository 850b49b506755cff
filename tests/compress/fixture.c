#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_progress(void *user, const accllm_progress *p)
{
    watcher *w = user;
    w->fell |= p->fraction < w->last || p->fraction > 1;
    w->last = p->fraction;
    const bool there = w->stop_in && strstr(p->stage, w->stop_in);
    if (++w->calls == w->stop_at || there) accllm_runtime_abort(w->rt);
}

static void on_note(void *user, const char *line)
{
    watcher *w = user;
    size_t n = strlen(w->notes);
    (void)snprintf(w->notes + n, sizeof w->notes - n, "%s\n", line);
}

accllm_runtime *runtime_of(uint32_t threads)
{
    accllm_runtime_params rp;
    accllm_runtime *rt;
    accllm_runtime_params_init(&rp);
    rp.n_threads = threads;
    assert_int_equal(accllm_runtime_create(&rt, &rp, NULL), ACCLLM_OK);
    return rt;
}

void start(fixture *f, const tiny_options *o)
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

const char *beside(fixture *f, const char *suffix)
{
    (void)snprintf(f->extra, sizeof f->extra, "%s%s", f->out, suffix);
    return f->extra;
}

bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

accllm_status compress(fixture *f, accllm_compress_result *r)
{
    f->watch.calls = 0;
    f->watch.last = 0;
    f->watch.notes[0] = 0;
    return accllm_compress(f->rt, f->src, f->out, &f->p, r, &f->err);
}

void must_compress(fixture *f, accllm_compress_result *r)
{
    if (compress(f, r) != ACCLLM_OK) fail_msg("%s", f->err.text);
}

void finish(fixture *f)
{
    (void)unlink(f->src);
    (void)unlink(f->out);
    (void)unlink(beside(f, ".report.json"));
    (void)unlink(beside(f, ".report.html"));
    assert_false(exists(beside(f, ".work")));
    assert_false(exists(beside(f, ".part")));
    accllm_runtime_free(&f->rt);
    free(f->src);
    free(f->out);
}

acc_file read_output(const fixture *f)
{
    acc_file file;
    assert_int_equal(acc_file_open(&file, f->out, false, NULL), ACCLLM_OK);
    return file;
}

void same_output(const fixture *f, const acc_file *want)
{
    acc_file got = read_output(f);
    assert_int_equal(got.size, want->size);
    assert_memory_equal(got.data, want->data, want->size);
    acc_file_close(&got);
}

void interrupt_and_resume(fixture *f, unsigned stop_at, const acc_file *want, accllm_compress_result *r)
{
    assert_int_equal(unlink(f->out), 0);
    f->p.resume = false;
    f->watch.stop_at = stop_at;
    assert_int_equal(compress(f, NULL), ACCLLM_E_CANCELLED);
    assert_false(exists(f->out));
    accllm_runtime_clear_abort(f->rt);
    f->watch.stop_at = 0;
    f->p.resume = true;
    must_compress(f, r);
    assert_true(!f->watch.fell);
    same_output(f, want);
}
