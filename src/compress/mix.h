/* Mixed precision: a format for every matrix, so that the whole has a given size and loses least. */
#ifndef ACC_COMPRESS_MIX_H
#define ACC_COMPRESS_MIX_H

#include "compress/pipeline.h"

/* What a matrix may get. */
enum { ACC_MIX_W2S, ACC_MIX_W2, ACC_MIX_W4_64, ACC_MIX_W4_32, ACC_MIX_W8, ACC_MIX_OPTIONS };

typedef struct acc_mix_option {
    const char *name;
    acc_format format;
    uint32_t group; /* columns; 0: the format's own */
} acc_mix_option;

extern const acc_mix_option acc_mix_options[ACC_MIX_OPTIONS];

typedef struct acc_cost {
    uint64_t bytes; /* 0: no choice */
    double loss;
} acc_cost;

typedef struct acc_costs {
    uint32_t n;                      /* choices */
    acc_cost (*of)[ACC_MIX_OPTIONS]; /* [n] */
} acc_costs;

/* mix.c: the shape of matrix `linear` with an option. */
accllm_status acc_mix_shape(const acc_run *r, int linear, int option, acc_weight *w, accllm_error *err) ACC_MUST_CHECK;

/* fisher.c: squared gradients by the outputs of every matrix, as acc_trainer_fisher() has them, over the calibration's
 * first sequences: of the rows, and of the tokens relative to their mean. */
typedef struct acc_fisher {
    uint32_t n_seqs;
    float *row[ACC_N_LINEAR];   /* [n_layers][rows]: sums over the tokens */
    float *token[ACC_N_LINEAR]; /* [n_layers][n_seqs][seq_len]: roots, their mean square is 1 */
} acc_fisher;

/* Progress goes from 0 to `to`. */
accllm_status acc_run_fisher(acc_run *r, acc_fisher *f, uint32_t n_seqs, double to, accllm_error *err) ACC_MUST_CHECK;
void acc_fisher_free(acc_fisher *f); /* safe on a zeroed struct, zeroes it */

/* sense.c: fills the losses where bytes are given: of costs->of [n_layers * ACC_N_LINEAR], and of the head's behind
 * them if there is one more. */
accllm_status acc_run_costs(acc_run *r, acc_costs *costs, accllm_error *err) ACC_MUST_CHECK;

/*
 * mix.c: chooses an option for each of costs->n with at most `budget` bytes in all: from the smallest ones on,
 * always the step that saves most loss per byte along the lower convex hull of each matrix's (bytes, loss), as long as
 * one fits. False: even the smallest do not fit; *least is their size.
 */
bool acc_mix_choose(const acc_costs *costs, uint64_t budget, uint8_t *choice, uint64_t *least);

#endif
