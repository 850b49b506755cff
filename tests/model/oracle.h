/*
 * docs/numerics.md written out plainly: one token at a time, whole text in plain arrays, no ring, no layout, no chunks.
 * It shares the scalar functions of src/numerics with the engine, and nothing of its book-keeping.
 */
#ifndef ACC_TESTS_MODEL_ORACLE_H
#define ACC_TESTS_MODEL_ORACLE_H

#include "model/packed.h"

typedef struct oracle oracle;

/* bits: of the window; near: with 4, the last positions that are seen at 8. depth: positions before it hold the codes
 * of acc_kv_fill(). */
oracle *oracle_create(const acc_packed *m, uint32_t sinks, uint32_t window, uint32_t bits, uint32_t near,
                      uint64_t depth, uint32_t max_tokens);
/* The next token; logits [n_vocab]. */
void oracle_step(oracle *o, int32_t id, float *logits);
uint64_t oracle_hash(const oracle *o);
void oracle_free(oracle *o);

#endif
