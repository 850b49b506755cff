/*
 * The work folder beside the output, `OUT.work/`: what an interrupted run leaves for the next one.
 *
 *   lock            held (flock) by the process that works here
 *   config.json     everything that the result depends on
 *   layer-NNNN.bin  one finished layer: packed weights, float vectors, measurements, checksum; the last is what stands
 *                   outside the layers
 *   tuned-NNNN.bin  the same after recovery
 *   mix.json        the format and group size of every matrix, where they are mixed, and the head's if it was chosen
 *   recover.bin     where the recovery's training stands
 *   hidden.bin      the calibration tokens' states after the first N layers, so that a resumed run need not recompute
 * them
 *
 * Each file appears whole (written under another name, synced, renamed): a kill at any moment leaves a usable folder.
 */
#ifndef ACC_COMPRESS_WORK_H
#define ACC_COMPRESS_WORK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/file.h"
#include "core/status.h"
#include "format/checkpoint.h"
#include "weights/weights.h"

typedef struct acc_work {
    char *dir;
    int lock; /* file descriptor, -1: none */
    uint64_t config_hash;
} acc_work;

/*
 * Opens (resume: only if config agrees, E_ARG names what differs) or replaces the folder. config is an object of
 * strings and integers. E_LIMIT: another process works there.
 */
accllm_status acc_work_open(acc_work *w, const char *out_path, const json_t *config, bool resume,
                            accllm_error *err) ACC_MUST_CHECK;
/* Releases the lock; remove: deletes the folder. Safe on a zeroed struct. */
void acc_work_close(acc_work *w, bool remove);

uint64_t acc_work_bytes(const acc_work *w); /* of the folder's files, as they are now */

/* What is measured of one matrix. */
typedef struct acc_tensor_record {
    uint32_t level1, level2;
    double error, signal, rtn_error; /* acc_quantize_stats */
    double seconds;
} acc_tensor_record;

/* One finished layer in memory. */
typedef struct acc_layer_data {
    acc_tensor_record record[ACC_N_LINEAR];
    double seconds;
    uint64_t step;        /* of the training, where recovery has been at it */
    const float *vectors; /* [n_vectors]: key means, norms, biases (pipeline.h) */
    uint32_t n_vectors;
    const uint8_t *blob[ACC_N_LINEAR]; /* 64-byte aligned */
    size_t bytes[ACC_N_LINEAR];
    acc_file file; /* of a loaded layer */
} acc_layer_data;

/* ACC_WORK_SOLVED: as the solver left it; ACC_WORK_TUNED: the best that recovery found so far. Layer n_layers is what
 * stands outside the layers: blobs embedding and output, vectors output norm and the embedding's channel scales. */
typedef enum acc_work_kind { ACC_WORK_SOLVED, ACC_WORK_TUNED } acc_work_kind;

accllm_status acc_work_save_layer(const acc_work *w, acc_work_kind kind, uint32_t layer, const acc_layer_data *d,
                                  accllm_error *err) ACC_MUST_CHECK;
/* The sizes in d (n_vectors, bytes) are given and checked. E_FORMAT: damaged, or of another run. */
accllm_status acc_work_load_layer(const acc_work *w, acc_work_kind kind, uint32_t layer, acc_layer_data *d,
                                  accllm_error *err) ACC_MUST_CHECK;
void acc_layer_data_close(acc_layer_data *d);
/* True if the file is there (it may still be damaged). */
bool acc_work_has_layer(const acc_work *w, acc_work_kind kind, uint32_t layer);

/* The options [n] of all choices, each below n_options (mix.h); false: no usable file. */
accllm_status acc_work_save_mix(const acc_work *w, const uint8_t *option, uint32_t n, accllm_error *err) ACC_MUST_CHECK;
bool acc_work_load_mix(const acc_work *w, uint8_t *option, uint32_t n, uint32_t n_options);

accllm_status acc_work_save_hidden(const acc_work *w, uint32_t n_layers, const float *hidden, size_t n,
                                   accllm_error *err) ACC_MUST_CHECK;
/* Fills hidden and returns the number of layers that it has passed; 0: no usable file, hidden is unchanged. */
uint32_t acc_work_load_hidden(const acc_work *w, float *hidden, size_t n);

#endif
