/* Truncation and drawing; the rules are in accllm/sampler.h. */
#include "accllm/sampler.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/status.h"
#include "sample/exp.h"

/* A weight is a multiple of 2^-34 in [0, 1]; 2^19 of them sum exactly in a double, whatever the order. */
#define WEIGHT_ONE 0x1p34
#define MAX_VOCAB (1u << 19)
#define MAX_REPEAT_LAST (1u << 20)
#define ZERO_WEIGHT_BELOW (-24.5) /* e^x * 2^34 < 1/2 */

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct accllm_sampler {
    accllm_sampler_params p;
    uint32_t n_vocab;
    float *adjusted; /* [n_vocab]: logits after the repetition penalty */
    int32_t *recent; /* [repeat_last] ring of accepted ids */
    uint64_t n_accepted;
    candidate *heap; /* [n_vocab]: a heap in [0, n_heap), then what was taken from it, the best at the end */
    uint32_t n_candidates, n_heap;
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
    if (p->struct_size != sizeof *p)
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

accllm_status accllm_sampler_create(accllm_sampler **out, const accllm_sampler_params *p, uint32_t n_vocab,
                                    accllm_error *err)
{
    *out = NULL;
    ACC_TRY(check_params(p, n_vocab, err));
    accllm_sampler *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: sampler");
    s->p = *p;
    s->n_vocab = n_vocab;
    s->heap = acc_calloc(n_vocab, sizeof *s->heap);
    if (p->repeat_penalty != 1.0f && p->repeat_last > 0) {
        s->adjusted = acc_calloc(n_vocab, sizeof *s->adjusted);
        s->recent = acc_calloc(p->repeat_last, sizeof *s->recent);
    } else {
        s->p.repeat_last = 0;
    }
    if (!s->heap || (s->p.repeat_last > 0 && (!s->adjusted || !s->recent))) {
        accllm_sampler_free(&s);
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: sampler for %u tokens", n_vocab);
    }
    *out = s;
    return ACCLLM_OK;
}

void accllm_sampler_free(accllm_sampler **s)
{
    if (!*s) return;
    acc_free((*s)->adjusted);
    acc_free((*s)->recent);
    acc_free((*s)->heap);
    acc_free(*s);
    *s = NULL;
}

void accllm_sampler_accept(accllm_sampler *s, int32_t id)
{
    if (s->p.repeat_last == 0 || id < 0 || (uint32_t)id >= s->n_vocab) return;
    s->recent[s->n_accepted % s->p.repeat_last] = id;
    s->n_accepted++;
}

/* Each recent token is penalised once, however often it occurred: its value is computed from the original. */
static const float *penalise(accllm_sampler *s, const float *logits)
{
    if (s->p.repeat_last == 0 || s->n_accepted == 0) return logits;
    memcpy(s->adjusted, logits, s->n_vocab * sizeof *logits);
    uint64_t n = s->n_accepted < s->p.repeat_last ? s->n_accepted : s->p.repeat_last;
    for (uint64_t i = 0; i < n; i++) {
        float x = logits[s->recent[i]];
        s->adjusted[s->recent[i]] = x > 0 ? x / s->p.repeat_penalty : x * s->p.repeat_penalty;
    }
    return s->adjusted;
}

static int32_t argmax(const float *logits, uint32_t n, float *max)
{
    int32_t best = 0;
    *max = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (logits[i] > *max) { /* false for NaN; strict, so the lowest id wins */
            *max = logits[i];
            best = (int32_t)i;
        }
    }
    return best;
}

static double weight(double x)
{
    if (x < ZERO_WEIGHT_BELOW) return 0.0;
    /* 1.5 * 2^52 pushes the fraction out: round to nearest, ties to even. */
    return (acc_sample_exp(x) * WEIGHT_ONE + 0x1.8p52) - 0x1.8p52;
}

/* True if a comes before b: higher logit, then lower id. */
static inline bool before(candidate a, candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift_down(candidate *heap, uint32_t n, uint32_t i)
{
    candidate x = heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], x)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = x;
}

/* The candidates whose logit is at least `least`. */
static void collect(accllm_sampler *s, const float *logits, double least)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        s->heap[n] = (candidate){logits[i], (int32_t)i};
        n += (double)logits[i] >= least && logits[i] > -INFINITY;
    }
    s->n_candidates = s->n_heap = n;
    for (uint32_t i = n / 2; i-- > 0;) sift_down(s->heap, n, i);
}

/* The candidate of the given rank. Ranks are sorted out only as far as they are asked for. */
static candidate ranked(accllm_sampler *s, uint32_t rank)
{
    while (s->n_candidates - s->n_heap <= rank) {
        candidate top = s->heap[0];
        s->n_heap--;
        s->heap[0] = s->heap[s->n_heap];
        if (s->n_heap > 1) sift_down(s->heap, s->n_heap, 0);
        s->heap[s->n_heap] = top;
    }
    return s->heap[s->n_candidates - 1 - rank];
}

/* Sum of the weights of the first n ranks; exact, so all candidates need no order. */
static double weight_sum(accllm_sampler *s, uint32_t n, double max, double temperature)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        candidate c = n == s->n_candidates ? s->heap[i] : ranked(s, i);
        sum += weight(((double)c.logit - max) / temperature);
    }
    return sum;
}

/* How many of the first `limit` ranks stay after top-p and min-p. */
static uint32_t count_kept(accllm_sampler *s, uint32_t limit, double max)
{
    bool nucleus = s->p.top_p<1.0f, floor = s->p.min_p> 0.0f;
    if (!nucleus && !floor) return limit;
    double need = nucleus ? (double)s->p.top_p * weight_sum(s, limit, max, 1.0) : INFINITY, sum = 0;
    for (uint32_t i = 0; i < limit; i++) {
        double d = (double)ranked(s, i).logit - max;
        if (i > 0 && floor && acc_sample_exp(d) < (double)s->p.min_p) return i;
        sum += weight(d);
        if (sum >= need) return i + 1;
    }
    return limit;
}

int32_t accllm_sampler_draw(accllm_sampler *s, const float *logits, uint64_t position)
{
    float max;
    const float *l = penalise(s, logits);
    int32_t best = argmax(l, s->n_vocab, &max);
    if (s->p.temperature == 0.0f || s->p.top_k == 1 || isinf(max)) return best;
    /* What has no weight at any later step needs no sorting: with top-p or min-p the weights at temperature 1 decide.
     */
    double t = (double)s->p.temperature;
    double spread = s->p.top_p < 1.0f ? 1.0 : t;
    collect(s, l, (double)max + ZERO_WEIGHT_BELOW * spread);
    uint32_t limit = s->n_candidates;
    if (s->p.top_k > 0 && s->p.top_k < limit) limit = s->p.top_k;
    uint32_t kept = count_kept(s, limit, (double)max);
    double target = acc_random_unit(s->p.seed, position) * weight_sum(s, kept, (double)max, t), sum = 0;
    for (uint32_t i = 0; i < kept; i++) {
        candidate c = ranked(s, i);
        double w = weight(((double)c.logit - (double)max) / t);
        sum += w;
        if (w > 0) best = c.id; /* stands if rounding lifts the target to the whole sum */
        if (sum > target) break;
    }
    return best;
}
