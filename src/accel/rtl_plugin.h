/*
 * A Verilated accelerator (rtl/acc_kernel.sv) as a shared object: what rtl/sim defines and rtl_device.c loads. A memory
 * stands at its AXI ports, a master at its registers; time passes only in the calls below.
 */
#ifndef ACC_ACCEL_RTL_PLUGIN_H
#define ACC_ACCEL_RTL_PLUGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "accel/isa.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ACC_RTL_VERSION 1u /* of this interface */
#define ACC_RTL_SYMBOL "acc_rtl_plugin_table"

/* How the memory channels answer; the same every time. */
typedef struct acc_rtl_timing {
    uint32_t latency; /* cycles from a burst's address to its first answer */
    uint32_t bursts;  /* under way at most, 1 to 64; further addresses wait */
    uint32_t stall;   /* of 8 chances to move so many are not taken, 0 to 7, drawn by */
    uint64_t seed;
} acc_rtl_timing;

typedef enum acc_rtl_stop {
    ACC_RTL_DONE,    /* the interrupt at the end of a run */
    ACC_RTL_RETIRED, /* instructions ended, and what they wrote stands */
    ACC_RTL_CYCLES,  /* as many cycles as were asked for have passed */
} acc_rtl_stop;

/* What can be seen inside after ACC_RTL_RETIRED. */
typedef struct acc_rtl_view {
    bool ended[ACC_QUEUE_COUNT];     /* in the last cycle */
    uint32_t pc[ACC_QUEUE_COUNT];    /* of what ended */
    uint32_t round[ACC_QUEUE_COUNT]; /* of the loop */
    bool quiet;                      /* no instruction is under way */
    float vmem[ACC_ISA_VMEM_BLOCKS * ACC_ISA_LANES];
    int8_t codes[ACC_ISA_CODES_MAX];
    float scale; /* of the codes */
} acc_rtl_view;

typedef struct acc_rtl acc_rtl;

typedef struct acc_rtl_plugin {
    uint32_t version, channels;
    /* memory: [channels][bytes], read and written by the accelerator from then on. NULL: out of memory. */
    acc_rtl *(*open)(uint8_t *memory, uint64_t bytes, const acc_rtl_timing *timing);
    void (*close)(acc_rtl *r);
    /* A register; false where the bus does not answer. */
    bool (*get)(acc_rtl *r, uint32_t address, uint32_t *value);
    bool (*set)(acc_rtl *r, uint32_t address, uint32_t value);
    /* Up to `limit` cycles; `retired`: stops at instructions' ends too. */
    acc_rtl_stop (*run)(acc_rtl *r, uint64_t limit, bool retired);
    uint64_t (*cycles)(const acc_rtl *r); /* since it was opened */
    uint64_t (*moved)(const acc_rtl *r);  /* the cycle in which something moved last between accelerator and memory */
    void (*look)(const acc_rtl *r, acc_rtl_view *view);
} acc_rtl_plugin;

extern const acc_rtl_plugin acc_rtl_plugin_table __attribute__((visibility("default")));

#ifdef __cplusplus
}
#endif

#endif
