/*
 * The candidates of one draw, in the order (logit descending, id ascending). Logits are looked at in blocks whose
 * largest values tell which of them matter; what is likely enough is collected, and put in order only as far as a cut
 * needs.
 *
 * The weight of a token at temperature t is e^((logit - max) / t) in multiples of 2^-30: an integer, so that sums are
 * exact in double and need no order. With t infinite each weighs ACC_WEIGHT_ONE.
 */
#ifndef ACC_SAMPLE_CANDIDATES_H
#define ACC_SAMPLE_CANDIDATES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

#define ACC_WEIGHT_ONE 0x1p30
#define ACC_WEIGHT_RANGE 21.5 /* e^-21.5 * 2^30 < 1/2: a token so far below the likeliest has no weight at t = 1 */

typedef struct acc_candidates {
    uint32_t n_vocab;
    const float *logits; /* [n_vocab], the present draw's */
    float max;           /* the largest of them; minus infinity: there is none */
    float *block_max;    /* of each block; minus infinity: nothing is in it, nor need its logits be readable */
    float *masked;       /* [n_vocab]: logits of allowed tokens */
    uint64_t *keys;      /* [n_vocab], of which n are collected: a greater key stands for a likelier token */
    uint32_t n;
    uint64_t least; /* no collected key is below */
} acc_candidates;

/* E_NOMEM; then, too, to be freed. */
accllm_status acc_candidates_create(acc_candidates *c, uint32_t n_vocab, accllm_error *err) ACC_MUST_CHECK;
void acc_candidates_free(acc_candidates *c);

/* Begins a draw. allowed: a bit for each token, the others count as minus infinity; NULL: all. NaN counts as minus
 * infinity. logits stay the caller's and are needed until the draw's end. */
void acc_candidates_look(acc_candidates *c, const float *logits, const uint64_t *allowed);
/* The lowest id with the largest logit; 0 if there is none. */
int32_t acc_candidates_likeliest(const acc_candidates *c);
/* The weight of all tokens together. */
double acc_candidates_mass(const acc_candidates *c, double t);

/* Collects tokens until their weight exceeds x or all within `range` below the largest logit are there. */
void acc_candidates_collect(acc_candidates *c, double x, double t, double range);
/* The weight of collected tokens from..to - 1, as they stand. */
double acc_collected_mass(const acc_candidates *c, uint32_t from, uint32_t to, double t);
/* Of the first n collected tokens, how many in order it takes until their weight together reaches x, or exceeds it
 * where `pass`. So many stand first afterwards, the last of them last. n, in no order, if they do not. */
uint32_t acc_collected_reach(acc_candidates *c, uint32_t n, double x, double t, bool pass);
/* How many of the first n collected tokens have at least `part` of the largest probability at temperature 1. */
uint32_t acc_collected_above(const acc_candidates *c, uint32_t n, float part);
/* The id of the collected token at place i. */
int32_t acc_collected_id(const acc_candidates *c, uint32_t i);

#endif
