/* The solver alone, on random matrices: factor, code choice, sweeps, losses, bad input. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compress/solver.h"
#include "core/hash.h"
#include "core/memory.h"

static float gauss(uint64_t key, uint64_t i)
{
    double u = acc_random_unit(key, 2 * i), v = acc_random_unit(key, 2 * i + 1);
    return (float)(sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v));
}

static float *random_matrix(uint64_t key, size_t n, float scale)
{
    float *w = acc_calloc(n, sizeof *w);
    assert_non_null(w);
    for (size_t i = 0; i < n; i++) w[i] = scale * gauss(key, i);
    return w;
}

static acc_pool *pool_of(uint32_t n)
{
    acc_pool *p;
    assert_int_equal(acc_pool_create(&p, n, NULL), ACCLLM_OK);
    return p;
}

static void hessian_add(acc_hessian *h, const float *x, uint32_t n_tokens)
{
    acc_pool *pool = pool_of(2);
    acc_hessian_add(pool, h, x, n_tokens);
    acc_pool_free(&pool);
}

/* Correlated inputs: a random walk over the columns with a few loud ones, as in real layers. */
static void correlated_hessian(acc_hessian *h, uint32_t cols, uint32_t tokens, uint64_t key)
{
    assert_int_equal(acc_hessian_create(h, cols, NULL), ACCLLM_OK);
    float *x = random_matrix(key, (size_t)tokens * cols, 1);
    for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t j = 1; j < cols; j++) {
            x[(size_t)t * cols + j] += 0.8f * x[(size_t)t * cols + j - 1];
            if (j % 37 == 5) x[(size_t)t * cols + j] *= 4;
        }
    hessian_add(h, x, tokens / 2);
    hessian_add(h, x + (size_t)(tokens / 2) * cols, tokens - tokens / 2);
    acc_free(x);
}

static void a_factor_inverts_the_damped_hessian(void **state)
{
    (void)state;
    enum { N = 20, UNIT = 4 };
    acc_hessian h;
    acc_factor f;
    correlated_hessian(&h, N, 100, 1);
    assert_int_equal(acc_factor_create(&f, &h, UNIT, 0.01, "test", NULL), ACCLLM_OK);
    double mean = 0;
    for (int i = 0; i < N; i++) mean += (double)f.h[i * N + i] / N;
    for (int i = 0; i < N; i++) /* (H + lambda I) U^T U = I */
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++) {
                uint32_t ci = f.order[i / UNIT] * UNIT + (uint32_t)i % UNIT,
                         ck = f.order[k / UNIT] * UNIT + (uint32_t)k % UNIT;
                double inverse = 0, hik = (double)f.h[ci * N + ck] + (ci == ck ? 0.01 * mean : 0);
                for (int p = 0; p < N; p++) inverse += (double)f.u[p * N + k] * (double)f.u[p * N + j];
                sum += hik * inverse;
            }
            assert_true(fabs(sum - (i == j)) < 1e-3);
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++) assert_true(f.u[i * N + j] == 0);
    for (int t = 1; t < N / UNIT; t++) {
        float a = 0, b = 0;
        for (int k = 0; k < UNIT; k++) {
            uint32_t p = f.order[t - 1] * UNIT + (uint32_t)k, q = f.order[t] * UNIT + (uint32_t)k;
            a += f.h[p * N + p];
            b += f.h[q * N + q];
        }
        assert_true(a >= b);
    }
    acc_factor_free(&f);
    acc_hessian_free(&h);
}

static void dead_columns_and_no_input_are_survived(void **state)
{
    (void)state;
    enum { N = 36 };
    acc_hessian h;
    acc_factor f;
    float *x = random_matrix(2, 8 * N, 1);
    for (int t = 0; t < 8; t++) x[t * N + 3] = x[t * N + 30] = 0;
    assert_int_equal(acc_hessian_create(&h, N, NULL), ACCLLM_OK);
    assert_int_equal(acc_factor_create(&f, &h, 4, 0.01, "test", NULL), ACCLLM_OK); /* nothing seen */
    assert_int_equal(f.dead, N);
    acc_factor_free(&f);
    hessian_add(&h, x, 8); /* rank 8 of 36 */
    assert_int_equal(acc_factor_create(&f, &h, 4, 0.01, "test", NULL), ACCLLM_OK);
    assert_int_equal(f.dead, 2);
    acc_factor_free(&f);
    assert_int_equal(acc_factor_create(&f, &h, 4, 1e-12, "test", NULL), ACCLLM_OK);
    acc_factor_free(&f);
    x[5] = NAN;
    hessian_add(&h, x, 8);
    assert_int_equal(acc_factor_create(&f, &h, 4, 0.01, "test", NULL), ACCLLM_E_NUMERIC);
    acc_hessian_free(&h);
    acc_free(x);
}

static double form(const double a[4][4], const double e[4])
{
    double s = 0;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) s += e[i] * a[i][j] * e[j];
    return s;
}

static void the_chosen_code_word_is_the_cheapest(void **state)
{
    (void)state;
    static const int levels[3][2] = {{1, 2}, {1, 3}, {2, 5}};
    for (uint64_t trial = 0; trial < 60; trial++) {
        const int l1 = levels[trial % 3][0], l2 = levels[trial % 3][1];
        double a[4][4], b[4][4];
        for (uint64_t i = 0; i < 16; i++) b[i / 4][i % 4] = gauss(trial, i);
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) {
                a[i][j] = i == j ? 0.1 : 0;
                for (int k = 0; k < 4; k++) a[i][j] += b[i][k] * b[j][k];
            }
        acc_w2s_book book;
        acc_quad_form f;
        acc_w2s_book_init(&book, l1, l2);
        acc_quad_form_init(&f, a, &book);
        float w[4][ACC_LANES], s[ACC_LANES], q[4][ACC_LANES];
        uint8_t code[ACC_LANES];
        for (uint64_t l = 0; l < ACC_LANES; l++) {
            s[l] = l == 7 ? 0 : 0.2f + (float)acc_random_unit(trial, 1000 + l);
            for (uint64_t k = 0; k < 4; k++) w[k][l] = l == 9 ? 0 : 2 * gauss(trial, 100 + 4 * l + k);
        }
        acc_w2s_choose(&book, &f, w, s, code, q);
        for (int l = 0; l < ACC_LANES; l++) {
            double best = INFINITY, got = INFINITY;
            for (unsigned c = 0; c < 121; c++) {
                int8_t quad[4];
                double e[4];
                acc_w2s_quad(c, l1, l2, quad);
                for (int k = 0; k < 4; k++) e[k] = (double)w[k][l] - (double)s[l] * quad[k];
                double cost = form(a, e);
                if (cost < best) best = cost;
                if (c == code[l]) {
                    got = cost;
                    for (int k = 0; k < 4; k++) assert_true(q[k][l] == quad[k]);
                }
            }
            assert_true(got <= best + 1e-4 * (1 + best));
            if (l == 7 || l == 9) assert_int_equal(code[l], ACC_W2S_ZERO);
        }
    }
}

typedef struct solved {
    acc_weight shape;
    acc_codes codes;
    acc_quantize_stats stats;
} solved;

static void quantize(solved *s, acc_format format, uint32_t rows, uint32_t cols, uint32_t group, bool obs,
                     uint32_t descent, const float *w, const acc_factor *f, acc_pool *pool)
{
    accllm_error err = {0};
    acc_quantize_params p = {.obs = obs, .descent = descent, .choose_levels = obs && group == 64};
    assert_int_equal(acc_weight_init(&s->shape, format, rows, cols, group, 1, 2, NULL), ACCLLM_OK);
    assert_int_equal(acc_codes_create(&s->codes, &s->shape, rows, NULL), ACCLLM_OK);
    accllm_status st = acc_quantize(pool, &p, &s->shape, w, f, &s->codes, &s->stats, "test", &err);
    if (st != ACCLLM_OK) fail_msg("%s", err.text);
}

/* The packed blob passes the full check and gives the codes' floats back. */
static void check_packed(solved *s)
{
    uint8_t *blob = acc_calloc(1, acc_weight_bytes(&s->shape));
    float *a = acc_calloc(s->shape.cols, sizeof *a), *b = acc_calloc(s->shape.cols, sizeof *b);
    accllm_error err = {0};
    acc_codes_pack(&s->codes, &s->shape, blob, 0);
    acc_weight_bind(&s->shape, blob);
    if (acc_weight_check(&s->shape, "test", 1, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    for (uint32_t r = 0; r < s->shape.rows; r++) {
        acc_codes_dequant_row(&s->codes, r, a);
        acc_weight_dequant_row(&s->shape, r, b);
        assert_memory_equal(a, b, s->shape.cols * sizeof *a);
    }
    acc_free(a);
    acc_free(b);
    acc_free(blob);
}

static double direct_loss(const solved *s, const float *w, const acc_factor *f)
{
    uint32_t n = s->shape.cols;
    float *q = acc_calloc(n, sizeof *q);
    double loss = 0;
    for (uint32_t r = 0; r < s->shape.rows; r++) {
        acc_codes_dequant_row(&s->codes, r, q);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < n; j++)
                loss += (double)(q[i] - w[(size_t)r * n + i]) * (double)f->h[(size_t)i * n + j] *
                        (double)(q[j] - w[(size_t)r * n + j]);
    }
    acc_free(q);
    return loss;
}

static void sweeps_beat_rounding(void **state)
{
    (void)state;
    static const struct {
        acc_format format;
        uint32_t rows, cols, group;
        double at_most; /* of round-to-nearest's loss */
    } cases[] = {{ACC_FMT_W2S, 70, 192, 64, 0.7}, {ACC_FMT_W2S, 33, 150, 32, 0.7}, {ACC_FMT_W2S, 64, 300, 128, 0.7},
                 {ACC_FMT_W2, 70, 192, 64, 0.7},  {ACC_FMT_W2, 33, 150, 128, 0.7}, {ACC_FMT_W4, 70, 192, 64, 0.7},
                 {ACC_FMT_W4, 10, 45, 32, 0.8},   {ACC_FMT_W8, 65, 200, 0, 0.7}};
    acc_pool *pool = pool_of(2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t rows = cases[i].rows, cols = cases[i].cols;
        acc_hessian h;
        acc_factor f;
        solved rtn, obs, better;
        correlated_hessian(&h, cols, 2 * cols, i);
        assert_int_equal(acc_factor_create(&f, &h, cases[i].format == ACC_FMT_W2S ? 4 : 1, 0.01, "t", NULL), ACCLLM_OK);
        float *w = random_matrix(100 + i, (size_t)rows * cols, 0.05f);
        quantize(&rtn, cases[i].format, rows, cols, cases[i].group, false, 0, w, &f, pool);
        quantize(&obs, cases[i].format, rows, cols, cases[i].group, true, 0, w, &f, pool);
        quantize(&better, cases[i].format, rows, cols, cases[i].group, true, 2, w, &f, pool);
        print_message("# %s %ux%u g%u: rtn %.5f, obs %.5f, descent %.5f of the signal, levels %d %d\n",
                      acc_format_name(cases[i].format), rows, cols, cases[i].group, rtn.stats.error / rtn.stats.signal,
                      obs.stats.error / obs.stats.signal, better.stats.error / better.stats.signal, obs.codes.level1,
                      obs.codes.level2);
        assert_true(better.stats.error < 1.001 * obs.stats.error);
        assert_true(obs.stats.error < cases[i].at_most * rtn.stats.error);
        assert_true(fabs(obs.stats.rtn_error - rtn.stats.error) <= 1e-9 * rtn.stats.error);
        double direct = direct_loss(&obs, w, &f);
        assert_true(fabs(direct - obs.stats.error) < 2e-3 * direct);
        check_packed(&rtn);
        check_packed(&obs);
        check_packed(&better);
        acc_codes_free(&rtn.codes);
        acc_codes_free(&obs.codes);
        acc_codes_free(&better.codes);
        acc_free(w);
        acc_factor_free(&f);
        acc_hessian_free(&h);
    }
    acc_pool_free(&pool);
}

static void results_do_not_depend_on_threads_and_repeat(void **state)
{
    (void)state;
    enum { ROWS = 80, COLS = 256 };
    acc_hessian h;
    acc_factor f;
    solved s[3];
    correlated_hessian(&h, COLS, 400, 9);
    assert_int_equal(acc_factor_create(&f, &h, 4, 0.01, "t", NULL), ACCLLM_OK);
    float *w = random_matrix(5, ROWS * COLS, 1);
    for (uint32_t i = 0; i < 3; i++) {
        acc_pool *pool = pool_of(i + 1);
        quantize(&s[i], ACC_FMT_W2S, ROWS, COLS, 64, true, 1, w, &f, pool);
        acc_pool_free(&pool);
        if (i == 0) continue;
        assert_memory_equal(s[i].codes.codes, s[0].codes.codes, (size_t)s[0].codes.rows_pad * s[0].codes.n_units);
        assert_memory_equal(s[i].codes.m, s[0].codes.m, (size_t)s[0].codes.rows_pad * s[0].codes.n_groups);
        assert_memory_equal(s[i].codes.rscale, s[0].codes.rscale, ROWS * sizeof(float));
    }
    for (int i = 0; i < 3; i++) acc_codes_free(&s[i].codes);
    acc_free(w);
    acc_factor_free(&f);
    acc_hessian_free(&h);
}

/* A hidden unit that alone makes up nearly all of the output, and large weights for it: massive activations (Sun et al.
 * 2024). Its group's scale has to serve it, whatever the group's other weights are. */
static void a_loud_input_keeps_its_weights(void **state)
{
    (void)state;
    enum { ROWS = 40, COLS = 128, LOUD = 70 };
    acc_pool *pool = pool_of(2);
    for (int fmt = 0; fmt < ACC_FMT_COUNT; fmt++) {
        acc_hessian h;
        acc_factor f;
        solved s;
        float *x = random_matrix(11, 300 * COLS, 1), *w = random_matrix(12, ROWS * COLS, 1), q[COLS];
        for (int t = 0; t < 300; t++) x[t * COLS + LOUD] *= 300;
        for (int r = 0; r < ROWS; r++) w[r * COLS + LOUD] = (r % 2 ? 9.0f : -6.0f) - 0.02f * (float)r;
        assert_int_equal(acc_hessian_create(&h, COLS, NULL), ACCLLM_OK);
        hessian_add(&h, x, 300);
        assert_int_equal(acc_factor_create(&f, &h, fmt == ACC_FMT_W2S ? 4 : 1, 1e-6, "t", NULL), ACCLLM_OK);
        quantize(&s, (acc_format)fmt, ROWS, COLS, 64, true, 2, w, &f, pool);
        for (int r = 0; r < ROWS; r++) {
            const float loud = w[r * COLS + LOUD];
            acc_codes_dequant_row(&s.codes, (uint32_t)r, q);
            if (fabsf(q[LOUD] - loud) > 0.02f * fabsf(loud))
                fail_msg("%s, row %d: %g became %g", acc_format_name((acc_format)fmt), r, (double)loud,
                         (double)q[LOUD]);
        }
        acc_codes_free(&s.codes);
        acc_free(x);
        acc_free(w);
        acc_factor_free(&f);
        acc_hessian_free(&h);
    }
    acc_pool_free(&pool);
}

static void odd_weights(void **state)
{
    (void)state;
    enum { ROWS = 5, COLS = 64 };
    acc_pool *pool = pool_of(1);
    acc_hessian h;
    acc_factor f;
    correlated_hessian(&h, COLS, 200, 3);
    float *w = random_matrix(6, ROWS * COLS, 1);
    memset(w, 0, COLS * sizeof *w);                             /* a row of zeros */
    for (int j = 0; j < COLS; j++) w[COLS + j] = j ? 0 : 1e30f; /* one huge weight */
    for (int j = 0; j < COLS; j++) w[2 * COLS + j] *= 1e-37f;   /* nearly subnormal ones */
    for (int fmt = 0; fmt < ACC_FMT_COUNT; fmt++) {
        assert_int_equal(acc_factor_create(&f, &h, fmt == ACC_FMT_W2S ? 4 : 1, 0.01, "t", NULL), ACCLLM_OK);
        for (int obs = 0; obs < 2; obs++) {
            solved s;
            w[COLS] = obs ? 1e10f : 1e30f;
            quantize(&s, (acc_format)fmt, ROWS, COLS, 32, obs, 1, w, obs ? &f : NULL, pool);
            assert_true(s.codes.rscale[0] == 0);
            check_packed(&s);
            acc_codes_free(&s.codes);
        }
        acc_factor_free(&f);
    }
    acc_weight shape;
    acc_codes c;
    acc_quantize_stats stats;
    acc_quantize_params p = {0};
    accllm_error err;
    for (int bad = 0; bad < 2; bad++) {
        w[3 * COLS + 7] = bad ? INFINITY : NAN;
        assert_int_equal(acc_weight_init(&shape, ACC_FMT_W4, ROWS, COLS, 32, 1, 2, NULL), ACCLLM_OK);
        assert_int_equal(acc_codes_create(&c, &shape, ROWS, NULL), ACCLLM_OK);
        assert_int_equal(acc_quantize(pool, &p, &shape, w, NULL, &c, &stats, "blk.0", &err), ACCLLM_E_NUMERIC);
        assert_non_null(strstr(err.text, "blk.0"));
        assert_non_null(strstr(err.text, "row 3"));
        acc_codes_free(&c);
    }
    acc_free(w);
    acc_hessian_free(&h);
    acc_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_factor_inverts_the_damped_hessian),
        cmocka_unit_test(dead_columns_and_no_input_are_survived),
        cmocka_unit_test(the_chosen_code_word_is_the_cheapest),
        cmocka_unit_test(sweeps_beat_rounding),
        cmocka_unit_test(results_do_not_depend_on_threads_and_repeat),
        cmocka_unit_test(a_loud_input_keeps_its_weights),
        cmocka_unit_test(odd_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
