/* Running the quantised engine over a packed model in every way that must not matter. */
#ifndef ACC_TESTS_MODEL_RUN_H
#define ACC_TESTS_MODEL_RUN_H

#include "model/model.h"
#include "support/pack.h"

typedef struct run_options {
    const char *isa; /* NULL: auto */
    uint32_t threads, chunk;
    uint32_t sinks, window, bits, near;
    uint64_t depth;   /* filled positions before the first token */
    uint32_t first;   /* tokens of the first call; the rest one by one. 0: all by chunk */
    uint32_t company; /* other sessions in every step, up to 4 */
} run_options;

/* Runs ids [n] over a fresh runtime and session and returns the trace hash over all layers and the logits of all
 * positions; out (may be NULL) gets the last row of logits. Fails the test on any error. */
uint64_t run_model(const char *path, const run_options *o, const int32_t *ids, uint32_t n, float *out);

/* A tiny packed model at a temporary path (malloc'ed), and n tokens of its vocabulary. */
char *tiny_model(const tiny_options *t, const pack_options *p, int32_t *ids, uint32_t n);
/* Deletes the file and frees the path. */
void drop_model(char *path);

#endif
