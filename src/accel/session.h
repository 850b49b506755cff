/* Sessions that run on an accelerator behind the driver: the same numbers as the quantised engine's, token by token. */
#ifndef ACC_ACCEL_SESSION_H
#define ACC_ACCEL_SESSION_H

#include "accel/device.h"
#include "engine/engine.h"
#include "model/packed.h"

/* Opens a device for an image of such a size. */
typedef accllm_status acc_device_open(acc_device *d, const acc_image_header *h, accllm_runtime *rt, accllm_error *err);
/* The device model with as many memory channels as the image has. */
acc_device_open acc_accel_open_model;

/* Compiles the model for `channels` channels, checks and loads the image. Parameters as for the quantised engine. */
accllm_status acc_accel_session_create(void **self, const acc_session_ops **ops, const acc_packed *m,
                                       accllm_runtime *rt, const accllm_session_params *p, uint32_t channels,
                                       acc_device_open *open, accllm_error *err) ACC_MUST_CHECK;

#endif
