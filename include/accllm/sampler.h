/*
 * Sampling (docs/numerics.md, "output"): order by (logit descending, id ascending), sums in double, a counter-based
 * generator keyed by (seed, position), so that a run can be resumed or replayed.
 *
 * The steps, in this order: repetition penalty (positive logits are divided, others multiplied; once per token), top-k,
 * top-p and min-p over the softmax at temperature 1, then temperature over what is left. A weight is e^x relative to
 * the largest logit, rounded to a multiple of 2^-30: sums of them are exact in double, so they need no order and the
 * result does not depend on how far the logits were sorted. top-p keeps the fewest tokens that reach p of the mass that
 * top-k left; min-p keeps those of at least p times the largest probability. The most likely token always stays.
 *
 * Where only some tokens are allowed (a grammar: accllm/grammar.h), the others count as minus infinity from the
 * repetition penalty on, and are never drawn.
 *
 * A logit that is NaN counts as minus infinity, which is never drawn while another is there; if all are, id 0 is drawn.
 * Plus infinity is drawn at once, the lowest id first. Vocabularies go up to 524,288 tokens.
 */
#ifndef ACCLLM_SAMPLER_H
#define ACCLLM_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accllm_sampler accllm_sampler;

typedef struct accllm_sampler_params {
    size_t struct_size;
    uint64_t seed;
    float temperature;    /* 0: greedy, the lowest id wins a tie */
    uint32_t top_k;       /* 0: off */
    float top_p;          /* 1: off */
    float min_p;          /* 0: off */
    float repeat_penalty; /* 1: off; over the last repeat_last tokens */
    uint32_t repeat_last; /* 64 */
} accllm_sampler_params;

ACCLLM_API void accllm_sampler_params_init(accllm_sampler_params *p); /* temperature 0.7, top_p 0.95, rest off */
ACCLLM_API accllm_status accllm_sampler_create(accllm_sampler **out, const accllm_sampler_params *p, uint32_t n_vocab,
                                               accllm_error *err);
ACCLLM_API void accllm_sampler_free(accllm_sampler **s);
/* Tells the sampler of a token of the text (for the repetition penalty). */
ACCLLM_API void accllm_sampler_accept(accllm_sampler *s, int32_t id);
/* Draws the token that follows `position` tokens of text. logits: [n_vocab], not changed. No allocation. */
ACCLLM_API int32_t accllm_sampler_draw(accllm_sampler *s, const float *logits, uint64_t position);
/* The same out of the tokens that are allowed: bit id % 64 of word id / 64, as accllm_matcher_mask() has them; NULL:
 * all. -1 if none is. If all that are have no logit above minus infinity, the lowest id is drawn. */
ACCLLM_API int32_t accllm_sampler_draw_from(accllm_sampler *s, const float *logits, uint64_t position,
                                            const uint64_t *allowed);

#ifdef __cplusplus
}
#endif
#endif
