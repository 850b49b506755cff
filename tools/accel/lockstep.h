/*
 * A device that is two: the RTL and the device model, given the same and compared at every instruction. The model
 * follows the order in which the RTL's instructions end. Where no instruction is under way, vector memory, activation
 * codes with their scale and the region of memory that was written must be the same bits; at the end of a run all of
 * memory and the registers too. The first difference ends the run: E_IO with its instruction, place and both values.
 */
#ifndef ACC_TOOLS_ACCEL_LOCKSTEP_H
#define ACC_TOOLS_ACCEL_LOCKSTEP_H

#include "accel/rtl_device.h"

typedef struct lockstep_counts {
    uint64_t instructions, compared; /* ended; boundaries at which all was compared */
} lockstep_counts;

accllm_status lockstep_open(acc_device *d, const acc_image_header *h, accllm_runtime *rt, const acc_rtl_timing *timing,
                            accllm_error *err) ACC_MUST_CHECK;
const acc_device *lockstep_rtl(const acc_device *d);
lockstep_counts lockstep_count(const acc_device *d);

#endif
