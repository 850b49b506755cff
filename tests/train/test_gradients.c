/* The backward pass against finite differences of the loss, for every parameter, with Λ attention, GQA, biases and an
 * untied head; and its promises: checkpointing and threads change nothing that they should not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "tiny_source.h"
#include "train/internal.h"

#define SEQS 3u
#define LEN 14u
#define LONG 150u /* several blocks of queries */

static const tiny_shape plain = {3, 1, false, true}, rich = {4, 2, true, false};

typedef struct fixture {
    accllm_runtime rt;
    acc_source *src, *teacher_src;
    acc_train_model m, teacher;
    acc_trainer *trainer;
    acc_tape_rules rules;
    int32_t ids[SEQS * LONG];
} fixture;

static void setup_long(fixture *f, const tiny_shape *shape, uint32_t threads, bool keep_all, uint32_t len,
                       acc_tape_rules rules)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(acc_pool_create(&f->rt.pool, threads, NULL), ACCLLM_OK);
    f->src = tiny_source(1, shape);
    f->teacher_src = tiny_source(2, shape);
    assert_int_equal(acc_train_model_create(&f->m, f->src, NULL, NULL, NULL, true, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_model_load(&f->m, f->src, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_model_create(&f->teacher, f->teacher_src, NULL, NULL, NULL, false, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_model_load(&f->teacher, f->teacher_src, NULL), ACCLLM_OK);
    assert_int_equal(acc_trainer_create(&f->trainer, &f->rt, &f->src->hp, SEQS, len, keep_all, false, NULL), ACCLLM_OK);
    f->rules = rules;
    for (uint32_t i = 0; i < f->src->hp.n_embd; i++)
        f->m.embd_scale[i] = f->teacher.embd_scale[i] = 0.7f + 0.05f * (float)(i % 13);
    for (uint32_t i = 0; i < SEQS * len; i++) f->ids[i] = (int32_t)(acc_random(9, i) % f->src->hp.n_vocab);
}

static void setup(fixture *f, const tiny_shape *shape, uint32_t threads, bool keep_all)
{
    setup_long(f, shape, threads, keep_all, LEN, (acc_tape_rules){.sinks = 3, .window = 5});
}

static void teardown(fixture *f)
{
    acc_trainer_free(&f->trainer);
    acc_train_model_free(&f->m);
    acc_train_model_free(&f->teacher);
    f->src->close(f->src);
    f->teacher_src->close(f->teacher_src);
    acc_pool_free(&f->rt.pool);
}

typedef struct gradients {
    const acc_train_model *m;
    float *of[64];
} gradients;

static void collect(void *user, acc_tensor_id id, uint32_t layer, const float *g)
{
    gradients *all = user;
    const acc_train_tensor *t = acc_train_find(all->m, id, layer);
    const size_t i = (size_t)(t - all->m->tensors), n = acc_train_size(t);
    assert_null(all->of[i]);
    all->of[i] = malloc(n * sizeof(float));
    assert_non_null(all->of[i]);
    memcpy(all->of[i], g, n * sizeof(float));
}

static void gradients_free(gradients *g)
{
    for (int i = 0; i < 64; i++) free(g->of[i]);
}

static double loss_of(fixture *f, bool distil)
{
    acc_head_result loss;
    assert_int_equal(
        acc_trainer_batch(f->trainer, &f->m, &f->rules, distil ? &f->teacher : NULL, f->ids, &loss, NULL, NULL, NULL),
        ACCLLM_OK);
    return loss.loss;
}

static gradients gradients_of(fixture *f, bool distil, double *loss)
{
    acc_head_result r;
    gradients g = {.m = &f->m};
    assert_int_equal(
        acc_trainer_batch(f->trainer, &f->m, &f->rules, distil ? &f->teacher : NULL, f->ids, &r, collect, &g, NULL),
        ACCLLM_OK);
    *loss = r.loss;
    return g;
}

/* Central differences along a random direction of one tensor; the gradient's own direction too, so that a wrong scale
 * cannot hide. */
static void check_tensor(fixture *f, const float *g, acc_train_tensor *t, bool distil)
{
    const size_t n = acc_train_size(t);
    float *keep = malloc(n * sizeof *keep), *direction = malloc(n * sizeof *direction);
    assert_non_null(keep);
    assert_non_null(direction);
    memcpy(keep, t->latent, n * sizeof *keep);
    for (int own = 0; own < 2; own++) {
        double norm = 0, expected = 0;
        for (size_t i = 0; i < n; i++) {
            direction[i] = own ? g[i] : (float)(acc_random_unit(7 + t->id, i) - 0.5);
            norm += (double)direction[i] * (double)direction[i];
        }
        norm = sqrt(norm);
        assert_true(norm > 1e-6);
        for (size_t i = 0; i < n; i++) expected += (double)g[i] * (double)direction[i] / norm;
        const double step = 0.01;
        double side[2];
        for (int s = 0; s < 2; s++) {
            for (size_t i = 0; i < n; i++)
                t->latent[i] = keep[i] + (float)((s ? step : -step) * (double)direction[i] / norm);
            side[s] = loss_of(f, distil);
        }
        memcpy(t->latent, keep, n * sizeof *keep);
        const double measured = (side[1] - side[0]) / (2 * step);
        if (fabs(measured - expected) > 1e-3 + 0.01 * fabs(expected))
            fail_msg("tensor %d of layer %u: gradient %g, differences %g", t->id, t->layer, expected, measured);
    }
    free(keep);
    free(direction);
}

static void check_all(const tiny_shape *shape, bool distil, uint32_t len, uint32_t sinks, uint32_t window)
{
    fixture f;
    double loss;
    setup_long(&f, shape, 2, true, len, (acc_tape_rules){.sinks = sinks, .window = window});
    gradients g = gradients_of(&f, distil, &loss);
    assert_true(fabs(loss - loss_of(&f, distil)) < 1e-6);
    for (uint32_t i = 0; i < f.m.n_tensors; i++) {
        assert_non_null(g.of[i]);
        check_tensor(&f, g.of[i], &f.m.tensors[i], distil);
    }
    gradients_free(&g);
    teardown(&f);
}

static void test_differences(void **state)
{
    (void)state;
    check_all(&plain, false, LEN, 3, 5);
    check_all(&rich, false, LEN, 3, 5);
    check_all(&rich, true, LEN, 3, 5);
}

/* Windows that end inside a block of queries, that span several, and that see everything. */
static void test_differences_over_blocks(void **state)
{
    (void)state;
    check_all(&rich, true, LONG, 3, 20);
    check_all(&rich, false, LONG, 70, 30);
    check_all(&plain, true, LONG, 0, 100);
    check_all(&plain, true, LONG, 5, 2 * LONG);
}

static void test_same_model_has_no_divergence(void **state)
{
    (void)state;
    fixture f;
    acc_head_result loss;
    setup(&f, &plain, 1, true);
    assert_int_equal(acc_trainer_batch(f.trainer, &f.m, &f.rules, &f.m, f.ids, &loss, NULL, NULL, NULL), ACCLLM_OK);
    assert_true(fabs(loss.loss) < 1e-6 && loss.nll == loss.teacher_nll);
    assert_true(loss_of(&f, true) > 0.01);
    assert_true(fabs(loss.nll - loss_of(&f, false)) < 1e-5); /* with a teacher or without */
    teardown(&f);
}

/* The float teacher passes first: nothing of its pass may stay for the coded one. */
static void test_coded_cache_is_near_the_float_one(void **state)
{
    (void)state;
    fixture f;
    acc_head_result loss;
    setup(&f, &rich, 2, true);
    f.rules.kv_bits = 8;
    f.rules.page = 16;
    f.rules.a8 = true;
    assert_int_equal(acc_trainer_batch(f.trainer, &f.m, &f.rules, &f.m, f.ids, &loss, NULL, NULL, NULL), ACCLLM_OK);
    assert_true(loss.loss > 0 && loss.loss < 1e-3);
    teardown(&f);
}

static void same_gradients(const gradients *a, const gradients *b)
{
    for (uint32_t i = 0; i < a->m->n_tensors; i++)
        assert_memory_equal(a->of[i], b->of[i], acc_train_size(&a->m->tensors[i]) * sizeof(float));
}

static void test_checkpointing_changes_nothing(void **state)
{
    (void)state;
    fixture a, b;
    double loss_a, loss_b;
    setup(&a, &rich, 2, true);
    setup(&b, &rich, 2, false);
    a.rules.a8 = b.rules.a8 = true;
    a.rules.kv_bits = b.rules.kv_bits = 4;
    a.rules.page = b.rules.page = 16;
    gradients g = gradients_of(&a, true, &loss_a), h = gradients_of(&b, true, &loss_b);
    assert_true(loss_a == loss_b);
    same_gradients(&g, &h);
    gradients_free(&g);
    gradients_free(&h);
    teardown(&a);
    teardown(&b);
}

static void test_twice_is_the_same(void **state)
{
    (void)state;
    fixture f;
    double first, second;
    setup(&f, &plain, 3, true);
    gradients g = gradients_of(&f, true, &first), h = gradients_of(&f, true, &second);
    assert_true(first == second);
    same_gradients(&g, &h);
    gradients_free(&g);
    gradients_free(&h);
    teardown(&f);
}

/* Outputs of matrices that have a bias, in the first head of a layer, and the gradients along a direction there. */
#define N_SLOPES 4u
static const struct {
    acc_tensor_id matrix, bias;
    uint32_t layer;
} slopes[N_SLOPES] = {{ACC_T_ATTN_Q, ACC_T_ATTN_Q_BIAS, 0},
                      {ACC_T_ATTN_K, ACC_T_ATTN_K_BIAS, 0},
                      {ACC_T_ATTN_V, ACC_T_ATTN_V_BIAS, 0},
                      {ACC_T_ATTN_V, ACC_T_ATTN_V_BIAS, 1}};

static float direction(uint32_t i, uint32_t row)
{
    return (float)(acc_random_unit(11 + slopes[i].matrix, row) - 0.5);
}

typedef struct slope_sums {
    uint32_t rows;
    double along[N_SLOPES]; /* sums over the tokens */
} slope_sums;

static void add_slopes(void *user, acc_tensor_id id, uint32_t layer, const float *dy, uint32_t n, uint32_t rows)
{
    slope_sums *s = user;
    for (uint32_t i = 0; i < N_SLOPES; i++)
        for (uint32_t t = 0; id == slopes[i].matrix && layer == slopes[i].layer && t < n; t++)
            for (uint32_t r = 0; r < s->rows; r++)
                s->along[i] += (double)dy[(size_t)t * rows + r] * (double)direction(i, r);
}

/* The divergence that a step of a bias along the direction makes. */
static double divergence_of(fixture *f, const acc_train_model *same, uint32_t i, uint32_t rows, double step)
{
    acc_head_result loss;
    acc_train_tensor *t = acc_train_find(&f->m, slopes[i].bias, slopes[i].layer);
    float *keep = malloc(acc_train_size(t) * sizeof *keep);
    assert_non_null(keep);
    memcpy(keep, t->latent, acc_train_size(t) * sizeof *keep);
    for (uint32_t r = 0; r < rows; r++) t->latent[r] += (float)step * direction(i, r);
    assert_int_equal(acc_trainer_batch(f->trainer, &f->m, &f->rules, same, f->ids, &loss, NULL, NULL, NULL), ACCLLM_OK);
    memcpy(t->latent, keep, acc_train_size(t) * sizeof *keep);
    free(keep);
    return loss.loss;
}

/* The divergence that a small change of what a matrix gives makes (here of its bias, for all tokens alike) is half the
 * mean square of the gradients along it. */
static void test_fisher_information_predicts_divergence(void **state)
{
    (void)state;
    const uint32_t seeds = 400;
    const double step = 0.03;
    fixture f;
    acc_train_model same = {0};
    double square[N_SLOPES] = {0};
    setup(&f, &rich, 2, false);
    assert_int_equal(acc_train_model_create(&same, f.src, NULL, NULL, NULL, false, NULL), ACCLLM_OK);
    assert_int_equal(acc_train_model_load(&same, f.src, NULL), ACCLLM_OK);
    memcpy(same.embd_scale, f.m.embd_scale, f.src->hp.n_embd * sizeof(float));
    for (uint32_t seed = 0; seed < seeds; seed++) {
        slope_sums s = {.rows = f.src->hp.head_dim};
        assert_int_equal(acc_trainer_fisher(f.trainer, &f.m, &f.rules, f.ids, seed, add_slopes, &s, NULL), ACCLLM_OK);
        for (uint32_t i = 0; i < N_SLOPES; i++) square[i] += s.along[i] * s.along[i] / seeds;
    }
    for (uint32_t i = 0; i < N_SLOPES; i++) {
        const double expected = step * step * square[i] / 2 / (SEQS * LEN);
        const double measured = divergence_of(&f, &same, i, f.src->hp.head_dim, step);
        if (!(fabs(measured / expected - 1) < 0.2))
            fail_msg("matrix %d: %g, expected %g", slopes[i].matrix, measured, expected);
    }
    acc_train_model_free(&same);
    teardown(&f);
}

static void test_bad_values_are_errors(void **state)
{
    (void)state;
    fixture f;
    acc_head_result loss;
    accllm_error err;
    setup(&f, &plain, 1, true);
    f.ids[3] = 50;
    assert_int_equal(acc_trainer_batch(f.trainer, &f.m, &f.rules, NULL, f.ids, &loss, NULL, NULL, &err), ACCLLM_E_ARG);
    f.ids[3] = 1;
    acc_train_find(&f.m, ACC_T_FFN_UP, 1)->latent[5] = NAN;
    assert_int_equal(acc_trainer_batch(f.trainer, &f.m, &f.rules, NULL, f.ids, &loss, NULL, NULL, &err),
                     ACCLLM_E_NUMERIC);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_differences_over_blocks),
        cmocka_unit_test(test_same_model_has_no_divergence),
        cmocka_unit_test(test_coded_cache_is_near_the_float_one),
        cmocka_unit_test(test_checkpointing_changes_nothing),
        cmocka_unit_test(test_twice_is_the_same),
        cmocka_unit_test(test_fisher_information_predicts_divergence),
        cmocka_unit_test(test_bad_values_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
