/* Perplexity and KL over the public interface, on tiny random models. */
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
#include "support/tiny.h"

static const char text[] =
    "The keeper climbed the stairs every evening, lamp in hand, and counted the steps aloud so that the wind would not "
    "steal his thoughts. On the last step he paused, because the window there looked out over the reef.";

typedef struct fixture {
    accllm_runtime *rt;
    accllm_model *m;
    accllm_session_params sp;
    accllm_ppl_params p;
    accllm_ppl_result r;
    accllm_error err;
} fixture;

static accllm_model *open_tiny(accllm_runtime *rt, uint64_t seed, tiny_tokenizer tokenizer)
{
    accllm_error err;
    accllm_model *m;
    tiny_options o = tiny_defaults();
    o.seed = seed;
    o.tokenizer = tokenizer;
    char *path = tiny_path("eval");
    assert_int_equal(tiny_write(path, &o, &err), ACCLLM_OK);
    if (accllm_model_open(&m, rt, path, NULL, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    (void)unlink(path);
    free(path);
    return m;
}

static void set_up(fixture *f, tiny_tokenizer tokenizer)
{
    *f = (fixture){0};
    accllm_runtime_params rp;
    accllm_runtime_params_init(&rp);
    rp.n_threads = 2;
    assert_int_equal(accllm_runtime_create(&f->rt, &rp, &f->err), ACCLLM_OK);
    f->m = open_tiny(f->rt, 1, tokenizer);
    accllm_session_params_init(&f->sp);
    accllm_ppl_params_init(&f->p);
    f->p.ctx = 64;
}

static void tear_down(fixture *f)
{
    accllm_ppl_result_free(&f->r);
    accllm_model_free(&f->m);
    accllm_runtime_free(&f->rt);
}

static void ppl(fixture *f)
{
    accllm_ppl_result_free(&f->r);
    if (accllm_eval_ppl(f->m, &f->sp, text, sizeof text - 1, &f->p, &f->r, &f->err) != ACCLLM_OK)
        fail_msg("%s", f->err.text);
}

/* The whole text in one go, scored here. */
static double direct_nll(fixture *f, size_t *n_scored, size_t *bytes)
{
    const accllm_tokenizer *tok = accllm_model_tokenizer(f->m);
    size_t n, n_vocab = accllm_model_get_info(f->m)->n_vocab;
    int32_t *ids;
    unsigned flags = accllm_tokenizer_adds_bos(tok) ? ACCLLM_TOKENIZE_BOS : 0;
    assert_int_equal(accllm_tokenize(tok, text, sizeof text - 1, flags, &ids, &n, &f->err), ACCLLM_OK);
    accllm_session *s;
    accllm_session_params sp = f->sp;
    sp.max_logits = (uint32_t)n;
    const float *logits;
    assert_int_equal(accllm_session_create(&s, f->m, &sp, &f->err), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(s, ids, n, n, &logits, &f->err), ACCLLM_OK);
    double total = 0;
    *bytes = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        const float *row = logits + i * n_vocab;
        double sum = 0;
        size_t len;
        for (size_t j = 0; j < n_vocab; j++) sum += exp((double)row[j]);
        total += log(sum) - (double)row[ids[i + 1]];
        (void)accllm_token_bytes(tok, ids[i + 1], &len);
        *bytes += len;
    }
    *n_scored = n - 1;
    accllm_session_free(&s);
    free(ids);
    return total;
}

static void count_calls(void *user, double fraction, double so_far, double left)
{
    int *calls = user;
    assert_true(fraction > 0 && fraction <= 1.0 + 1e-9 && so_far > 1 && left > -1e-3);
    ++*calls;
}

static void one_window_is_the_whole_text(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        fixture f;
        size_t n, bytes;
        int calls = 0;
        set_up(&f, which ? TINY_SPM : TINY_BPE);
        f.p.ctx = 500;
        f.p.progress = count_calls;
        f.p.user = &calls;
        f.sp.max_logits = 50;
        f.sp.full_attention = which;
        double nll = direct_nll(&f, &n, &bytes);
        ppl(&f);
        assert_true(calls > 1 && f.r.buckets == NULL);
        assert_int_equal(f.r.tokens, n);
        assert_true(fabs(f.r.nll - nll / (double)n) < 1e-5 && fabs(f.r.ppl - exp(f.r.nll)) < 1e-9 * f.r.ppl);
        assert_true(fabs(f.r.nats_per_byte - nll / (double)bytes) < 1e-5);
        f.p.stream = true;
        f.p.bucket = 20;
        ppl(&f);
        assert_true(fabs(f.r.nll - nll / (double)n) < 1e-5);
        tear_down(&f);
    }
}

static void buckets_cover_the_text_and_add_up(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_BPE);
    f.sp.sinks = 4;
    f.sp.window = 40;
    f.p.bucket = 30;
    for (int which = 0; which < 2; which++) {
        f.p.stream = !which;
        f.p.stride = which ? 16 : 0;
        ppl(&f);
        double nll = 0;
        uint64_t at = f.r.buckets[0].from, first = at;
        for (size_t i = 0; i < f.r.n_buckets; i++) {
            const accllm_ppl_bucket *b = &f.r.buckets[i];
            assert_true(b->from == at && b->to > b->from && (b->to % 30 == 0 || i + 1 == f.r.n_buckets));
            assert_true(b->rss_bytes > 0);
            nll += log(b->ppl) * (double)(b->to - b->from);
            at = b->to;
        }
        assert_int_equal(at - first, f.r.tokens);
        assert_true(fabs(nll / (double)f.r.tokens - f.r.nll) < 1e-9);
    }
    f.p.max_tokens = 50;
    ppl(&f);
    assert_int_equal(f.r.buckets[f.r.n_buckets - 1].to, 50);
    tear_down(&f);
}

/* The BOS stands where it is said to: each way against its own tokens, scored here one window after the other. */
static double windows_nll(fixture *f, const int32_t *ids, size_t n, accllm_bos mode, size_t *scored)
{
    const int32_t bos = accllm_tokenizer_bos(accllm_model_tokenizer(f->m));
    const size_t n_vocab = accllm_model_get_info(f->m)->n_vocab;
    double nll = 0;
    *scored = 0;
    for (size_t at = 0, windows = 0; at < n; windows++) {
        int32_t window[64];
        size_t len = 0;
        if (mode == ACCLLM_BOS_WINDOW || (mode == ACCLLM_BOS_ONCE && windows == 0)) window[len++] = bos;
        while (len < 64 && at < n) window[len++] = ids[at++];
        accllm_session *s;
        accllm_session_params sp = f->sp;
        const float *logits;
        sp.max_logits = 64;
        assert_int_equal(accllm_session_create(&s, f->m, &sp, &f->err), ACCLLM_OK);
        assert_int_equal(accllm_session_eval(s, window, len, len, &logits, &f->err), ACCLLM_OK);
        for (size_t i = 0; i + 1 < len; i++, ++*scored) {
            double sum = 0;
            for (size_t j = 0; j < n_vocab; j++) sum += exp((double)logits[i * n_vocab + j]);
            nll += log(sum) - (double)logits[i * n_vocab + (size_t)window[i + 1]];
        }
        accllm_session_free(&s);
    }
    return nll;
}

static void beginnings_of_text(void **state)
{
    (void)state;
    const size_t span[] = {64, 64, 64, 63};
    for (int spm = 0; spm < 2; spm++) {
        fixture f;
        int32_t *ids;
        size_t n, scored;
        set_up(&f, spm ? TINY_SPM : TINY_BPE);
        const accllm_tokenizer *tok = accllm_model_tokenizer(f.m);
        assert_int_equal(accllm_tokenizer_adds_bos(tok), spm);
        assert_int_equal(accllm_tokenize(tok, text, sizeof text - 1, 0, &ids, &n, &f.err), ACCLLM_OK);
        for (int mode = ACCLLM_BOS_AUTO; mode <= ACCLLM_BOS_WINDOW; mode++) {
            accllm_bos is = mode ? (accllm_bos)mode : spm ? ACCLLM_BOS_WINDOW : ACCLLM_BOS_NONE;
            double nll = windows_nll(&f, ids, n, is, &scored);
            f.p.bos = (accllm_bos)mode;
            ppl(&f);
            assert_int_equal(f.r.bos, is);
            assert_int_equal(f.r.tokens, scored);
            assert_int_equal(f.r.windows, (n + (is == ACCLLM_BOS_ONCE) + span[is] - 1) / span[is]);
            assert_true(fabs(f.r.nll - nll / (double)scored) < 1e-5);
        }
        free(ids);
        tear_down(&f);
    }
}

static void keep_value(void *user, double fraction, double so_far, double left)
{
    (void)fraction, (void)left;
    *(double *)user = so_far;
}

static void divergence_of_models(void **state)
{
    (void)state;
    fixture f;
    accllm_kl_result same, other;
    double last = -1;
    set_up(&f, TINY_BPE);
    accllm_model *ref = open_tiny(f.rt, 2, TINY_BPE);
    assert_int_equal(accllm_eval_kl(f.m, f.m, &f.sp, &f.sp, text, sizeof text - 1, &f.p, &same, &f.err), ACCLLM_OK);
    assert_true(fabs(same.kl_mean) < 1e-9 && same.top1_agreement == 1.0 && same.tokens > 100);
    f.p.progress = keep_value;
    f.p.user = &last;
    assert_int_equal(accllm_eval_kl(f.m, ref, &f.sp, &f.sp, text, sizeof text - 1, &f.p, &other, &f.err), ACCLLM_OK);
    assert_true(last == other.kl_mean);
    assert_true(other.kl_mean > 0.01 && other.top1_agreement < 0.9 && other.tokens == same.tokens);
    accllm_model_free(&ref);
    tear_down(&f);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, TINY_BPE);
    f.p.stride = 65;
    assert_int_equal(accllm_eval_ppl(f.m, &f.sp, text, 50, &f.p, &f.r, &f.err), ACCLLM_E_ARG);
    f.p.stride = 0;
    assert_int_equal(accllm_eval_ppl(f.m, &f.sp, text, 0, &f.p, &f.r, &f.err), ACCLLM_E_ARG);
    f.p.bucket = 0;
    assert_int_equal(accllm_eval_ppl(f.m, &f.sp, text, 50, &f.p, &f.r, &f.err), ACCLLM_E_ARG);
    accllm_ppl_params_init(&f.p);
    f.p.struct_size = 3;
    assert_int_equal(accllm_eval_ppl(f.m, &f.sp, text, 50, &f.p, &f.r, &f.err), ACCLLM_E_ARG);
    assert_int_equal(accllm_eval_ppl(f.m, &f.sp, text, 50, NULL, &f.r, &f.err), ACCLLM_E_ARG);
    accllm_ppl_params_init(&f.p);
    accllm_runtime_abort(f.rt);
    assert_int_equal(accllm_eval_ppl(f.m, &f.sp, text, 50, &f.p, &f.r, &f.err), ACCLLM_E_CANCELLED);
    assert_null(f.r.buckets);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_window_is_the_whole_text), cmocka_unit_test(buckets_cover_the_text_and_add_up),
        cmocka_unit_test(beginnings_of_text),           cmocka_unit_test(divergence_of_models),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests_name("eval", tests, NULL, NULL);
}
