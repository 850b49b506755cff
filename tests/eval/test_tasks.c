/* Tasks by likelihood: log-likelihoods against whole sequences scored here, accuracies, limits, cancelling. */
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

#include "accllm/accllm.h"
#include "engine/internal.h"
#include "eval/task.h"
#include "support/pack.h"

#define MAX_ITEMS 8

typedef struct fixture {
    accllm_runtime *rt;
    accllm_model *m;
    accllm_session_params sp;
    accllm_tasks_params p;
    accllm_tasks_result r;
    accllm_error err;
    accllm_task_item items[MAX_ITEMS];
    double logprob[MAX_ITEMS][4];
    size_t n, calls;
} fixture;

static void keep_item(void *user, const accllm_task_item *it)
{
    fixture *f = user;
    assert_true(f->n < MAX_ITEMS && it->n_choices <= 4);
    f->items[f->n] = *it;
    memcpy(f->logprob[f->n++], it->logprob, it->n_choices * sizeof *it->logprob);
}

static void count_calls(void *user, double fraction, double so_far, double left)
{
    fixture *f = user;
    assert_true(fraction > 0 && fraction <= 1 + 1e-9 && so_far >= 0 && so_far <= 1 && left > -1e-3);
    f->calls++;
}

static void set_up(fixture *f, bool packed, tiny_tokenizer tokenizer)
{
    *f = (fixture){0};
    tiny_options t = tiny_defaults();
    t.tokenizer = tokenizer;
    char *path = tiny_path("tasks");
    pack_options o = pack_defaults(ACC_FMT_W8);
    assert_int_equal(packed ? pack_tiny(path, &t, &o, &f->err) : tiny_write(path, &t, &f->err), ACCLLM_OK);
    assert_int_equal(accllm_runtime_create(&f->rt, NULL, &f->err), ACCLLM_OK);
    if (accllm_model_open(&f->m, f->rt, path, NULL, &f->err) != ACCLLM_OK) fail_msg("%s", f->err.text);
    (void)unlink(path);
    free(path);
    accllm_session_params_init(&f->sp);
    accllm_tasks_params_init(&f->p);
    f->p.item = keep_item;
    f->p.progress = count_calls;
    f->p.user = f;
}

/* log_sums [rows] */
static acc_scorer scorer(const fixture *f, uint32_t rows, double *log_sums)
{
    return (acc_scorer){.tok = accllm_model_tokenizer(f->m),
                        .n_vocab = 300,
                        .pool = f->rt->pool,
                        .rows = rows,
                        .log_sums = log_sums,
                        .limit = SIZE_MAX};
}

static void tear_down(fixture *f)
{
    accllm_model_free(&f->m);
    accllm_runtime_free(&f->rt);
}

static void evaluate(fixture *f, const char *text)
{
    f->n = f->calls = 0;
    if (accllm_eval_tasks(f->m, &f->sp, text, strlen(text), &f->p, &f->r, &f->err) != ACCLLM_OK)
        fail_msg("%s", f->err.text);
    assert_int_equal(f->n, f->r.n);
    assert_int_equal(f->calls, f->r.n);
}

/* log P(rest | context) with a session of its own: the tokens of both together, those beyond the context's scored. */
static double likelihood(fixture *f, const char *context, const char *rest)
{
    const accllm_tokenizer *tok = accllm_model_tokenizer(f->m);
    const size_t n_vocab = accllm_model_get_info(f->m)->n_vocab;
    char both[1024];
    int32_t *a, *b;
    size_t na, nb;
    (void)snprintf(both, sizeof both, "%s%s", context, rest);
    unsigned flags = accllm_tokenizer_adds_bos(tok) || *context == '\0' ? ACCLLM_TOKENIZE_BOS : 0;
    assert_int_equal(accllm_tokenize(tok, context, strlen(context), flags, &a, &na, NULL), ACCLLM_OK);
    assert_int_equal(accllm_tokenize(tok, both, strlen(both), flags, &b, &nb, NULL), ACCLLM_OK);
    accllm_session *s;
    accllm_session_params sp = f->sp;
    const float *logits;
    sp.max_logits = (uint32_t)nb;
    assert_int_equal(accllm_session_create(&s, f->m, &sp, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(s, b, nb, nb, &logits, NULL), ACCLLM_OK);
    double total = 0;
    for (size_t i = na; i < nb; i++) {
        double sum = 0;
        const float *row = logits + (i - 1) * n_vocab;
        for (size_t j = 0; j < n_vocab; j++) sum += exp((double)row[j]);
        total += (double)row[b[i]] - log(sum);
    }
    accllm_session_free(&s);
    free(a);
    free(b);
    return total;
}

static const char choices_file[] =
    "{\"query\": \"Question: Where do ships go?\\n\", \"choices\": [\"to the sea\", \"up\", \"home, slowly\"], "
    "\"gold\": 2}\n"
    "\n"
    "{\"gold\": 0, \"choices\": [\"the lamp\", \"d\\u00e9j\\u00e0 vu and more\"], \"query\": \"Question: What "
    "burns?\"}\r\n"
    "{\"query\": \"Question: Why?  \", \"choices\": [\"because\", \"because of that\", \"no\"], \"gold\": 1}";

static const struct {
    const char *context, *choice[3];
    int n, gold, line, length[3];
} expected[] = {
    {"Question: Where do ships go?\nAnswer:", {"to the sea", "up", "home, slowly"}, 3, 2, 1, {10, 2, 12}},
    {"Question: What burns?\nAnswer:", {"the lamp", "d\u00e9j\u00e0 vu and more"}, 2, 0, 3, {8, 16}},
    {"Question: Why?\nAnswer:", {"because", "because of that", "no"}, 3, 1, 4, {7, 15, 2}},
};

static int best_of(const double *x, const int *length, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] / (length ? length[i] : 1) > x[best] / (length ? length[best] : 1)) best = i;
    return best;
}

static void questions_against_whole_sequences(void **state)
{
    (void)state;
    for (int which = 0; which < 6; which++) {
        fixture f;
        set_up(&f, which % 2, which / 2 == 1 ? TINY_SPM : TINY_BPE);
        if (which / 2 == 2) { /* what is shared does not stay in so small a window */
            f.sp.window = 8;
            f.sp.sinks = 2;
            f.sp.chunk = 8;
        }
        evaluate(&f, choices_file);
        assert_string_equal(f.r.type, "question");
        assert_int_equal(f.r.n, 3);
        double right = 0, norm = 0;
        for (int i = 0; i < 3; i++) {
            double want[3];
            for (int j = 0; j < expected[i].n; j++) {
                char rest[64];
                (void)snprintf(rest, sizeof rest, " %s", expected[i].choice[j]);
                want[j] = likelihood(&f, expected[i].context, rest);
                assert_true(fabs(f.logprob[i][j] - want[j]) < 1e-4 && want[j] < -1);
            }
            assert_int_equal(f.items[i].line, expected[i].line);
            assert_int_equal(f.items[i].gold, expected[i].gold);
            bool hit = best_of(want, NULL, expected[i].n) == expected[i].gold;
            bool hit_norm = best_of(want, expected[i].length, expected[i].n) == expected[i].gold;
            assert_int_equal(f.items[i].correct, hit);
            assert_int_equal(f.items[i].correct_norm, hit_norm);
            right += hit, norm += hit_norm;
        }
        assert_true(fabs(f.r.accuracy - right / 3) < 1e-12 && fabs(f.r.accuracy_norm - norm / 3) < 1e-12);
        assert_true(fabs(f.r.accuracy_stderr - sqrt(f.r.accuracy * (1 - f.r.accuracy) / 2)) < 1e-12);
        assert_true(f.r.perplexity < 0 && f.r.tokens > 8 && f.r.truncated == 0);
        tear_down(&f);
    }
}

static void last_words_and_schemas(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, true, TINY_BPE);
    evaluate(&f, "{\"context\": \"He cut the rope with his \", \"continuation\": \"knife\"}\n"
                 "{\"text\": \"He lit the lamp\"}\n"
                 "{\"context\": \"\", \"continuation\": \"word\"}\n");
    assert_string_equal(f.r.type, "word");
    const double want[] = {likelihood(&f, "He cut the rope with his", " knife"), likelihood(&f, "He lit the", " lamp"),
                           likelihood(&f, "", " word")};
    for (int i = 0; i < 3; i++) assert_true(fabs(f.logprob[i][0] - want[i]) < 1e-4);
    assert_true(fabs(f.r.perplexity - exp(-(want[0] + want[1] + want[2]) / 3)) < 1e-3 * f.r.perplexity);
    assert_true(f.r.accuracy_norm < 0);

    evaluate(&f,
             "{\"context_options\": [\"The box fits the bag, for the box\", \"The box fits the bag, for the bag\"], "
             "\"continuation\": \"is large.\", \"gold\": 1}\n");
    assert_string_equal(f.r.type, "schema");
    const double a = likelihood(&f, "The box fits the bag, for the box", " is large."),
                 b = likelihood(&f, "The box fits the bag, for the bag", " is large.");
    assert_true(fabs(f.logprob[0][0] - a) < 1e-4 && fabs(f.logprob[0][1] - b) < 1e-4);
    assert_int_equal(f.items[0].correct, b > a);
    assert_true(f.r.accuracy_norm < 0 && f.r.perplexity < 0);
    tear_down(&f);
}

/* What the model itself would write counts, anything else does not. */
static void the_likeliest_words(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, true, TINY_BPE);
    double log_sums[2];
    acc_scorer s = scorer(&f, 2, log_sums);
    f.sp.max_logits = 2;
    assert_int_equal(accllm_session_create(&s.s, f.m, &f.sp, NULL), ACCLLM_OK);
    int32_t ids[12] = {40, 50, 60, 70, 80};
    for (size_t n = 5; n < 12; n++) {
        const float *logits;
        accllm_session_reset(s.s);
        assert_int_equal(accllm_session_eval(s.s, ids, n, 1, &logits, NULL), ACCLLM_OK);
        for (int32_t j = 0; j < 300; j++)
            if (logits[j] > logits[ids[n]]) ids[n] = j;
    }
    for (size_t wrong = 4; wrong < 12; wrong++) {
        int32_t copy[12];
        memcpy(copy, ids, sizeof copy);
        if (wrong > 4) copy[wrong] = (copy[wrong] + 1) % 300;
        acc_task_tokens t = {copy, 12, 5};
        acc_task_score score;
        assert_int_equal(acc_task_score_all(&s, &t, 1, &score, NULL), ACCLLM_OK);
        assert_int_equal(score.greedy, wrong == 4);
        assert_int_equal(score.tokens, 7);
    }
    accllm_session_free(&s.s);
    tear_down(&f);
}

/* Where all tokens are as likely, the model would write the one of the lowest id. */
static void of_equal_words_the_first_counts(void **state)
{
    (void)state;
    static const float zeros[300];
    fixture f;
    set_up(&f, true, TINY_BPE);
    f.m->packed->output.rscale = zeros;
    double log_sums[2];
    acc_scorer s = scorer(&f, 2, log_sums);
    f.sp.max_logits = 2;
    assert_int_equal(accllm_session_create(&s.s, f.m, &f.sp, NULL), ACCLLM_OK);
    for (int32_t last = 0; last < 300; last += 13) {
        int32_t ids[3] = {40, 50, last};
        const acc_task_tokens t = {ids, 3, 2};
        acc_task_score score;
        assert_int_equal(acc_task_score_all(&s, &t, 1, &score, NULL), ACCLLM_OK);
        assert_true(fabs(score.logprob + log(300)) < 1e-9);
        assert_int_equal(score.greedy, last == 0);
    }
    accllm_session_free(&s.s);
    tear_down(&f);
}

static void limits_and_long_items(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, true, TINY_BPE);
    f.p.limit = 2;
    evaluate(&f, choices_file);
    assert_int_equal(f.r.n, 2);
    f.p.limit = 0;
    f.sp.full_attention = true;
    f.sp.n_ctx = 20;
    evaluate(&f, choices_file);
    assert_true(f.r.n == 3 && f.r.truncated == 3); /* more than 20 tokens: the end of each is scored */
    f.sp.n_ctx = 1;                                /* too few to score anything: one token and the next */
    evaluate(&f, choices_file);
    assert_true(f.r.n == 3 && f.r.truncated == 3 && f.r.tokens == 8); /* of each choice the last token */
    f.sp.n_ctx = 20;
    evaluate(&f, choices_file);
    const accllm_tokenizer *tok = accllm_model_tokenizer(f.m);
    int32_t *ids;
    size_t n;
    char whole[128];
    (void)snprintf(whole, sizeof whole, "%s %s", expected[0].context, expected[0].choice[1]);
    assert_int_equal(accllm_tokenize(tok, whole, strlen(whole), 0, &ids, &n, NULL), ACCLLM_OK);
    double log_sums[8];
    acc_scorer s = scorer(&f, 8, log_sums);
    f.sp.max_logits = 8;
    assert_int_equal(accllm_session_create(&s.s, f.m, &f.sp, NULL), ACCLLM_OK);
    acc_task_tokens t = {ids + n - 20, 20, 20 - 3};
    acc_task_score score;
    assert_int_equal(acc_task_score_all(&s, &t, 1, &score, NULL), ACCLLM_OK);
    assert_true(fabs(score.logprob - f.logprob[0][1]) < 1e-4);
    accllm_session_free(&s.s);
    free(ids);
    tear_down(&f);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, true, TINY_BPE);
    const size_t len = sizeof choices_file - 1;
    f.p.type = "essay";
    assert_int_equal(accllm_eval_tasks(f.m, &f.sp, choices_file, len, &f.p, &f.r, &f.err), ACCLLM_E_ARG);
    f.p.type = "schema";
    assert_int_equal(accllm_eval_tasks(f.m, &f.sp, choices_file, len, &f.p, &f.r, &f.err), ACCLLM_E_FORMAT);
    assert_non_null(strstr(f.err.text, "line 1: \"context_options\" is missing"));
    f.p.type = NULL;
    assert_int_equal(accllm_eval_tasks(f.m, &f.sp, choices_file, len - 1, &f.p, &f.r, &f.err), ACCLLM_E_FORMAT);
    assert_non_null(strstr(f.err.text, "line 4, column"));
    assert_int_equal(f.n, 0); /* nothing is computed before all is read */
    assert_int_equal(accllm_eval_tasks(f.m, &f.sp, " \n", 2, &f.p, &f.r, &f.err), ACCLLM_E_FORMAT);
    assert_int_equal(accllm_eval_tasks(f.m, &f.sp, "", 0, &f.p, &f.r, &f.err), ACCLLM_E_FORMAT);
    accllm_runtime_abort(f.rt);
    assert_int_equal(accllm_eval_tasks(f.m, &f.sp, choices_file, len, &f.p, &f.r, &f.err), ACCLLM_E_CANCELLED);
    f.p.struct_size = 1;
    assert_int_equal(accllm_eval_tasks(f.m, &f.sp, choices_file, len, &f.p, &f.r, &f.err), ACCLLM_E_ARG);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_against_whole_sequences),
        cmocka_unit_test(last_words_and_schemas),
        cmocka_unit_test(the_likeliest_words),
        cmocka_unit_test(of_equal_words_the_first_counts),
        cmocka_unit_test(limits_and_long_items),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests_name("tasks", tests, NULL, NULL);
}
