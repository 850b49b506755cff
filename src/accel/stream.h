/* Weights in the order in which a channel's engine takes them (image.h). */
#ifndef ACC_ACCEL_STREAM_H
#define ACC_ACCEL_STREAM_H

#include "accel/image.h"
#include "weights/weights.h"

/* One matrix of a stream, with what is added to its rows. */
typedef struct acc_stream_part {
    const acc_weight *w;
    const float *bias; /* [rows], NULL: none */
} acc_stream_part;

/* Whether two matrices may share a stream: everything an MM says of its matrix is the same. */
bool acc_stream_alike(const acc_stream_part *a, const acc_stream_part *b);
/* Row block rb of a matrix to lines [acc_block_lines()] of zeros. */
void acc_stream_block(const acc_stream_part *part, uint32_t rb, uint8_t *lines);
/* The levels of a W2S matrix as instructions name them. */
acc_isa_levels acc_stream_levels(const acc_weight *w);
/* The group of any matrix, 32 << it. */
uint32_t acc_stream_group(const acc_weight *w);

#endif
