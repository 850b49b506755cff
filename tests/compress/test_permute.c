/* The orders of hidden units and value channels: the same function in every order, and less error in the chosen one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "compress/pipeline.h"
#include "core/hash.h"
#include "core/runtime.h"
#include "support/tiny.h"

#define TOKENS 40

/* One layer with uneven channels, and what a calibration pass over it sees. */
typedef struct fixture {
    char *path;
    accllm_runtime *rt;
    acc_run r;
    acc_ref_layer l;
    acc_ref_work *work;
    acc_collector c;
    acc_weight shapes[ACC_N_LINEAR];
    float *x; /* [TOKENS][n_embd] */
} fixture;

/* Large and small in turn, without a pattern. */
static float size_of(uint64_t channel)
{
    const double u = acc_random_unit(11, channel);
    return (float)(0.2 + 3 * u * u);
}

static void make_uneven(acc_ref_layer *l, const acc_hparams *hp)
{
    const uint32_t q = hp->n_heads * hp->head_dim;
    for (uint32_t r = 0; r < hp->n_embd; r++) {
        for (uint32_t j = 0; j < hp->n_ff; j++) l->down[(size_t)r * hp->n_ff + j] *= size_of(j);
        for (uint32_t j = 0; j < q; j++) l->o[(size_t)r * q + j] *= size_of(1000 + j % hp->head_dim);
    }
}

static void fill_states(const fixture *f)
{
    for (size_t i = 0; i < (size_t)TOKENS * f->r.hp->n_embd; i++) f->x[i] = (float)(acc_random_unit(7, i) - 0.5);
}

static void forward(fixture *f)
{
    const acc_ref_attention att = {2, 24};
    for (int i = 0; i < 4; i++) acc_hessian_reset(&f->c.hessian[i]);
    fill_states(f);
    assert_int_equal(
        acc_ref_layer_forward(f->rt, f->r.hp, &f->l, f->x, TOKENS, &att, f->work, acc_collector_tap, &f->c, NULL),
        ACCLLM_OK);
}

static void start(fixture *f, acc_format format, uint32_t threads, uint32_t n_ff)
{
    tiny_options o = tiny_defaults();
    accllm_runtime_params rp;
    *f = (fixture){.path = tiny_path("permute.gguf")};
    o.biases = true;
    o.n_ff = n_ff;
    o.head_dim = 64;
    o.n_embd = 96;
    accllm_runtime_params_init(&rp);
    rp.n_threads = threads;
    assert_int_equal(accllm_runtime_create(&f->rt, &rp, NULL), ACCLLM_OK);
    assert_int_equal(tiny_write(f->path, &o, NULL), ACCLLM_OK);
    f->r = (acc_run){.rt = f->rt, .cal = {.seq_len = TOKENS, .n_seqs = 1}, .plan = {.page = 16, .sinks = 2}};
    assert_int_equal(acc_checkpoint_open(&f->r.src, f->path, true, NULL), ACCLLM_OK);
    const acc_hparams *hp = f->r.hp = &f->r.src->hp;
    assert_int_equal(acc_ref_layer_load(&f->l, f->r.src, 0, NULL), ACCLLM_OK);
    assert_int_equal(acc_ref_work_create(&f->work, hp, TOKENS, NULL), ACCLLM_OK);
    assert_int_equal(acc_collector_create(&f->c, &f->r, NULL), ACCLLM_OK);
    f->c.wanted = 15;
    f->x = calloc((size_t)TOKENS * hp->n_embd, sizeof *f->x);
    assert_non_null(f->x);
    /* Groups of half a head: then the order matters in `out` for dense formats too. */
    assert_int_equal(acc_weight_init(&f->shapes[3], format, hp->n_embd, hp->n_heads * hp->head_dim, 32, 1, 2, NULL), 0);
    assert_int_equal(acc_weight_init(&f->shapes[6], format, hp->n_embd, n_ff, 32, 1, 2, NULL), ACCLLM_OK);
    make_uneven(&f->l, hp);
    forward(f);
}

static void finish(fixture *f)
{
    acc_collector_free(&f->c);
    acc_ref_work_free(&f->work);
    acc_ref_layer_free(&f->l);
    f->r.src->close(f->r.src);
    free(f->x);
    (void)unlink(f->path);
    free(f->path);
    accllm_runtime_free(&f->rt);
}

static void permute(fixture *f)
{
    assert_int_equal(acc_permute_layer(f->rt->pool, &f->l, f->r.hp, f->shapes, &f->c, NULL), ACCLLM_OK);
}

static double difference(const float *x, const float *y, size_t n)
{
    double diff = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        square += (double)x[i] * (double)x[i];
    }
    return diff / square;
}

/* The permuted Hessian is what a new pass measures. */
static void check_hessian(const acc_hessian *h, const double *measured)
{
    for (size_t i = 0; i < h->cols; i++)
        for (size_t j = i; j < h->cols; j++) {
            const double scale = measured[i * h->cols + i] + measured[j * h->cols + j], x = h->sum[i * h->cols + j];
            assert_true(x - measured[i * h->cols + j] <= 1e-5 * scale);
            assert_true(measured[i * h->cols + j] - x <= 1e-5 * scale);
        }
}

static void an_order_changes_no_output(void **state)
{
    (void)state;
    static const acc_format formats[] = {ACC_FMT_W2S, ACC_FMT_W2, ACC_FMT_W4, ACC_FMT_W8};
    for (size_t i = 0; i < 4; i++) {
        fixture f;
        start(&f, formats[i], 2, 100);
        const size_t n = (size_t)TOKENS * f.r.hp->n_embd;
        const size_t up = (size_t)f.r.hp->n_ff * f.r.hp->n_embd, kv = (size_t)f.r.hp->n_kv_heads * f.r.hp->head_dim;
        float *before = malloc((n + up + kv) * sizeof *before), *old_up = before + n, *old_bias = old_up + up;
        assert_non_null(before);
        memcpy(before, f.x, n * sizeof *before);
        memcpy(old_up, f.l.up, up * sizeof *before);
        memcpy(old_bias, f.l.v_bias, kv * sizeof *before);
        permute(&f);
        acc_hessian own[2] = {f.c.hessian[1], f.c.hessian[3]};
        for (int k = 0; k < 2; k++) {
            const size_t bytes = (size_t)own[k].cols * own[k].cols * sizeof *own[k].sum;
            own[k].sum = memcpy(malloc(bytes), own[k].sum, bytes);
        }
        const bool same = formats[i] == ACC_FMT_W8;
        assert_int_equal(memcmp(old_up, f.l.up, up * sizeof *before) == 0, same);
        assert_int_equal(memcmp(old_bias, f.l.v_bias, kv * sizeof *before) == 0, same);
        forward(&f);
        assert_true(difference(before, f.x, n) < 1e-10);
        check_hessian(&own[0], f.c.hessian[1].sum);
        check_hessian(&own[1], f.c.hessian[3].sum);
        free(own[0].sum);
        free(own[1].sum);
        free(before);
        finish(&f);
    }
}

/* Of what the solver loses on down and on out. */
static double loss_of(const fixture *f, int linear)
{
    static const acc_quantize_params p = {.obs = true, .descent = 2};
    acc_weight shape = f->shapes[linear];
    acc_factor factor = {0};
    acc_codes codes;
    acc_quantize_stats stats;
    const float *w = linear == 3 ? f->l.o : f->l.down;
    const acc_hessian *h = &f->c.hessian[acc_input_of[linear]];
    assert_int_equal(acc_factor_for(&factor, h, shape.format, ACC_DAMPING, "test", NULL), ACCLLM_OK);
    assert_int_equal(acc_codes_create(&codes, &shape, shape.rows, NULL), ACCLLM_OK);
    assert_int_equal(acc_quantize(f->rt->pool, &p, &shape, w, &factor, &codes, &stats, "test", NULL), ACCLLM_OK);
    acc_codes_free(&codes);
    acc_factor_free(&factor);
    return stats.error / stats.signal;
}

static void errors_fall(void **state)
{
    (void)state;
    static const struct {
        acc_format format;
        double out, down; /* at most, to before */
    } cases[] = {{ACC_FMT_W2S, 0.97, 0.9}, {ACC_FMT_W2, 0.9, 0.9}, {ACC_FMT_W4, 0.9, 0.9}, {ACC_FMT_W8, 1, 1}};
    for (size_t i = 0; i < 4; i++) {
        fixture f;
        start(&f, cases[i].format, 2, 384);
        const double out = loss_of(&f, 3), down = loss_of(&f, 6);
        permute(&f);
        const double out_after = loss_of(&f, 3), down_after = loss_of(&f, 6);
        print_message("# %s: out %.5f to %.5f, down %.5f to %.5f\n", acc_format_name(cases[i].format), out, out_after,
                      down, down_after);
        assert_true(out_after <= cases[i].out * out);
        assert_true(down_after <= cases[i].down * down);
        finish(&f);
    }
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    fixture a, b;
    start(&a, ACC_FMT_W2S, 1, 100);
    permute(&a);
    start(&b, ACC_FMT_W2S, 3, 100);
    permute(&b);
    assert_memory_equal(a.l.down, b.l.down, (size_t)a.r.hp->n_embd * a.r.hp->n_ff * sizeof *a.l.down);
    finish(&a);
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_changes_no_output),
        cmocka_unit_test(errors_fall),
        cmocka_unit_test(threads_do_not_matter),
    };
    return cmocka_run_group_tests_name("compress permute", tests, NULL, NULL);
}
