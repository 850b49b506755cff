#include "sample/candidates.h"

#include <float.h>
#include <math.h>

#include "core/clones.h"
#include "core/exp.h"
#include "core/memory.h"

#define BLOCK 64u /* tokens, as many as a word of the mask has bits */

accllm_status acc_candidates_create(acc_candidates *c, uint32_t n_vocab, accllm_error *err)
{
    const size_t blocks = (n_vocab + BLOCK - 1) / BLOCK;
    *c = (acc_candidates){.n_vocab = n_vocab};
    ACC_TRY(acc_alloc((void **)&c->block_max, blocks, sizeof *c->block_max, "sampler", err));
    ACC_TRY(acc_alloc((void **)&c->masked, n_vocab, sizeof *c->masked, "sampler", err));
    return acc_alloc((void **)&c->keys, n_vocab, sizeof *c->keys, "sampler", err);
}

void acc_candidates_free(acc_candidates *c)
{
    acc_free(c->block_max);
    acc_free(c->masked);
    acc_free(c->keys);
    *c = (acc_candidates){0};
}

static inline uint32_t block_size(const acc_candidates *c, uint32_t first)
{
    return c->n_vocab - first < BLOCK ? c->n_vocab - first : BLOCK;
}

/* ---- weights ---- */

/* Weights end above e^-24 * 2^30 = 0.04; from memory, see core/exp.h. */
static const volatile float least_log = -24;

/* x: a logit less the largest; per: see per_logit(). NaN has no weight. */
ACC_INLINE int32_t weight(float x, float per, float least)
{
    x *= per;
    x = x > least ? x : least;
    return (int32_t)(acc_expf(x) * (float)ACC_WEIGHT_ONE + 0.5f);
}

/* What a logit counts at temperature t: finite, so that the largest's 0 stays 0. */
static float per_logit(double t)
{
    return (float)fmin(1 / t, FLT_MAX);
}

ACC_CLONES static uint64_t mass_of_logits(const float *logits, uint32_t n, float max, float per)
{
    const float least = least_log;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (uint64_t)weight(logits[i] - max, per, least);
    return sum;
}

/* A finite logit so far below the largest. */
static float below(const acc_candidates *c, double depth)
{
    return (float)fmax(c->max - depth, -FLT_MAX);
}

double acc_candidates_mass(const acc_candidates *c, double t)
{
    const float heavy = below(c, ACC_WEIGHT_RANGE * t), per = per_logit(t);
    uint64_t sum = 0;
    for (uint32_t first = 0, end; first < c->n_vocab; first = end + BLOCK) {
        for (end = first; end < c->n_vocab && c->block_max[end / BLOCK] >= heavy;) end += BLOCK;
        const uint32_t n = (end < c->n_vocab ? end : c->n_vocab) - first;
        sum += mass_of_logits(c->logits + first, n, c->max, per);
    }
    return (double)sum;
}

/* ---- looking at all ---- */

typedef float lanes __attribute__((vector_size(32)));
typedef int32_t lane_bits __attribute__((vector_size(32)));
#define LANES 8u

/* The larger ones; those of b where one is not a number. */
ACC_INLINE lanes larger(lanes a, lanes b)
{
    const lane_bits take = a > b;
    return (lanes)((take & (lane_bits)a) | (~take & (lane_bits)b));
}

ACC_INLINE lanes load(const float *x)
{
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

ACC_CLONES static float largest(const float *x, uint32_t n)
{
    float max = -INFINITY;
    lanes low = max - (lanes){0}, high = low;
    uint32_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        low = larger(load(x + i), low);
        high = larger(load(x + i + LANES), high);
    }
    low = larger(high, low);
    for (uint32_t j = 0; j < LANES; j++) max = low[j] > max ? low[j] : max;
    for (; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

static void mask_block(float *to, const float *from, uint32_t n, uint64_t allowed)
{
    for (uint32_t i = 0; i < n; i++) to[i] = allowed >> i & 1 ? from[i] : -INFINITY;
}

void acc_candidates_look(acc_candidates *c, const float *logits, const uint64_t *allowed)
{
    c->logits = allowed ? c->masked : logits;
    c->max = -INFINITY;
    for (uint32_t first = 0; first < c->n_vocab; first += BLOCK) {
        float *max = &c->block_max[first / BLOCK];
        const uint32_t n = block_size(c, first);
        *max = -INFINITY;
        if (allowed && allowed[first / BLOCK] == 0) continue;
        if (allowed) mask_block(c->masked + first, logits + first, n, allowed[first / BLOCK]);
        *max = largest(c->logits + first, n);
        if (*max > c->max) c->max = *max;
    }
}

int32_t acc_candidates_likeliest(const acc_candidates *c)
{
    if (c->max == -INFINITY) return 0;
    for (uint32_t first = 0; first < c->n_vocab; first += BLOCK) {
        if (c->block_max[first / BLOCK] != c->max) continue;
        for (uint32_t i = first; i < first + block_size(c, first); i++)
            if (c->logits[i] == c->max) return (int32_t)i;
    }
    return 0;
}

/* ---- the collected ---- */

/* A float's bits as an unsigned integer in the floats' order. */
static inline uint32_t ordered(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ (bits >> 31 ? UINT32_MAX : (uint32_t)1 << 31);
}

static inline uint64_t key_of(float logit, uint32_t id)
{
    return (uint64_t)ordered(logit + 0.0f) << 32 | (UINT32_MAX - id); /* -0 + 0 is +0, to which it is equal */
}

ACC_INLINE float logit_of(uint64_t key)
{
    const uint32_t order = (uint32_t)(key >> 32), bits = order ^ (order >> 31 ? (uint32_t)1 << 31 : UINT32_MAX);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

int32_t acc_collected_id(const acc_candidates *c, uint32_t i)
{
    return (int32_t)(UINT32_MAX - (uint32_t)c->keys[i]);
}

ACC_CLONES static uint64_t mass_of_keys(const uint64_t *keys, uint32_t n, float max, float per)
{
    const float least = least_log;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (uint64_t)weight(logit_of(keys[i]) - max, per, least);
    return sum;
}

double acc_collected_mass(const acc_candidates *c, uint32_t from, uint32_t to, double t)
{
    return (double)mass_of_keys(c->keys + from, to - from, c->max, per_logit(t));
}

uint32_t acc_collected_above(const acc_candidates *c, uint32_t n, float part)
{
    const float least = least_log;
    uint32_t above = 0;
    for (uint32_t i = 0; i < n; i++) {
        const float x = logit_of(c->keys[i]) - c->max;
        above += acc_expf(x > least ? x : least) >= part;
    }
    return above;
}

static void collect_within(acc_candidates *c, double depth)
{
    const float least = below(c, depth);
    uint32_t n = 0;
    for (uint32_t first = 0; first < c->n_vocab; first += BLOCK) {
        if (!(c->block_max[first / BLOCK] >= least)) continue;
        for (uint32_t i = first; i < first + block_size(c, first); i++)
            if (c->logits[i] >= least) c->keys[n++] = key_of(c->logits[i], i);
    }
    c->n = n;
    c->least = (uint64_t)ordered(least) << 32;
}

void acc_candidates_collect(acc_candidates *c, double x, double t, double range)
{
    /* about as deep as it usually takes, so that few rounds are needed */
    const double start = 1 + log(fmax(x / ACC_WEIGHT_ONE, 1));
    for (double depth = range / 16 * start; depth < range; depth *= 1.5) {
        collect_within(c, depth);
        if (acc_collected_mass(c, 0, c->n, t) > x) return;
    }
    collect_within(c, range);
}

/* Keys from pivot on come first; returns their number, from `from` on. */
static uint32_t partition(uint64_t *keys, uint32_t from, uint32_t to, uint64_t pivot)
{
    uint32_t end = from;
    for (uint32_t i = from; i < to; i++) {
        const uint64_t key = keys[i];
        keys[i] = keys[end];
        keys[end] = key;
        end += key >= pivot;
    }
    return end;
}

/* By halving the range of keys in which the last one is: each is another, and 64 rounds end it. */
uint32_t acc_collected_reach(acc_candidates *c, uint32_t n, double x, double t, bool pass)
{
    uint64_t low = c->least, high = key_of(c->max, 0);
    uint32_t from = 0, to = n;
    double sum = 0;
    while (to - from > 1) {
        const uint64_t pivot = low + (high - low) / 2 + 1;
        const uint32_t middle = partition(c->keys, from, to, pivot);
        const double with = sum + acc_collected_mass(c, from, middle, t);
        if (middle > from && (pass ? with > x : with >= x)) {
            to = middle;
            low = pivot;
        } else {
            from = middle;
            sum = with;
            high = pivot - 1;
        }
    }
    return to;
}
