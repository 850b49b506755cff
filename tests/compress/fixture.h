/* accllm_compress() on a tiny random checkpoint, for the tests of the pipeline and of its resumption. */
#ifndef ACC_TESTS_COMPRESS_FIXTURE_H
#define ACC_TESTS_COMPRESS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "accllm/compress.h"
#include "core/file.h"
#include "support/tiny.h"

/* Stops a run after a number of progress calls, or in a stage. */
typedef struct watcher {
    accllm_runtime *rt;
    unsigned calls, stop_at; /* 0: never */
    const char *stop_in;     /* part of the stage's name; NULL: in none */
    double last;
    bool fell; /* progress went back */
    char notes[4096];
} watcher;

typedef struct fixture {
    char *src, *out;
    char extra[4096]; /* OUT with a suffix */
    accllm_runtime *rt;
    watcher watch;
    accllm_compress_params p;
    accllm_error err;
} fixture;

accllm_runtime *runtime_of(uint32_t threads);
/* Writes the checkpoint; 600 calibration tokens, two threads. */
void start(fixture *f, const tiny_options *o);
/* Removes the files and fails if a run left others behind. */
void finish(fixture *f);
accllm_status compress(fixture *f, accllm_compress_result *r);
void must_compress(fixture *f, accllm_compress_result *r);
const char *beside(fixture *f, const char *suffix); /* the output's path with a suffix, valid until the next call */
bool exists(const char *path);
/* A fresh run that is stopped after some progress calls leaves no output; resumed, it ends in the wanted bytes. */
void interrupt_and_resume(fixture *f, unsigned stop_at, const acc_file *want, accllm_compress_result *r);
acc_file read_output(const fixture *f);
void same_output(const fixture *f, const acc_file *want);

#endif
