/* Mixed precision: a format for every matrix, so that the whole has a given size and loses least. */
#ifndef ACC_COMPRESS_MIX_H
#define ACC_COMPRESS_MIX_H

#include "compress/pipeline.h"

typedef struct acc_cost {
    uint64_t bytes; /* 0: the format is no choice */
    double loss;
} acc_cost;

typedef struct acc_costs {
    uint32_t n;                    /* matrices */
    acc_cost (*of)[ACC_FMT_COUNT]; /* [n] */
} acc_costs;

/* sense.c: fills the losses of costs->of [n_layers * ACC_LINEARS]. */
accllm_status acc_run_costs(acc_run *r, acc_costs *costs, accllm_error *err) ACC_MUST_CHECK;

/*
 * mix.c: chooses a format for each of the matrices with at most `budget` bytes in all: from the smallest ones on,
 * always the step that saves most loss per byte along the lower convex hull of each matrix's (bytes, loss), as long as
 * one fits. False: even the smallest do not fit; *least is their size.
 */
bool acc_mix_choose(const acc_costs *costs, uint64_t budget, acc_format *choice, uint64_t *least);

#endif
