/* What reader, writer and random shapes of packed models share. */
#ifndef ACC_MODEL_PACKED_INTERNAL_H
#define ACC_MODEL_PACKED_INTERNAL_H

#include "model/packed.h"

#define ACC_PAGE_MIN 16u
#define ACC_PAGE_MAX 4096u

/* The weight of a linear tensor, the embedding or the output. */
acc_weight *acc_packed_weight(acc_packed *m, acc_tensor_id id, uint32_t layer);
/* The place of a float vector. */
const float **acc_packed_vector(acc_packed *m, acc_tensor_id id, uint32_t layer);
/* Matrices of the container in the order of accllm.tensor.*: the embedding, the output unless tied, then q k v o gate
 * up down of each layer. */
uint32_t acc_packed_n_weights(const acc_hparams *hp);
void acc_packed_weight_at(const acc_hparams *hp, uint32_t i, acc_tensor_id *id, uint32_t *layer);
/* A float vector's name in the file and its shape there, [rows][cols]. */
void acc_packed_vector_name(char *buf, size_t cap, acc_tensor_id id, uint32_t layer);
void acc_packed_vector_shape(const acc_hparams *hp, acc_tensor_id id, uint64_t *rows, uint64_t *cols);
bool acc_packed_is_vector(acc_tensor_id id);

/* The order of tensors in the file: globals, then layer by layer. Returns false past the end. */
typedef struct acc_packed_step {
    acc_tensor_id id;
    uint32_t layer;
} acc_packed_step;
bool acc_packed_next(const acc_hparams *hp, uint32_t *state, acc_packed_step *step);

#endif
