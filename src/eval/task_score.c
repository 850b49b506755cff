/* The likelihood of a continuation after a context, and of several that begin alike. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/task.h"
#include "eval/walk.h"
#include "reference/logits.h"

void acc_task_tokens_free(acc_task_tokens *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        free(t[i].ids);
        t[i] = (acc_task_tokens){0};
    }
}

/* Bytes of the context without the blanks at its end. */
static size_t bare_length(const char *context)
{
    size_t n = strlen(context);
    while (n > 0 && (context[n - 1] == ' ' || (context[n - 1] >= '\t' && context[n - 1] <= '\r'))) n--;
    return n;
}

/* The token before everything, -1: none. An empty context needs one even where the tokenizer adds none. */
static int32_t lead_token(const acc_scorer *s, bool needed)
{
    int32_t bos = accllm_tokenizer_bos(s->tok), eos = accllm_tokenizer_eos(s->tok);
    if (accllm_tokenizer_adds_bos(s->tok)) return bos;
    return needed ? bos >= 0 ? bos : eos : -1;
}

/* lead, the context's own tokens, then those of the whole text behind them. */
static accllm_status put_together(acc_scorer *s, const int32_t *context, size_t n_context, const int32_t *whole,
                                  size_t n_whole, acc_task_tokens *out, accllm_error *err)
{
    int32_t lead = lead_token(s, n_context == 0);
    if (n_whole == 0) return acc_fail(err, ACCLLM_E_FORMAT, "a context and its continuation have no tokens");
    if (n_context >= n_whole) n_context = n_whole - 1; /* the continuation melted into the context's last token */
    if (n_context == 0 && lead < 0)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "an empty context, and the tokenizer has no token to begin with");
    size_t n_lead = lead >= 0;
    out->ids = malloc((n_whole + n_lead) * sizeof *out->ids);
    if (!out->ids) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: tokens");
    if (n_lead) out->ids[0] = lead;
    if (n_context) memcpy(out->ids + n_lead, context, n_context * sizeof *context);
    memcpy(out->ids + n_lead + n_context, whole + n_context, (n_whole - n_context) * sizeof *whole);
    out->n = n_whole + n_lead;
    out->first = n_context + n_lead;
    for (size_t i = 0; i < out->n; i++)
        if (out->ids[i] < 0 || (size_t)out->ids[i] >= s->n_vocab)
            return acc_fail(err, ACCLLM_E_FORMAT, "token %d is outside the vocabulary of %zu", out->ids[i], s->n_vocab);
    return ACCLLM_OK;
}

/* The end of a sequence that is too long. */
static bool cut_front(acc_task_tokens *t, size_t limit)
{
    if (t->n <= limit) return false;
    size_t drop = t->n - limit;
    memmove(t->ids, t->ids + drop, limit * sizeof *t->ids);
    t->n = limit;
    t->first = t->first > drop ? t->first - drop : 1;
    return true;
}

static accllm_status tokenize_pair(acc_scorer *s, const acc_task_pair *p, acc_task_tokens *out, accllm_error *err)
{
    int32_t *context = NULL, *whole = NULL;
    size_t n_context, n_whole, n = strlen(p->context), tail = strlen(p->continuation);
    char *text = malloc(n + tail + 1);
    if (!text) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: task item");
    memcpy(text, p->context, n);
    memcpy(text + n, p->continuation, tail);
    accllm_status status = accllm_tokenize(s->tok, text, bare_length(p->context), 0, &context, &n_context, err);
    if (status == ACCLLM_OK) status = accllm_tokenize(s->tok, text, n + tail, 0, &whole, &n_whole, err);
    if (status == ACCLLM_OK) status = put_together(s, context, n_context, whole, n_whole, out, err);
    free(text);
    free(context);
    free(whole);
    return status;
}

accllm_status acc_task_tokenize(acc_scorer *s, const acc_task_item *item, acc_task_tokens *out, accllm_error *err)
{
    memset(out, 0, item->n * sizeof *out);
    bool cut = false;
    for (uint32_t i = 0; i < item->n; i++) {
        ACC_TRY(tokenize_pair(s, &item->pair[i], &out[i], err));
        cut |= cut_front(&out[i], s->limit);
    }
    s->truncated += cut;
    return ACCLLM_OK;
}

size_t acc_task_shared(const acc_task_tokens *t, uint32_t n)
{
    /* the token before the first scored one is left: its logits are needed */
    size_t shared = n > 1 ? t[0].first - 1 : 0;
    for (uint32_t i = 1; i < n; i++) {
        size_t most = t[i].first - 1 < shared ? t[i].first - 1 : shared, same = 0;
        while (same < most && t[i].ids[same] == t[0].ids[same]) same++;
        shared = same;
    }
    return shared;
}

static accllm_status score_row(const acc_scorer *s, const float *row, double log_sum, int32_t target,
                               acc_task_score *score, accllm_error *err)
{
    double p = (double)row[target] - log_sum;
    if (!isfinite(p)) return acc_fail(err, ACCLLM_E_NUMERIC, "a likelihood is not finite");
    score->logprob += p;
    score->tokens++;
    for (size_t i = 0; i < s->n_vocab && score->greedy; i++)
        if (row[i] > row[target] || (row[i] == row[target] && i < (size_t)target)) score->greedy = false;
    return ACCLLM_OK;
}

/* The session has read t->ids[0, from); from < t->first. */
static accllm_status score_one(acc_scorer *s, const acc_task_tokens *t, size_t from, acc_task_score *score,
                               accllm_error *err)
{
    *score = (acc_task_score){.greedy = true};
    for (size_t at = from; at + 1 < t->n;) {
        size_t n = t->n - 1 - at; /* what follows the last token is of no use */
        size_t rows = at + n - (at > t->first - 1 ? at : t->first - 1);
        if (rows > s->rows) n -= rows - s->rows, rows = s->rows;
        const float *logits;
        ACC_TRY(accllm_session_eval(s->s, t->ids + at, n, rows, &logits, err));
        at += n;
        acc_log_sum_exp_rows(s->pool, logits, (uint32_t)rows, s->n_vocab, s->log_sums);
        for (size_t i = 0; i < rows; i++)
            ACC_TRY(score_row(s, logits + i * s->n_vocab, s->log_sums[i], t->ids[at - rows + i + 1], score, err));
    }
    return ACCLLM_OK;
}

accllm_status acc_task_score_all(acc_scorer *s, const acc_task_tokens *t, uint32_t n, acc_task_score *scores,
                                 accllm_error *err)
{
    size_t shared = acc_task_shared(t, n);
    accllm_session_reset(s->s);
    if (shared) ACC_TRY(accllm_session_eval(s->s, t[0].ids, shared, 0, NULL, err));
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && shared && accllm_session_rewind(s->s, shared, NULL) != ACCLLM_OK) shared = 0;
        if (i > 0 && shared == 0) accllm_session_reset(s->s);
        ACC_TRY(score_one(s, &t[i], shared, &scores[i], err));
    }
    return ACCLLM_OK;
}
