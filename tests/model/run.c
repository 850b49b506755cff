#include "model/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "accllm/engine.h"

uint64_t run_model(const char *path, const run_options *o, const int32_t *ids, uint32_t n, float *out)
{
    accllm_error err = {0};
    accllm_runtime_params rp;
    accllm_runtime_params_init(&rp);
    rp.isa = o->isa;
    rp.n_threads = o->threads;
    accllm_runtime *rt;
    acc_packed *m;
    void *self;
    const acc_session_ops *ops;
    if (accllm_runtime_create(&rt, &rp, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (acc_packed_open(&m, path, true, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (acc_model_prepare(m, rt, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    accllm_session_params sp = {.struct_size = sizeof sp,
                                .sinks = o->sinks,
                                .window = o->window,
                                .kv_bits = o->bits,
                                .kv_near = o->near,
                                .chunk = o->chunk,
                                .trace = true};
    if (acc_quant_session_create(&self, &ops, m, rt, &sp, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (o->depth && ops->fill(self, o->depth, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    size_t row = m->hp.n_vocab;
    float *logits = calloc(o->chunk * row, sizeof *logits);
    assert_non_null(logits);
    for (uint32_t at = 0, len; at < n; at += len) {
        len = n - at < o->chunk ? n - at : o->chunk;
        if (o->first) len = at ? 1 : o->first;
        if (ops->step(self, ids + at, len, len, logits, &err) != ACCLLM_OK) fail_msg("%s", err.text);
        if (out) memcpy(out, logits + (len - 1) * row, row * sizeof *out);
    }
    assert_true(ops->position(self) == o->depth + n);
    uint64_t hash = ops->trace_hash(self);
    free(logits);
    ops->free(self);
    acc_model_release(m);
    acc_packed_free(&m);
    accllm_runtime_free(&rt);
    return hash;
}
