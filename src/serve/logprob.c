#include "serve/logprob.h"

#include <math.h>
#include <string.h>

#include "core/clones.h"
#include "core/exp.h"

/* From memory, see core/exp.h. */
static const volatile double least_log = -700;

ACC_CLONES static double sum_of_probabilities(const float *logits, uint32_t n, float max)
{
    return acc_exp_sum(logits, n, (double)max, least_log, true);
}

/* Keeps the n likeliest, ties by the lower id, which comes first. */
static void keep(acc_record *r, uint32_t n, int32_t id, float logit)
{
    uint32_t at = r->n_top;
    while (at > 0 && r->top[at - 1].logprob < logit) at--;
    if (at == n) return;
    if (r->n_top < n) r->n_top++;
    memmove(r->top + at + 1, r->top + at, (r->n_top - 1 - at) * sizeof *r->top);
    r->top[at] = (acc_top){id, logit};
}

void acc_logprob(acc_record *r, const float *logits, uint32_t n_vocab, uint32_t n_top)
{
    float max = -INFINITY;
    r->n_top = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (logits[i] > max) max = logits[i];
        bool better = r->n_top < n_top || (n_top > 0 && logits[i] > r->top[n_top - 1].logprob);
        if (better && !isnan(logits[i])) keep(r, n_top, (int32_t)i, logits[i]);
    }
    const double base = (double)max + log(sum_of_probabilities(logits, n_vocab, max));
    for (uint32_t i = 0; i < r->n_top; i++) r->top[i].logprob = (float)((double)r->top[i].logprob - base);
    bool known = r->id >= 0 && (uint32_t)r->id < n_vocab;
    r->logprob = known ? (float)((double)logits[r->id] - base) : -INFINITY;
}
