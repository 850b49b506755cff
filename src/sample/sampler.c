/*
 * Truncation and drawing; the rules are in accllm/sampler.h.
 *
 * The order (logit descending, id ascending) is needed at the cuts alone: candidates are put into buckets by logit,
 * whole buckets are summed unsorted (sums of weights are exact), and only a bucket that a cut goes through is sorted.
 */
#include "accllm/sampler.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/status.h"
#include "sample/exp.h"

/* Weights are integers up to 2^34 here; 2^19 of them sum exactly in a double, whatever the order. */
#define WEIGHT_ONE 0x1p34
#define MAX_VOCAB (1u << 19)
#define MAX_REPEAT_LAST (1u << 20)
#define WEIGHT_RANGE 24.5 /* e^-24.5 * 2^34 < 1/2: the weight is zero beyond */
enum { N_BUCKETS = 2048, BLOCK = 256 };

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct accllm_sampler {
    accllm_sampler_params p;
    uint32_t n_vocab;
    float *adjusted; /* [n_vocab]: logits after the repetition penalty, of allowed tokens */
    int32_t *recent; /* [repeat_last] ring of accepted ids */
    uint64_t n_accepted;
    /* one draw's work */
    candidate *c;                  /* [n_vocab], bucket by bucket, the largest logits first */
    uint32_t start[N_BUCKETS + 2]; /* of each bucket in c */
    double mass[N_BUCKETS + 1];    /* sum of the weights of each bucket */
    double max, per_nat;           /* largest logit, buckets per unit of logit */
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

accllm_status accllm_sampler_create(accllm_sampler **out, const accllm_sampler_params *p, uint32_t n_vocab,
                                    accllm_error *err)
{
    *out = NULL;
    ACC_TRY(check_params(p, n_vocab, err));
    accllm_sampler *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: sampler");
    s->p = *p;
    s->n_vocab = n_vocab;
    s->c = acc_calloc(n_vocab, sizeof *s->c);
    s->adjusted = acc_calloc(n_vocab, sizeof *s->adjusted);
    if (p->repeat_penalty != 1.0f && p->repeat_last > 0)
        s->recent = acc_calloc(p->repeat_last, sizeof *s->recent);
    else
        s->p.repeat_last = 0;
    if (!s->c || !s->adjusted || (s->p.repeat_last > 0 && !s->recent)) {
        accllm_sampler_free(&s);
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: sampler for %u tokens", n_vocab);
    }
    *out = s;
    return ACCLLM_OK;
}

void accllm_sampler_free(accllm_sampler **s)
{
    if (!s || !*s) return;
    acc_free((*s)->adjusted);
    acc_free((*s)->recent);
    acc_free((*s)->c);
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

static const float *leave_allowed(accllm_sampler *s, const float *logits, const uint64_t *allowed)
{
    if (!allowed) return logits;
    for (uint32_t i = 0; i < s->n_vocab; i++) s->adjusted[i] = allowed[i / 64] >> i % 64 & 1 ? logits[i] : -INFINITY;
    return s->adjusted;
}

static int32_t first_allowed(const accllm_sampler *s, const uint64_t *allowed)
{
    for (uint32_t w = 0; w <= (s->n_vocab - 1) / 64; w++)
        if (allowed[w]) return (int32_t)(w * 64 + (uint32_t)__builtin_ctzll(allowed[w]));
    return -1;
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

static inline double weight(double x)
{
    /* 1.5 * 2^52 pushes the fraction out: round to nearest, ties to even. */
    return (acc_sample_exp(x) * WEIGHT_ONE + 0x1.8p52) - 0x1.8p52;
}

/* The weight of a candidate at a temperature. */
static inline double weight_of(const accllm_sampler *s, candidate c, double t)
{
    return weight(((double)c.logit - s->max) / t);
}

/* Buckets of n <= BLOCK logits. N_BUCKETS: minus infinity, not a number, or too small to have a weight. No branches: a
 * processor could not guess them. */
static void find_buckets(const accllm_sampler *s, const float *logits, uint32_t n, int32_t *bucket)
{
    const double max = s->max, per_nat = s->per_nat;
    double at[BLOCK];
    for (uint32_t i = 0; i < n; i++) at[i] = (max - (double)logits[i]) * per_nat;
    for (uint32_t i = 0; i < n; i++) at[i] = at[i] < N_BUCKETS ? at[i] : N_BUCKETS; /* also for NaN */
    for (uint32_t i = 0; i < n; i++) bucket[i] = (int32_t)at[i];
}

static inline uint32_t block_size(const accllm_sampler *s, uint32_t first)
{
    return s->n_vocab - first < BLOCK ? s->n_vocab - first : BLOCK;
}

/* Sizes of the buckets into start[b + 1]; with a temperature above 0 also their masses. Returns the whole mass. */
static double measure(accllm_sampler *s, const float *logits, double t)
{
    int32_t bucket[BLOCK];
    memset(s->start, 0, sizeof s->start);
    memset(s->mass, 0, sizeof s->mass);
    for (uint32_t first = 0; first < s->n_vocab; first += BLOCK) {
        const float *l = logits + first;
        uint32_t n = block_size(s, first);
        find_buckets(s, l, n, bucket);
        for (uint32_t i = 0; i < n; i++) s->start[bucket[i] + 1]++;
        if (t == 0) continue;
        for (uint32_t i = 0; i < n; i++) s->mass[bucket[i]] += weight_of(s, (candidate){l[i], 0}, t);
    }
    double all = 0;
    for (uint32_t b = 0; b < N_BUCKETS; b++) {
        s->start[b + 1] += s->start[b];
        all += s->mass[b];
    }
    return all;
}

/* Puts the candidates of buckets 0..last in their places; there are no others from now on. */
static uint32_t collect(accllm_sampler *s, const float *logits, uint32_t last)
{
    int32_t bucket[BLOCK];
    uint32_t total = s->start[last + 1];
    for (uint32_t first = 0; first < s->n_vocab; first += BLOCK) {
        uint32_t n = block_size(s, first);
        find_buckets(s, logits + first, n, bucket);
        for (uint32_t i = 0; i < n; i++)
            if ((uint32_t)bucket[i] <= last)
                s->c[s->start[bucket[i]]++] = (candidate){logits[first + i], (int32_t)(first + i)};
    }
    for (uint32_t b = last + 1; b > 0; b--) s->start[b] = s->start[b - 1]; /* each had become its end */
    s->start[0] = 0;
    for (uint32_t b = last + 1; b <= N_BUCKETS; b++) s->start[b] = total;
    return total;
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
        if (child + 1 < n && before(heap[child], heap[child + 1])) child++;
        if (!before(x, heap[child])) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = x;
}

/* Heapsort: no memory of its own, never quadratic. */
static void sort_bucket(accllm_sampler *s, uint32_t b)
{
    candidate *c = s->c + s->start[b];
    uint32_t n = s->start[b + 1] - s->start[b];
    for (uint32_t i = n / 2; i-- > 0;) sift_down(c, n, i);
    for (uint32_t i = n; i-- > 1;) {
        candidate last = c[0];
        c[0] = c[i];
        c[i] = last;
        sift_down(c, i, 0);
    }
}

/* Makes the first n places hold the first n of the order. */
static void cut(accllm_sampler *s, uint32_t n)
{
    for (uint32_t b = 0; b < N_BUCKETS; b++)
        if (s->start[b] < n && n < s->start[b + 1]) sort_bucket(s, b);
}

static double mass_of(const accllm_sampler *s, uint32_t from, uint32_t to, double t)
{
    double sum = 0;
    for (uint32_t i = from; i < to; i++) sum += weight_of(s, s->c[i], t);
    return sum;
}

/* The first rank below n whose cumulative mass reaches x, or passes it where `pass`; n - 1 if none does. */
static uint32_t rank_at_mass(accllm_sampler *s, uint32_t n, double x, double t, bool pass)
{
    double sum = 0;
    for (uint32_t b = 0; b < N_BUCKETS && s->start[b] < n; b++) {
        uint32_t end = s->start[b + 1] < n ? s->start[b + 1] : n;
        double mass = mass_of(s, s->start[b], end, t);
        if (pass ? sum + mass > x : sum + mass >= x) {
            sort_bucket(s, b);
            for (uint32_t i = s->start[b]; i < end; i++) {
                sum += weight_of(s, s->c[i], t);
                if (pass ? sum > x : sum >= x) return i;
            }
        }
        sum += mass;
    }
    return n - 1;
}

/* The last bucket that holds one of the first n, or that takes the cumulative mass to x. */
static uint32_t bucket_of_rank(const accllm_sampler *s, uint32_t n)
{
    uint32_t b = 0;
    while (b < N_BUCKETS - 1 && s->start[b + 1] < n) b++;
    return b;
}

static uint32_t bucket_of_mass(const accllm_sampler *s, double x, bool pass)
{
    double sum = 0;
    for (uint32_t b = 0; b < N_BUCKETS; b++) {
        sum += s->mass[b];
        if (pass ? sum > x : sum >= x) return b;
    }
    return N_BUCKETS - 1;
}

/* A point of the whole mass z, always below it: a product that was rounded up to z must not pass the last candidate. */
static double draw_point(const accllm_sampler *s, uint64_t position, double z)
{
    double x = acc_random_unit(s->p.seed, position) * z;
    return x < z ? x : z - 0.5;
}

/* Fills c with what top-k, top-p and min-p leave, as its first places; returns their number. */
static uint32_t keep(accllm_sampler *s, const float *logits)
{
    bool nucleus = s->p.top_p < 1.0f;
    double z = measure(s, logits, nucleus && s->p.top_k == 0 ? 1.0 : 0.0), p = (double)s->p.top_p;
    uint32_t n = s->start[N_BUCKETS];
    bool top_k = s->p.top_k > 0 && s->p.top_k < n;
    if (top_k) {
        (void)collect(s, logits, bucket_of_rank(s, s->p.top_k));
        n = s->p.top_k;
        cut(s, n);
    } else {
        bool known = nucleus && s->p.top_k == 0;
        n = collect(s, logits, known ? bucket_of_mass(s, p * z, false) : N_BUCKETS - 1);
    }
    if (nucleus) {
        if (s->p.top_k > 0) z = mass_of(s, 0, n, 1.0);
        n = rank_at_mass(s, n, p * z, 1.0, false) + 1;
    }
    if (s->p.min_p > 0.0f) {
        uint32_t above = 0;
        for (uint32_t i = 0; i < n; i++) above += acc_sample_exp((double)s->c[i].logit - s->max) >= (double)s->p.min_p;
        n = above;
    }
    cut(s, n);
    return n;
}

int32_t accllm_sampler_draw(accllm_sampler *s, const float *logits, uint64_t position)
{
    return accllm_sampler_draw_from(s, logits, position, NULL);
}

int32_t accllm_sampler_draw_from(accllm_sampler *s, const float *logits, uint64_t position, const uint64_t *allowed)
{
    float max;
    const float *l = leave_allowed(s, penalise(s, logits), allowed);
    int32_t best = argmax(l, s->n_vocab, &max);
    if (allowed && isinf(max) && max < 0) return first_allowed(s, allowed);
    double t = (double)s->p.temperature;
    if (t == 0 || s->p.top_k == 1 || isinf(max)) return best;
    /* With top-p the weights at temperature 1 decide what has none at all; else those at t. */
    s->max = (double)max;
    s->per_nat = N_BUCKETS / (WEIGHT_RANGE * (s->p.top_p < 1.0f ? 1.0 : t));
    if (s->p.top_k == 0 && s->p.top_p == 1.0f && s->p.min_p == 0.0f) {
        double x = draw_point(s, position, measure(s, l, t));
        uint32_t n = collect(s, l, bucket_of_mass(s, x, true));
        return s->c[rank_at_mass(s, n, x, t, true)].id;
    }
    uint32_t n = keep(s, l);
    double x = draw_point(s, position, mass_of(s, 0, n, t));
    return s->c[rank_at_mass(s, n, x, t, true)].id;
}
