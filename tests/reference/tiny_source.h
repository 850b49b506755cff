/* A small random Llama-family model that stands in memory as an acc_source, for tests that need no file. */
#ifndef TESTS_REFERENCE_TINY_SOURCE_H
#define TESTS_REFERENCE_TINY_SOURCE_H

#include "format/checkpoint.h"

typedef struct tiny_shape {
    uint32_t n_heads, n_kv_heads;
    bool biases, tied;
} tiny_shape;

/* 2 layers, 24 dimensions, heads of 8, FFN 40, vocabulary 50, trained context 256. Weights are made of the seed,
 * tensor and index; close with src->close(). */
acc_source *tiny_source(uint64_t seed, const tiny_shape *o);
/* Puts a value into one weight of a tiny_source (a NaN, say). */
void tiny_source_poke(acc_source *src, acc_tensor_id id, uint32_t layer, uint64_t row, uint64_t col, float value);

#endif
