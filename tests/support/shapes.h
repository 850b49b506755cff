/* Tiny models that between them have every format and the shapes at which engines might go wrong. */
#ifndef ACC_TESTS_SUPPORT_SHAPES_H
#define ACC_TESTS_SUPPORT_SHAPES_H

#include "support/pack.h"

#define N_SHAPES 9

/* Model i < N_SHAPES, of 2 layers. */
void shape_options(uint32_t i, tiny_options *t, pack_options *p);

/* q, k, v, gate and up each with a format (i 0) or a group size (i 1) of its own. */
#define N_MIXES 2u
pack_options mixed_options(uint32_t i);

#endif
