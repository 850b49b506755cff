/* The scheduler without a connection: which session is lent, and that one that is lent is waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/hash.h"
#include "serve/scheduler.h"
#include "serve/slot.h"
#include "support/pack.h"

enum { LONGEST = 64, VOCAB = 300 };

typedef struct rig {
    accllm_runtime *rt;
    accllm_model *m;
    accllm_session_params sp;
    acc_scheduler *s;
    acc_box box;
} rig;

static void nothing(void *user)
{
    (void)user;
}

static void rig_open(rig *r, uint32_t slots)
{
    accllm_runtime_params rp;
    const tiny_options t = tiny_defaults();
    const pack_options o = pack_defaults(ACC_FMT_W4);
    char *path = tiny_path("scheduler.gguf");
    *r = (rig){0};
    accllm_runtime_params_init(&rp);
    rp.n_threads = 1;
    assert_int_equal(pack_tiny(path, &t, &o, NULL), ACCLLM_OK);
    assert_int_equal(accllm_runtime_create(&r->rt, &rp, NULL), ACCLLM_OK);
    assert_int_equal(accllm_model_open(&r->m, r->rt, path, NULL, NULL), ACCLLM_OK);
    assert_int_equal(unlink(path), 0);
    free(path);
    accllm_session_params_init(&r->sp);
    r->sp.batch_only = true;
    const acc_scheduler_params p = {.rt = r->rt,
                                    .model = r->m,
                                    .session = &r->sp,
                                    .slots = slots,
                                    .queue = 4,
                                    .longest = LONGEST,
                                    .notify = nothing,
                                    .left = nothing};
    assert_int_equal(acc_scheduler_create(&r->s, &p, NULL), ACCLLM_OK);
    assert_int_equal(acc_box_init(&r->box, acc_box_text_bytes(LONGEST), NULL), ACCLLM_OK);
}

static void rig_close(rig *r)
{
    acc_scheduler_free(&r->s);
    acc_box_free(&r->box);
    accllm_model_free(&r->m);
    accllm_runtime_free(&r->rt);
}

/* A request for two tokens. */
typedef struct request {
    acc_settings settings;
    int32_t ids[40];
    acc_sequence seq;
    acc_ticket ticket;
} request;

static void ask(rig *r, request *q, uint64_t text)
{
    *q = (request){.settings = {.max_tokens = 2, .ignore_eos = true}};
    accllm_sampler_params_init(&q->settings.sampler);
    for (uint64_t i = 0; i < 40; i++) q->ids[i] = (int32_t)(acc_random(text, i) % VOCAB);
    q->seq = (acc_sequence){.settings = &q->settings, .prompt = q->ids, .n_prompt = 40};
    q->ticket = (acc_ticket){.seq = &q->seq, .n = 1};
    assert_int_equal(acc_scheduler_submit(r->s, &q->ticket), ACCLLM_OK);
}

static void await(rig *r, request *q)
{
    acc_finish how;
    (void)alarm(60);
    do {
        r->box.n_text = r->box.n_records = 0;
        how = acc_scheduler_take(r->s, &q->seq, &r->box);
        (void)usleep(1000);
    } while (how == ACC_UNFINISHED);
    (void)alarm(0);
    assert_int_equal(how, ACC_FINISH_LENGTH);
    assert_true(acc_scheduler_finished(r->s, &q->ticket));
}

/* Those that changed are saved one after the other: none may wait for ever. */
static void the_session_left_longest_ago_is_lent_first(void **state)
{
    (void)state;
    rig r;
    request q;
    uint32_t session = 9;
    rig_open(&r, 3);
    assert_null(acc_scheduler_lend_changed(r.s, &session));
    for (uint64_t text = 0; text < 3; text++) {
        ask(&r, &q, text);
        await(&r, &q);
    }
    for (uint32_t i = 0; i < 3; i++) {
        acc_slot *slot = acc_scheduler_lend_changed(r.s, &session);
        assert_non_null(slot);
        assert_int_equal(session, i);
        assert_null(acc_scheduler_lend(r.s, i)); /* once at a time */
        acc_scheduler_give_back(r.s, slot);
    }
    assert_null(acc_scheduler_lend_changed(r.s, &session));
    rig_close(&r);
}

/* A prompt that goes on from a session waits while that one is lent. */
static void a_lent_session_is_waited_for(void **state)
{
    (void)state;
    rig r;
    request q;
    rig_open(&r, 2);
    ask(&r, &q, 1);
    await(&r, &q);
    acc_slot *slot = acc_scheduler_lend(r.s, 0);
    assert_non_null(slot);
    ask(&r, &q, 1);
    (void)usleep(100000);
    const acc_load load = acc_scheduler_load(r.s);
    assert_true(load.waiting == 1 && load.running == 0);
    acc_scheduler_give_back(r.s, slot);
    await(&r, &q);
    assert_int_equal(q.seq.n_reused, 39);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_session_left_longest_ago_is_lent_first),
        cmocka_unit_test(a_lent_session_is_waited_for),
    };
    return cmocka_run_group_tests_name("serve-scheduler", tests, NULL, NULL);
}
