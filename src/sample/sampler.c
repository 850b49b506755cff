/* Truncation and drawing; the rules are in accllm/sampler.h. */
#include "accllm/sampler.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/status.h"
#include "sample/candidates.h"

#define MAX_VOCAB (1u << 19) /* so many weights (sample/candidates.h) sum exactly in a double */
#define MAX_REPEAT_LAST (1u << 20)

struct accllm_sampler {
    accllm_sampler_params p;
    float *adjusted; /* [n_vocab]: logits after the repetition penalty */
    int32_t *recent; /* [repeat_last] ring of accepted ids */
    uint64_t n_accepted;
    acc_candidates c;
};

void accllm_sampler_params_init(accllm_sampler_params *p)
{
    *p = (accllm_sampler_params){
        .struct_size = sizeof *p,
        .temperature = 0.7f,
        .top_p = 0.95f,
        .repeat_penalty = 1.0f,
        .repeat_last = 64,
    };
}

static accllm_status check_params(const accllm_sampler_params *p, uint32_t n_vocab, accllm_error *err)
{
    if (!p || p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "sampler: the parameters were not set by accllm_sampler_params_init()");
    if (n_vocab == 0 || n_vocab > MAX_VOCAB)
        return acc_fail(err, ACCLLM_E_LIMIT, "sampler: a vocabulary of %u tokens, 1 to %u are supported", n_vocab,
                        MAX_VOCAB);
    if (!(p->temperature >= 0) || !isfinite(p->temperature))
        return acc_fail(err, ACCLLM_E_ARG, "sampler: the temperature must be 0 or more");
    if (!(p->top_p >= 0 && p->top_p <= 1)) return acc_fail(err, ACCLLM_E_ARG, "sampler: top-p must be 0 to 1");
    if (!(p->min_p >= 0 && p->min_p <= 1)) return acc_fail(err, ACCLLM_E_ARG, "sampler: min-p must be 0 to 1");
    if (!(p->repeat_penalty > 0) || !isfinite(p->repeat_penalty))
        return acc_fail(err, ACCLLM_E_ARG, "sampler: the repetition penalty must be above 0");
    if (p->repeat_last > MAX_REPEAT_LAST)
        return acc_fail(err, ACCLLM_E_LIMIT, "sampler: the repetition penalty looks back %u tokens at most",
                        MAX_REPEAT_LAST);
    return ACCLLM_OK;
}

static accllm_status take_memory(accllm_sampler *s, uint32_t n_vocab, accllm_error *err)
{
    ACC_TRY(acc_candidates_create(&s->c, n_vocab, err));
    if (s->p.repeat_last == 0) return ACCLLM_OK;
    ACC_TRY(acc_alloc((void **)&s->adjusted, n_vocab, sizeof *s->adjusted, "sampler", err));
    return acc_alloc((void **)&s->recent, s->p.repeat_last, sizeof *s->recent, "sampler", err);
}

accllm_status accllm_sampler_create(accllm_sampler **out, const accllm_sampler_params *p, uint32_t n_vocab,
                                    accllm_error *err)
{
    *out = NULL;
    ACC_TRY(check_params(p, n_vocab, err));
    accllm_sampler *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: sampler");
    s->p = *p;
    if (p->repeat_penalty == 1.0f) s->p.repeat_last = 0;
    accllm_status status = take_memory(s, n_vocab, err);
    if (status == ACCLLM_OK)
        *out = s;
    else
        accllm_sampler_free(&s);
    return status;
}

void accllm_sampler_free(accllm_sampler **s)
{
    if (!s || !*s) return;
    acc_candidates_free(&(*s)->c);
    acc_free((*s)->adjusted);
    acc_free((*s)->recent);
    acc_free(*s);
    *s = NULL;
}

void accllm_sampler_accept(accllm_sampler *s, int32_t id)
{
    if (s->p.repeat_last == 0 || id < 0 || (uint32_t)id >= s->c.n_vocab) return;
    s->recent[s->n_accepted % s->p.repeat_last] = id;
    s->n_accepted++;
}

/* Each recent token is penalised once, however often it occurred: its value is computed from the original. */
static const float *penalise(accllm_sampler *s, const float *logits)
{
    if (s->p.repeat_last == 0 || s->n_accepted == 0) return logits;
    memcpy(s->adjusted, logits, s->c.n_vocab * sizeof *logits);
    uint64_t n = s->n_accepted < s->p.repeat_last ? s->n_accepted : s->p.repeat_last;
    for (uint64_t i = 0; i < n; i++) {
        float x = logits[s->recent[i]];
        s->adjusted[s->recent[i]] = x > 0 ? x / s->p.repeat_penalty : x * s->p.repeat_penalty;
    }
    return s->adjusted;
}

static int32_t first_allowed(const accllm_sampler *s, const uint64_t *allowed)
{
    for (uint32_t w = 0; w <= (s->c.n_vocab - 1) / 64; w++)
        if (allowed[w]) return (int32_t)(w * 64 + (uint32_t)__builtin_ctzll(allowed[w]));
    return -1;
}

/* A point of the whole mass z, always below it: a product that was rounded up to z must not pass the last candidate. */
static double draw_point(const accllm_sampler *s, uint64_t position, double z)
{
    double x = acc_random_unit(s->p.seed, position) * z;
    return x < z ? x : z - 0.5;
}

/* The first n collected candidates are kept, whatever their weight. */
static uint32_t keep_first(accllm_sampler *s, uint32_t n)
{
    return acc_collected_reach(&s->c, s->c.n, n * ACC_WEIGHT_ONE, INFINITY, false);
}

/* Collects and puts first what top-k, top-p and min-p leave; returns their number. range: how far below the largest
 * logit there can be any. */
static uint32_t keep(accllm_sampler *s, double range)
{
    acc_candidates *c = &s->c;
    const double p = (double)s->p.top_p;
    const bool nucleus = p < 1;
    double z = 0;
    uint32_t n;
    if (s->p.top_k > 0) {
        acc_candidates_collect(c, s->p.top_k * ACC_WEIGHT_ONE, INFINITY, range);
        n = keep_first(s, s->p.top_k);
        if (nucleus) z = acc_collected_mass(c, 0, n, 1);
    } else {
        /* with some to spare: the cut itself follows below */
        if (s->p.min_p > 0) range = fmin(range, 1 - log((double)s->p.min_p));
        if (nucleus) z = acc_candidates_mass(c, 1);
        acc_candidates_collect(c, nucleus ? p * z : INFINITY, 1, range);
        n = c->n;
    }
    if (nucleus) n = acc_collected_reach(c, n, p * z, 1, false);
    if (s->p.min_p > 0) n = keep_first(s, acc_collected_above(c, n, s->p.min_p));
    return n;
}

int32_t accllm_sampler_draw(accllm_sampler *s, const float *logits, uint64_t position)
{
    return accllm_sampler_draw_from(s, logits, position, NULL);
}

int32_t accllm_sampler_draw_from(accllm_sampler *s, const float *logits, uint64_t position, const uint64_t *allowed)
{
    acc_candidates *c = &s->c;
    acc_candidates_look(c, penalise(s, logits), allowed);
    if (allowed && isinf(c->max) && c->max < 0) return first_allowed(s, allowed);
    const double t = (double)s->p.temperature;
    if (t == 0 || s->p.top_k == 1 || isinf(c->max)) return acc_candidates_likeliest(c);
    /* With top-p the weights at temperature 1 decide what has none at all; else those at t. */
    const double range = ACC_WEIGHT_RANGE * (s->p.top_p < 1 ? 1 : t);
    double x;
    uint32_t n;
    if (s->p.top_k == 0 && s->p.top_p == 1 && s->p.min_p == 0) {
        x = draw_point(s, position, acc_candidates_mass(c, t));
        acc_candidates_collect(c, x, t, range);
        n = c->n;
    } else {
        n = keep(s, range);
        x = draw_point(s, position, acc_collected_mass(c, 0, n, t));
    }
    return acc_collected_id(c, acc_collected_reach(c, n, x, t, true) - 1);
}
