/*
 * Instructions of the accelerator: their fields, their text, and the check that a program must pass before it is run.
 */
#ifndef ACC_ACCEL_PROGRAM_H
#define ACC_ACCEL_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "accel/isa.h"
#include "core/status.h"

typedef struct acc_inst {
    uint64_t w[2]; /* low half first */
} acc_inst;

static inline uint64_t acc_inst_bits(const acc_inst *i, unsigned low, unsigned width)
{
    uint64_t v = low >= 64 ? i->w[1] >> (low - 64) : i->w[0] >> low | (low ? i->w[1] << (64 - low) : 0);
    return v & ((UINT64_C(1) << width) - 1);
}

static inline unsigned acc_inst_opcode(const acc_inst *i)
{
    return (unsigned)acc_inst_bits(i, 124, 4);
}

/* Masks over queues. An instruction begins when each queue in `wait` has signalled it once more than it has used up,
 * and tells each queue in `signal` when it has ended. */
static inline unsigned acc_inst_wait(const acc_inst *i)
{
    return (unsigned)acc_inst_bits(i, 121, 3);
}

static inline unsigned acc_inst_signal(const acc_inst *i)
{
    return (unsigned)acc_inst_bits(i, 118, 3);
}

/* An operand; 0 where the instruction has none of that name. */
uint32_t acc_inst_get(const acc_inst *i, acc_isa_operand f);
acc_inst acc_inst_make(acc_isa_opcode op, unsigned wait, unsigned signal);
/* False: the value does not fit, or there is no such operand. */
bool acc_inst_set(acc_inst *i, acc_isa_operand f, uint64_t value);

/* "MM format=0 ... wait=V signal=CV" into buf; always terminated. */
void acc_inst_text(const acc_inst *i, char *buf, size_t cap);

/* What is wrong with an instruction by itself, as the sequencer sees it: its opcode, or bits and values of its fields;
 * *why: in words, where there is anything. */
acc_isa_error acc_inst_bad(const acc_inst *i, const char **why);

/* A copy with a loop's strides added `round` times. */
acc_inst acc_inst_at_round(const acc_inst *i, const acc_inst *loop, uint32_t round);

/* Opcodes, fields, loops and the end of a program [n], and that its signals let every instruction begin: none waits for
 * ever, no semaphore holds more than ACC_ISA_SEMAPHORE_MAX, none is left up at the end. E_FORMAT names the
 * instruction. Addresses are the image's matter (image.h). */
accllm_status acc_program_check(const acc_inst *p, uint32_t n, accllm_error *err) ACC_MUST_CHECK;

#endif
