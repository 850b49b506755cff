/* The forward pass written straight from its definition, in double: every score turns the query by its distance from
 * the key, and sinks are seen from min(t, sinks + window - 1). Slow; what the fast code is checked against. */
#ifndef TESTS_REFERENCE_NAIVE_H
#define TESTS_REFERENCE_NAIVE_H

#include "reference/reference.h"

/* One block over a whole sequence, x [n][n_embd] in place. */
void naive_block(const acc_hparams *hp, const acc_ref_layer *l, double *x, uint32_t n, uint32_t sinks, uint64_t window);
/* Logits [n][n_vocab] of a sequence; window UINT64_MAX for full attention. */
void naive_logits(const acc_source *src, const int32_t *ids, uint32_t n, uint32_t sinks, uint64_t window,
                  double *logits);

#endif
