/*
 * The instruction-level model of the accelerator: a device (device.h) that does what an image's instructions say, to
 * the bit, with no notion of cycles. Ready queues are served in an order drawn from a seed, so that a program whose
 * semaphores leave a hazard open gives different numbers for different seeds.
 */
#ifndef ACC_ACCEL_DEVICE_MODEL_H
#define ACC_ACCEL_DEVICE_MODEL_H

#include "accel/device.h"
#include "accel/sequencer.h"
#include "core/threads.h"

/* lines: of each channel. pool (may be NULL) shares the work of an instruction; it outlives the device. */
accllm_status acc_device_model_open(acc_device *d, uint32_t channels, uint32_t lines, acc_pool *pool, uint64_t seed,
                                    accllm_error *err) ACC_MUST_CHECK;
/* For co-simulation, between start and wait: executes the queue's instruction that is ready, *ended. False: none is, or
 * it ends the run with an error. */
bool acc_device_model_step(acc_device *d, int queue, acc_issue *ended);

#endif
