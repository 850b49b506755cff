/* The training loop: it learns, resumes to the bit after an interruption, refuses nonsense. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/hash.h"
#include "core/memory.h"
#include "support/tiny.h"
#include "tiny_source.h"
#include "train/internal.h"

#define LEN 16u
#define SEQS 40u
#define HELD 4u
#define STEPS 60u

static const tiny_shape shape = {4, 2, true, true};

typedef struct fixture {
    accllm_runtime rt;
    acc_source *src;
    acc_train_model m, teacher;
    acc_weight shapes[2][7];
    int32_t ids[(SEQS + HELD) * LEN];
    acc_train_params p;
    char *path;
    uint64_t stop_at;
    uint64_t easy_at; /* behind this step the held-out text is what was trained on */
    uint32_t n_best;
} fixture;

static void on_progress(void *user, uint64_t step, double loss, double held_out)
{
    fixture *f = user;
    (void)loss;
    (void)held_out;
    if (step == f->stop_at) atomic_store(&f->rt.abort, true);
    if (step == f->easy_at) memcpy(f->ids + SEQS * LEN, f->ids, HELD * LEN * sizeof *f->ids);
}

static accllm_status on_best(void *user, uint64_t step, double held_out, accllm_error *err)
{
    fixture *f = user;
    (void)step;
    (void)held_out;
    (void)err;
    f->n_best++;
    return ACCLLM_OK;
}

/* A W2S student of a float teacher, both of the same weights. */
static void setup(fixture *f, bool coded)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(acc_pool_create(&f->rt.pool, 2, NULL), ACCLLM_OK);
    f->src = tiny_source(4, &shape);
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < 7; i++) {
            uint64_t rows, cols;
            acc_tensor_shape(&f->src->hp, (acc_tensor_id)(ACC_T_ATTN_Q + i), &rows, &cols);
            assert_int_equal(
                acc_weight_init(&f->shapes[l][i], ACC_FMT_W2S, (uint32_t)rows, (uint32_t)cols, 32, 1, 2, NULL),
                ACCLLM_OK);
        }
    const acc_weight(*shapes)[7] = coded ? (const acc_weight(*)[7])f->shapes : NULL;
    assert_int_equal(acc_train_model_create(&f->m, f->src, shapes, NULL, NULL, true, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_model_load(&f->m, f->src, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_model_create(&f->teacher, f->src, NULL, NULL, NULL, false, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_model_load(&f->teacher, f->src, NULL), ACCLLM_OK);
    for (uint32_t i = 0; i < f->m.n_tensors; i++)
        for (size_t k = 0; k < acc_train_scales(&f->m.tensors[i]); k++) f->m.tensors[i].log_scale[k] = logf(0.15f);
    acc_train_rates(&f->m, 0.02f);
    /* Text with something to learn: each token mostly follows from the one before it. */
    for (uint32_t i = 0; i < (SEQS + HELD) * LEN; i++)
        f->ids[i] =
            i % LEN && acc_random_unit(8, i) < 0.9 ? (f->ids[i - 1] * 7 + 3) % 50 : (int32_t)(acc_random(9, i) % 50);
    f->path = tiny_path("train.bin");
    assert_non_null(f->path);
    f->p = (acc_train_params){.ids = f->ids,
                              .n_seqs = SEQS,
                              .seq_len = LEN,
                              .held_out = f->ids + SEQS * LEN,
                              .n_held_out = HELD,
                              .batch = 4,
                              .steps = STEPS,
                              .scale_rate = 0.01f,
                              .keep_all = true,
                              .bf16 = true,
                              .rules = {.a8 = true, .kv_bits = 4, .page = 16, .sinks = 2, .window = 8},
                              .teacher = coded ? &f->teacher : NULL,
                              .seed = 11,
                              .checkpoint = f->path,
                              .checkpoint_seconds = 1e9,
                              .progress = on_progress,
                              .best = on_best,
                              .user = f};
    (void)unlink(f->path);
}

static void teardown(fixture *f)
{
    (void)unlink(f->path);
    free(f->path);
    acc_train_model_free(&f->m);
    acc_train_model_free(&f->teacher);
    f->src->close(f->src);
    acc_pool_free(&f->rt.pool);
}

static void test_distillation_learns(void **state)
{
    (void)state;
    fixture f;
    acc_train_result r;
    setup(&f, true);
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_OK);
    assert_int_equal(r.steps, STEPS);
    assert_true(r.best.loss < 0.7 * r.first.loss);
    assert_true(f.n_best > 1);
    acc_free(r.history);
    teardown(&f);
}

static void test_training_from_text_learns(void **state)
{
    (void)state;
    fixture f;
    acc_train_result r;
    setup(&f, false);
    f.p.rules = (acc_tape_rules){.sinks = 0, .window = LEN};
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_OK);
    assert_true(r.best.loss < 0.8 * r.first.loss && r.best.nll == r.best.loss);
    acc_free(r.history);
    teardown(&f);
}

static void test_resumes_to_the_bit(void **state)
{
    (void)state;
    fixture whole, parts;
    acc_train_result a, b;
    setup(&whole, true);
    assert_int_equal(acc_train_run(&whole.rt, &whole.m, &whole.p, &a, NULL), ACCLLM_OK);
    (void)unlink(whole.path);
    setup(&parts, true);
    for (uint64_t stop = 7; stop < STEPS; stop += 19) {
        parts.stop_at = stop;
        assert_int_equal(acc_train_run(&parts.rt, &parts.m, &parts.p, &b, NULL), ACCLLM_E_CANCELLED);
        assert_int_equal(b.steps, stop);
        atomic_store(&parts.rt.abort, false);
        for (uint32_t i = 0; i < parts.m.n_tensors; i++) /* the file alone must bring everything back */
            memset(parts.m.tensors[i].latent, 0, acc_train_size(&parts.m.tensors[i]) * sizeof(float));
    }
    parts.stop_at = 0;
    assert_int_equal(acc_train_run(&parts.rt, &parts.m, &parts.p, &b, NULL), ACCLLM_OK);
    assert_true(b.resumed_at > 0);
    assert_true(a.best.loss == b.best.loss && a.first.nll == b.first.nll && a.best_step == b.best_step);
    assert_memory_equal(a.history, b.history, STEPS * sizeof *a.history);
    for (uint32_t i = 0; i < whole.m.n_tensors; i++)
        assert_memory_equal(whole.m.tensors[i].latent, parts.m.tensors[i].latent,
                            acc_train_size(&whole.m.tensors[i]) * sizeof(float));
    acc_free(a.history);
    acc_free(b.history);
    teardown(&parts);
    teardown(&whole);
}

/* Before the first step, every few steps, and at the end, whatever the number of steps. */
static void test_the_beginning_and_the_end_are_judged(void **state)
{
    (void)state;
    fixture f;
    acc_train_result r;
    setup(&f, true);
    f.stop_at = 1;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_CANCELLED);
    assert_true(r.first.loss > 0 && r.best.loss == r.first.loss && r.best_step == 0);
    atomic_store(&f.rt.abort, false);
    f.stop_at = 2; /* nothing was judged since */
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_CANCELLED);
    assert_true(r.resumed_at == 1 && r.best.loss == r.first.loss && r.best_step == 0);
    atomic_store(&f.rt.abort, false);
    (void)unlink(f.path);
    teardown(&f);
    setup(&f, false);
    for (uint32_t i = SEQS * LEN; i < (SEQS + HELD) * LEN; i++) f.ids[i] = (int32_t)(acc_random(10, i) % 50);
    f.p.steps = f.easy_at = 35; /* every second step; this one would not be */
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_OK);
    assert_int_equal(r.best_step, 35);
    acc_free(r.history);
    teardown(&f);
}

/* What is done stays as it is; a run that was to be longer ends on the shorter schedule. */
static void test_a_run_may_be_shortened(void **state)
{
    (void)state;
    fixture f;
    acc_train_result r;
    setup(&f, true);
    f.stop_at = 9;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_CANCELLED);
    atomic_store(&f.rt.abort, false);
    f.stop_at = 0;
    f.p.steps = 8;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_ARG);
    f.p.steps = STEPS / 2;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_OK);
    assert_int_equal(r.resumed_at, 9);
    assert_int_equal(r.steps, STEPS / 2);
    assert_true(r.best.loss < r.first.loss);
    acc_free(r.history);
    teardown(&f);
}

static void test_damaged_checkpoint_is_not_used(void **state)
{
    (void)state;
    fixture f;
    acc_train_result r;
    setup(&f, true);
    f.stop_at = 5;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_CANCELLED);
    atomic_store(&f.rt.abort, false);
    FILE *file = fopen(f.path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 2000, SEEK_SET), 0);
    assert_int_equal(fputc(0x5a, file), 0x5a);
    assert_int_equal(fclose(file), 0);
    f.stop_at = 8;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_CANCELLED);
    assert_int_equal(r.resumed_at, 0);
    teardown(&f);
}

static void test_refuses_nonsense(void **state)
{
    (void)state;
    fixture f;
    acc_train_result r;
    setup(&f, true);
    f.p.n_held_out = 3;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_ARG);
    f.p.n_held_out = HELD;
    f.p.steps = 0;
    assert_int_equal(acc_train_run(&f.rt, &f.m, &f.p, &r, NULL), ACCLLM_E_ARG);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distillation_learns),
        cmocka_unit_test(test_training_from_text_learns),
        cmocka_unit_test(test_resumes_to_the_bit),
        cmocka_unit_test(test_damaged_checkpoint_is_not_used),
        cmocka_unit_test(test_the_beginning_and_the_end_are_judged),
        cmocka_unit_test(test_a_run_may_be_shortened),
        cmocka_unit_test(test_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
