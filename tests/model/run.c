#include "model/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/engine.h"
#include "core/hash.h"

#define MAX_COMPANY 4

typedef struct runner {
    accllm_runtime *rt;
    acc_packed *m;
    const acc_session_ops *ops;
    void *self, *others[MAX_COMPANY];
    acc_batch *b; /* with company */
    float *others_logits;
} runner;

static void *make_session(runner *r, const run_options *o, bool batch_only)
{
    accllm_session_params sp = {.struct_size = sizeof sp,
                                .sinks = o->sinks,
                                .window = o->window,
                                .kv_bits = o->bits,
                                .kv_near = o->near,
                                .chunk = o->chunk,
                                .trace = true,
                                .batch_only = batch_only};
    accllm_error err;
    void *self;
    if (acc_quant_session_create(&self, &r->ops, r->m, r->rt, &sp, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return self;
}

static void start(runner *r, const char *path, const run_options *o)
{
    accllm_error err = {0};
    accllm_runtime_params rp;
    accllm_runtime_params_init(&rp);
    rp.isa = o->isa;
    rp.n_threads = o->threads;
    if (accllm_runtime_create(&r->rt, &rp, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (acc_packed_open(&r->m, path, true, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (acc_model_prepare(r->m, r->rt, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    r->self = make_session(r, o, o->company > 0);
    if (o->depth && r->ops->fill(r->self, o->depth, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_true(o->company <= MAX_COMPANY);
    for (uint32_t i = 0; i < o->company; i++) r->others[i] = make_session(r, o, true);
    if (o->company && acc_batch_create(&r->b, r->m, r->rt, o->chunk + o->company, &err) != ACCLLM_OK)
        fail_msg("%s", err.text);
    r->others_logits = calloc(r->m->hp.n_vocab, sizeof *r->others_logits);
    assert_non_null(r->others_logits);
}

static void stop(runner *r)
{
    free(r->others_logits);
    acc_batch_free(&r->b);
    for (uint32_t i = 0; i < MAX_COMPANY; i++)
        if (r->others[i]) r->ops->free(r->others[i]);
    r->ops->free(r->self);
    acc_model_release(r->m);
    acc_packed_free(&r->m);
    accllm_runtime_free(&r->rt);
}

/* The session stands in the middle of its company, whose first member asks for logits too. */
static void step(runner *r, const run_options *o, const int32_t *ids, uint32_t n, float *logits)
{
    acc_step_item items[MAX_COMPANY + 1];
    accllm_error err = {0};
    accllm_status status;
    if (o->company == 0) {
        status = r->ops->step(r->self, ids, n, n, logits, &err);
    } else {
        for (uint32_t i = 0, other = 0; i <= o->company; i++) {
            const bool own = i == o->company / 2;
            items[i] = (acc_step_item){.session = own ? r->self : r->others[other],
                                       .ids = ids,
                                       .n = own ? n : 1,
                                       .n_logits = own ? n : other == 0,
                                       .logits = own ? logits : r->others_logits};
            other += !own;
        }
        status = acc_batch_step(r->b, items, o->company + 1, &err);
    }
    if (status != ACCLLM_OK) fail_msg("%s", err.text);
}

uint64_t run_model(const char *path, const run_options *o, const int32_t *ids, uint32_t n, float *out)
{
    runner r = {0};
    start(&r, path, o);
    size_t row = r.m->hp.n_vocab;
    float *logits = calloc(o->chunk * row, sizeof *logits);
    assert_non_null(logits);
    for (uint32_t at = 0, len; at < n; at += len) {
        len = n - at < o->chunk ? n - at : o->chunk;
        if (o->first) len = at ? 1 : o->first;
        step(&r, o, ids + at, len, logits);
        if (out) memcpy(out, logits + (len - 1) * row, row * sizeof *out);
    }
    assert_true(r.ops->position(r.self) == o->depth + n);
    uint64_t hash = r.ops->trace_hash(r.self);
    free(logits);
    stop(&r);
    return hash;
}

char *tiny_model(const tiny_options *t, const pack_options *p, int32_t *ids, uint32_t n)
{
    accllm_error err;
    char *path = tiny_path("model.gguf");
    assert_non_null(path);
    if (pack_tiny(path, t, p, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)(acc_random(7, i) % t->n_vocab);
    return path;
}

void drop_model(char *path)
{
    assert_int_equal(unlink(path), 0);
    free(path);
}
