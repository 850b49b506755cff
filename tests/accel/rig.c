#include "accel/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "accel/device_model.h"

static uint64_t queue_seed;

static accllm_status open_seeded(acc_device *d, const acc_image_header *h, accllm_runtime *rt, accllm_error *err)
{
    const acc_image_region *last = &h->region[ACC_REGION_LOGITS];
    return acc_device_model_open(d, h->channels, last->line + last->lines, queue_seed % 2 ? rt->pool : NULL, queue_seed,
                                 err);
}

uint64_t accel_run(const char *path, const run_options *o, uint32_t channels, uint64_t seed, const int32_t *ids,
                   uint32_t n, float *out)
{
    accllm_error err = {0};
    accllm_runtime_params rp;
    accllm_runtime_params_init(&rp);
    rp.n_threads = 2;
    accllm_runtime *rt;
    acc_packed *m;
    void *self;
    const acc_session_ops *ops;
    queue_seed = seed;
    if (accllm_runtime_create(&rt, &rp, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (acc_packed_open(&m, path, true, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    accllm_session_params sp = {.struct_size = sizeof sp,
                                .sinks = o->sinks,
                                .window = o->window,
                                .kv_bits = o->bits,
                                .kv_near = o->near,
                                .trace = true};
    if (acc_accel_session_create(&self, &ops, m, rt, &sp, channels, open_seeded, &err) != ACCLLM_OK)
        fail_msg("%s", err.text);
    if (o->depth && ops->fill(self, o->depth, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    const size_t row = m->hp.n_vocab;
    float *logits = calloc(n * row, sizeof *logits);
    assert_non_null(logits);
    if (ops->step(self, ids, n, n, logits, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    if (out) memcpy(out, logits + (n - 1) * row, row * sizeof *out);
    assert_true(ops->position(self) == o->depth + n);
    const uint64_t hash = ops->trace_hash(self);
    free(logits);
    ops->free(self);
    acc_packed_free(&m);
    accllm_runtime_free(&rt);
    return hash;
}
