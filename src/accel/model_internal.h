/* The inside of the device model, shared by its units. */
#ifndef ACC_ACCEL_MODEL_INTERNAL_H
#define ACC_ACCEL_MODEL_INTERNAL_H

#include "accel/cache_map.h"
#include "accel/device_model.h"
#include "kernels/kernels.h"
#include "numerics/numerics.h"

#define ACC_MODEL_QUADS (ACC_ISA_CODES_MAX / 4)
#define ACC_MODEL_REGISTERS 64 /* words */

/* What one worker of the attention unit needs for itself. */
typedef struct acc_model_head {
    float score[ACC_ISA_SEGMENT4 + 2 * ACC_ISA_STRIP]; /* then weights w */
    float o[ACC_ISA_SEGMENTS_MAX][ACC_ISA_HEAD_DIM_MAX];
    acc_attn_part parts[ACC_ISA_SEGMENTS_MAX];
    bool failed;
} acc_model_head;

typedef struct acc_model {
    uint32_t channels, lines;
    uint8_t *memory; /* [channels][lines * 64] */
    size_t bytes;
    uint32_t reg[ACC_MODEL_REGISTERS];
    acc_pool *pool;
    uint64_t seed, drawn;
    acc_sequencer sequencer; /* of the present run */
    acc_kernels scalar;      /* for what is arranged there already: rotation and queries */
    float *vmem;             /* [VMEM_BLOCKS * LANES] */
    int8_t *codes;           /* [CODES_MAX], zero behind the vector up to a multiple of 128 */
    float scale;             /* of the codes */
    float *gain;             /* [CODES_MAX]: a vector out of memory */
    int16_t (*quads)[128];   /* [ACC_MODEL_QUADS]: what each W2S code makes of 4 activation codes */
    acc_model_head *heads;   /* one a worker */
    acc_isa_error error;     /* of the present instruction */
    uint32_t error_channel;
} acc_model;

static inline uint32_t acc_model_reg(const acc_model *d, acc_isa_register r)
{
    return d->reg[r / 4];
}

static inline uint64_t acc_model_position(const acc_model *d)
{
    return (uint64_t)acc_model_reg(d, ACC_REG_POSITION_HIGH) << 32 | acc_model_reg(d, ACC_REG_POSITION_LOW);
}

float acc_model_float(const acc_model *d, acc_isa_register r);

static inline uint8_t *acc_model_line(const acc_model *d, uint32_t channel, uint64_t line)
{
    return d->memory + ((size_t)channel * d->lines + line) * ACC_ISA_LINE_BYTES;
}

/* Sets the instruction's error; the first one stays. False, for returning. */
bool acc_model_fail(acc_model *d, acc_isa_error e, uint32_t channel);
/* Lines [line, line + n) of every channel exist, or the error is set. */
bool acc_model_has_lines(acc_model *d, uint64_t line, uint64_t n);
/* Blocks [block, block + n) of the vector memory. */
bool acc_model_has_blocks(acc_model *d, uint64_t block, uint64_t n);
/* n words (floats or others of 4 bytes) that lie as a vector. */
bool acc_model_load(acc_model *d, uint32_t line, void *x, uint32_t n);
bool acc_model_store(acc_model *d, uint32_t line, const float *x, uint32_t n);
void acc_model_run_job(acc_model *d, acc_job *job, void *ctx);

/* The geometry registers; false with the error set where they are out of range. */
bool acc_model_geometry(acc_model *d, acc_geometry *g);

/* The units: one instruction each. */
void acc_model_mm(acc_model *d, const acc_inst *i);
void acc_model_vec(acc_model *d, const acc_inst *i);
void acc_model_mov(acc_model *d, const acc_inst *i);
void acc_model_top(acc_model *d, const acc_inst *i);
void acc_model_kvw(acc_model *d, const acc_inst *i);
void acc_model_att(acc_model *d, const acc_inst *i);

#endif
