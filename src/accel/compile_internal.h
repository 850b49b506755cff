/* What the files of the compiler share: one pass over a model (compile.c), its layers (compile_layers.c). */
#ifndef ACC_ACCEL_COMPILE_INTERNAL_H
#define ACC_ACCEL_COMPILE_INTERNAL_H

#include "accel/compile.h"
#include "accel/stream.h"

/* Masks of queues. */
#define ACC_ON_ENGINE (1u << ACC_QUEUE_ENGINE)
#define ACC_ON_CACHE (1u << ACC_QUEUE_CACHE)
#define ACC_ON_VECTOR (1u << ACC_QUEUE_VECTOR)

/* Blocks of the vector memory. */
typedef struct acc_places {
    uint32_t x, q, k, v, att, pairs, ff; /* pairs: gate and up blocks in turn */
} acc_places;

typedef struct acc_builder {
    const acc_packed *m;
    acc_image *im;
    acc_cache_map cache;
    acc_places at;
    uint64_t line; /* the next free one, the same in every channel */
    acc_inst *program;
    uint32_t n;
    bool overflow; /* a value that its field cannot hold, or too many instructions */
} acc_builder;

/* The matrices of one input and where their rows go. */
typedef struct acc_linear {
    acc_stream_part part[3];
    uint32_t n;
    bool turns; /* their blocks take turns; otherwise they follow each other */
    acc_isa_target target;
    uint64_t dst;
    unsigned signal;
} acc_linear;

/* The next instruction; a program that is too long raises the overflow. */
acc_inst *acc_build_emit(acc_builder *b, acc_isa_opcode op, unsigned wait, unsigned signal);
/* Sets an operand; a value that its field cannot hold raises the overflow. */
void acc_build_set(acc_builder *b, acc_inst *i, acc_isa_operand f, uint64_t value);
/* Reserves n lines in every channel. */
uint64_t acc_build_take(acc_builder *b, uint64_t n);
/* n floats (or what else has 4 bytes), line i on channel i mod C. Returns their line. */
uint64_t acc_build_vector(acc_builder *b, const void *x, uint32_t n);

/* ---- compile_layers.c ---- */

/* Data of a linear layer in as few streams as its matrices allow: one where all are alike, else one each; code: also
 * the MMs, of which the first waits for the vector unit's codes and the last signals. */
void acc_build_linear(acc_builder *b, const acc_linear *l, bool code);
/* VEC: activation codes for the engine. */
void acc_build_codes(acc_builder *b, acc_isa_vector op, uint32_t n, uint32_t src, uint64_t gain, unsigned wait,
                     bool code);
/* All layers. */
void acc_build_layers(acc_builder *b);

#endif
