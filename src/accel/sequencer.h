/*
 * The sequencer: fetches a program in order, unrolls its loops and hands each instruction to its queue; queues work in
 * order each and wait for each other by semaphores, one for each ordered pair (the dependence tokens of VTA, Moreau et
 * al. 2018). The check of programs and the device model share it.
 */
#ifndef ACC_ACCEL_SEQUENCER_H
#define ACC_ACCEL_SEQUENCER_H

#include "accel/program.h"

/* An instruction on its way, strides added. */
typedef struct acc_issue {
    acc_inst inst;
    uint32_t pc, round, number; /* number: in order of fetching */
} acc_issue;

typedef struct acc_sequencer {
    const acc_inst *p;
    uint32_t limit;           /* instructions that may be read */
    bool logits;              /* 0: the program ends at the conditional END */
    uint32_t pc, loop, round; /* loop: the present LOOP, UINT32_MAX outside */
    uint32_t fetched;
    bool ended;          /* END was fetched, or */
    acc_isa_error error; /* what is at pc is refused: BAD_OPCODE or BAD_FIELD */
    acc_issue fifo[ACC_QUEUE_COUNT][ACC_ISA_QUEUE_DEPTH];
    uint32_t first[ACC_QUEUE_COUNT], count[ACC_QUEUE_COUNT];
    uint8_t level[ACC_QUEUE_COUNT][ACC_QUEUE_COUNT]; /* signals [from][to] not used up yet */
} acc_sequencer;

/* At the beginning of a program of at most `limit` instructions. */
acc_sequencer acc_sequencer_start(const acc_inst *p, uint32_t limit, bool logits);
/* The queue's first instruction if it may begin, NULL otherwise; valid until it is retired. */
const acc_issue *acc_sequencer_ready(acc_sequencer *s, int queue);
/* The ready instruction has ended: its signals go up. False: a semaphore overflows. */
bool acc_sequencer_retire(acc_sequencer *s, int queue);
/* Nothing more is fetched and every queue is empty. */
bool acc_sequencer_done(const acc_sequencer *s);
/* The instruction that was fetched first of those still waiting; NULL: none. */
const acc_issue *acc_sequencer_oldest(const acc_sequencer *s);

#endif
