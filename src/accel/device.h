/*
 * The driver's view of an accelerator: memory channels, control registers (isa.h), and waiting for the end of a run.
 * Back ends: the instruction-level model (device_model.h) and the Verilated RTL.
 */
#ifndef ACC_ACCEL_DEVICE_H
#define ACC_ACCEL_DEVICE_H

#include "accel/image.h"

typedef struct acc_device_ops {
    /* bytes from a channel's byte address on; E_ARG outside of it. */
    accllm_status (*write)(void *self, uint32_t channel, uint64_t address, const void *data, size_t bytes,
                           accllm_error *err);
    accllm_status (*read)(void *self, uint32_t channel, uint64_t address, void *data, size_t bytes, accllm_error *err);
    uint32_t (*get)(void *self, acc_isa_register r);
    void (*set)(void *self, acc_isa_register r, uint32_t value);
    accllm_status (*wait)(void *self, accllm_error *err); /* until a started run is done */
    void (*close)(void *self);
} acc_device_ops;

typedef struct acc_device {
    const acc_device_ops *ops;
    void *self;
    acc_image_header h; /* of the image that was loaded */
    bool running;       /* a run's end was not waited for */
} acc_device;

#define ACC_DEVICE_MAGIC 0x4c434341u /* "ACCL" */

/* Loads an image that acc_image_check() passed: compares it with the device's capabilities, writes the channels and
 * the geometry registers. */
accllm_status acc_device_load(acc_device *d, const acc_image *im, accllm_error *err) ACC_MUST_CHECK;
/* One token at one position. E_NUMERIC or E_IO with the instruction that failed. */
accllm_status acc_device_run(acc_device *d, uint32_t token, uint64_t position, bool logits,
                             accllm_error *err) ACC_MUST_CHECK;
/* n floats that lie as a vector (image.h) at a line. */
accllm_status acc_device_vector(acc_device *d, uint32_t line, float *x, uint32_t n, accllm_error *err) ACC_MUST_CHECK;
/* The logits of the last run, [n_vocab]. */
accllm_status acc_device_logits(acc_device *d, float *x, accllm_error *err) ACC_MUST_CHECK;
void acc_device_close(acc_device *d);

#endif
