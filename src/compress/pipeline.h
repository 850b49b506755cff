/*
 * The compressor's inside: one run's state, handed from stage to stage. A run is the list of stages in pipeline.c.
 */
#ifndef ACC_COMPRESS_PIPELINE_H
#define ACC_COMPRESS_PIPELINE_H

#include "accllm/compress.h"
#include "compress/calibration.h"
#include "compress/solver.h"
#include "compress/work.h"
#include "core/runtime.h"
#include "format/checkpoint.h"
#include "model/packed.h"
#include "reference/reference.h"
#include "train/train.h"

#define ACC_CALIB_TOKENS 32768
#define ACC_CALIB_TOKENS_RTN 4096 /* rounding takes channel scales and key means from the text, no Hessians */
#define ACC_CALIB_LEN 1024
#define ACC_CALIB_SINKS 4
/* Far above the usual 0.01: a few tens of thousands of tokens of prose do not pin down a Hessian of 1,500 inputs, and a
 * lightly damped one makes the sweep fit the calibration text. Measured on SmolLM2-135M, loss on other text. */
#define ACC_DAMPING 0.3
#define ACC_DESCENT 2 /* sweeps */
#define ACC_RECOVER_LEN 256

/* Where one of a layer's float vectors stands in acc_layer_data.vectors; n is 0 where the model lacks it. */
typedef struct acc_vector_place {
    acc_tensor_id id;
    uint32_t at, n;
} acc_vector_place;

#define ACC_VECTORS 7

typedef struct acc_run {
    accllm_runtime *rt;
    const accllm_compress_params *p;
    const char *src_path, *out_path;
    acc_source *src;
    const acc_hparams *hp;
    acc_format weights, head; /* weights: of all matrices unless they are mixed */
    bool obs, mixed;          /* mixed: shapes have formats of their own (mix.c) */
    uint32_t calib_tokens;    /* asked for */
    acc_packed_plan plan;
    acc_weight (*shapes)[ACC_N_LINEAR]; /* [n_layers]: every matrix's format; the levels once it is solved */
    acc_calibration cal;
    acc_work work;
    acc_ref_attention attention;

    float *hidden;                       /* [n_seqs * seq_len][n_embd] */
    acc_packed *start_file;              /* p->start_path; NULL: none */
    acc_source *start_source;            /* its weights as floats */
    const acc_source *head_source;       /* of embedding, output and output norm: src, or start_source */
    uint32_t hidden_layers;              /* layers that hidden has passed */
    uint32_t resumed;                    /* layers that an earlier run finished */
    bool head_done;                      /* what stands outside of them is in the work folder */
    acc_tensor_record *records;          /* [n_layers][ACC_N_LINEAR] */
    double *layer_seconds;               /* [n_layers], of calibrating and solving */
    uint32_t n_vectors;                  /* floats of a layer's vectors */
    acc_layer_data layer;                /* the loaded layer while writing */
    acc_vector_place place[ACC_VECTORS]; /* of layer.vectors, in their order there */
    uint32_t loaded_layer;               /* UINT32_MAX: none */
    acc_layer_data outside;              /* what stands outside the layers, while it is loaded (work.h) */

    acc_train_result recovery; /* steps 0: none */

    double start, last_save;
    double eta_start, fraction_start;          /* when and where the work began that the time left is judged by */
    double layers_begin, layers_end, head_end; /* fractions of the whole: the layers; before recovery */
    double fraction;
} acc_run;

/* notes.c: what is said to the caller */
void acc_run_note(const acc_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void acc_run_note_layers(const acc_run *r); /* how long they took */
void acc_run_progress(acc_run *r, double fraction, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void acc_run_announce(acc_run *r);            /* size, memory, time, warnings */
const char *acc_run_method(const acc_run *r); /* "obs", "rtn", or the packed file in their place */

/* setup.c */
acc_vector_place acc_run_vector(const acc_run *r, acc_tensor_id id); /* n 0: none */
accllm_status acc_run_setup(acc_run *r, accllm_error *err) ACC_MUST_CHECK;
double acc_run_linear_weights(const acc_run *r);                      /* of all layers */
acc_layer_data acc_run_layer_sizes(const acc_run *r, uint32_t layer); /* for acc_work_load_layer() */
/* The shape of matrix `linear` in a format; group 0: the format's usual one. What the caller of the run asked for
 * (--group) stands above both. */
accllm_status acc_run_shape(const acc_run *r, int linear, acc_format f, uint32_t group, acc_weight *w,
                            accllm_error *err) ACC_MUST_CHECK;
/* The shape of embedding or output in a format; and a format for both, in the plan. */
accllm_status acc_run_head_shape(const acc_run *r, acc_tensor_id id, acc_format f, acc_weight *w,
                                 accllm_error *err) ACC_MUST_CHECK;
accllm_status acc_run_use_head(acc_run *r, acc_format f, accllm_error *err) ACC_MUST_CHECK;
size_t acc_run_blob_bytes(const acc_run *r, int linear); /* the largest over all layers */
/* Everything that the output's bytes depend on, for the work folder; NULL: out of memory. */
json_t *acc_run_config(const acc_run *r, accllm_error *err);

/* mix.c: formats by sensitivity (--target-bpw, --target-size); nothing without a target */
bool acc_run_has_target(const acc_run *r);
/* The format of embedding and lm_head too: a file's size is given, and no --head. */
bool acc_run_chooses_head(const acc_run *r);
accllm_status acc_run_mix(acc_run *r, accllm_error *err) ACC_MUST_CHECK;
double acc_run_sense_bytes(const acc_run *r); /* memory that it will take */
double acc_run_sense_flops(const acc_run *r); /* of its gradients */
/* Those that an earlier run chose, from the work folder; sets r->mixed. */
accllm_status acc_run_load_mix(acc_run *r, accllm_error *err) ACC_MUST_CHECK;

/* layer.c */
/* The matrices of a layer in file order, and which of its four inputs each one has: that of q k v, of out, of gate and
 * up, of down. */
extern const uint8_t acc_input_of[ACC_N_LINEAR];
int acc_input_from(acc_tensor_id tap); /* which input a tap of the reference sees; -1: none (keys, the residual) */
float **acc_matrix_of(acc_ref_layer *l, int linear);
accllm_status acc_run_embed(acc_run *r, accllm_error *err) ACC_MUST_CHECK;  /* hidden = compressed embedding rows */
accllm_status acc_run_layers(acc_run *r, accllm_error *err) ACC_MUST_CHECK; /* every layer not yet in the work folder */
/* The key means of the tuned layers, measured again: training has moved the keys. */
accllm_status acc_run_tuned_means(acc_run *r, accllm_error *err) ACC_MUST_CHECK;

/* head.c: what stands outside the layers, from the states after the last one, into the work folder */
accllm_status acc_run_head(acc_run *r, accllm_error *err) ACC_MUST_CHECK;
bool acc_run_solves_head(const acc_run *r, acc_format format); /* else it is rounded */
acc_layer_data acc_run_head_sizes(const acc_run *r);           /* for acc_work_load_layer() */
accllm_status acc_run_load_head(acc_run *r, acc_work_kind kind, accllm_error *err) ACC_MUST_CHECK; /* r->outside */

/* start.c: a packed file in place of the solver's work (p->start_path) */
bool acc_run_keeps_head(const acc_run *r); /* of start_file; else it is made anew, of that file's own rows */
accllm_status acc_run_open_start(acc_run *r, accllm_error *err) ACC_MUST_CHECK; /* nothing where it is off */
accllm_status acc_run_copy_start(acc_run *r, accllm_error *err) ACC_MUST_CHECK; /* as what the solver would leave */

/* recover.c: distillation of the whole model from its source (--recover); nothing where it is off */
accllm_status acc_run_recover(acc_run *r, accllm_error *err) ACC_MUST_CHECK;
uint64_t acc_run_recover_bytes(const acc_run *r);  /* memory it will take */
uint32_t acc_run_recover_length(const acc_run *r); /* tokens of a training sequence */

/* output.c */
void acc_run_take_levels(acc_run *r); /* of the solved matrices */
accllm_status acc_run_write(acc_run *r, accllm_error *err) ACC_MUST_CHECK;

/* report.c, report_page.c */
accllm_status acc_run_report(acc_run *r, accllm_compress_result *result, accllm_error *err) ACC_MUST_CHECK;

char *acc_report_page(const json_t *report); /* malloc'ed HTML; NULL: out of memory */

/* collect.c: what calibration passes see */
typedef struct acc_collector {
    acc_pool *pool;
    acc_hessian hessian[4];                                 /* inputs of q k v; out; gate up; down */
    unsigned wanted;                                        /* bit i: hessian i is collected */
    uint32_t n_embd, head_dim, kv_dim, page, sinks, length; /* length: tokens of a sequence */
    float *direction;                                       /* [kv_dim]: put there by acc_balance_keys() */
    double *key_sum;                                        /* [kv_dim] of page-rotated keys; NULL: not collected */
    uint64_t n_keys;
    float *residual[2]; /* of one sequence: before attention; between it and the feed-forward part */
    float *weighed;     /* its inputs of out or down, each token by its weight */
    float *cos, *sin;   /* [page][head_dim / 2] */
} acc_collector;

accllm_status acc_collector_create(acc_collector *c, const acc_run *r, accllm_error *err) ACC_MUST_CHECK;
void acc_collector_free(acc_collector *c);
acc_ref_tap acc_collector_tap; /* user: the collector */

/* smooth.c: rewrites a layer's norms, biases and matrices into an equal block that quantises better in the formats of
 * its matrices, by what one calibration pass collected, and the Hessians with them. */
accllm_status acc_smooth_layer(acc_ref_layer *l, const acc_hparams *hp, const acc_weight shapes[ACC_N_LINEAR],
                               acc_collector *col, accllm_error *err) ACC_MUST_CHECK;
/* keys.c: its part that is about keys and queries. Also finds the queries' main directions. */
accllm_status acc_balance_keys(acc_ref_layer *l, const acc_hparams *hp, acc_collector *c,
                               accllm_error *err) ACC_MUST_CHECK;
/* permute.c: puts the hidden units and each KV head's channels in the order that the formats (of all matrices) of down
 * and out quantise best, in the layer and in the Hessians. */
accllm_status acc_permute_layer(acc_pool *pool, acc_ref_layer *l, const acc_hparams *hp,
                                const acc_weight shapes[ACC_N_LINEAR], acc_collector *col,
                                accllm_error *err) ACC_MUST_CHECK;

#endif
