/* Log-probabilities of one row of logits, by the softmax at temperature 1. */
#ifndef ACC_SERVE_LOGPROB_H
#define ACC_SERVE_LOGPROB_H

#include "serve/sequence.h"

/* Fills logprob, n_top and top of r for the token r->id. A logit that is NaN counts as minus infinity. */
void acc_logprob(acc_record *r, const float *logits, uint32_t n_vocab, uint32_t n_top);

#endif
