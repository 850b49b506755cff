#include "model/batch_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

void ok(accllm_status status, const accllm_error *err)
{
    if (status != ACCLLM_OK) fail_msg("%s", err->text);
}

void rig_open(rig *r, acc_format format, const char *isa, uint32_t threads)
{
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(format);
    accllm_runtime_params rp;
    accllm_error err;
    p.k_mean = true;
    p.q_direction = true;
    p.embd_scale = true;
    t.n_heads = 6;
    t.n_embd = 128;
    r->path = tiny_path("batch.gguf");
    assert_non_null(r->path);
    ok(pack_tiny(r->path, &t, &p, &err), &err);
    accllm_runtime_params_init(&rp);
    rp.isa = isa;
    rp.n_threads = threads;
    ok(accllm_runtime_create(&r->rt, &rp, &err), &err);
    ok(accllm_model_open(&r->m, r->rt, r->path, NULL, &err), &err);
}

void rig_close(rig *r)
{
    accllm_model_free(&r->m);
    accllm_runtime_free(&r->rt);
    assert_int_equal(unlink(r->path), 0);
    free(r->path);
}

accllm_session *make_session(const rig *r, const accllm_session_params *p)
{
    accllm_session *s;
    accllm_error err;
    ok(accllm_session_create(&s, r->m, p, &err), &err);
    return s;
}

accllm_batch *make_batch(const rig *r, uint32_t sessions, uint32_t tokens, uint32_t logits)
{
    accllm_batch *b;
    accllm_batch_params p;
    accllm_error err;
    accllm_batch_params_init(&p);
    p.max_sessions = sessions;
    p.max_tokens = tokens;
    p.max_logits = logits;
    ok(accllm_batch_create(&b, r->m, &p, &err), &err);
    return b;
}

accllm_session_params plain(void)
{
    accllm_session_params p;
    accllm_session_params_init(&p);
    p.trace = true;
    return p;
}

void expect(const accllm_batch_item *item, accllm_status status)
{
    assert_int_equal(item->status, status);
    if (status != ACCLLM_OK) assert_null(item->logits);
}
