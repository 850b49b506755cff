/*
 * The RTL behind the driver: rtl/acc_kernel.sv as Verilator has compiled it, a shared object of its own (rtl_plugin.h)
 * that the environment's ACCLLM_RTL names and scripts/build-rtl makes. Some 20,000 cycles a second.
 */
#ifndef ACC_ACCEL_RTL_DEVICE_H
#define ACC_ACCEL_RTL_DEVICE_H

#include "accel/rtl_plugin.h"
#include "accel/session.h"

/* Memory channels of the RTL that is there; E_UNSUPPORTED with what to do where none is. */
accllm_status acc_rtl_channels(uint32_t *channels, accllm_error *err) ACC_MUST_CHECK;
/* The channels hold what the image needs, whatever the RTL could address. */
acc_device_open acc_rtl_open;

/* The rest is for co-simulation; `d` is such a device. */
accllm_status acc_rtl_open_timed(acc_device *d, const acc_image_header *h, accllm_runtime *rt,
                                 const acc_rtl_timing *timing, accllm_error *err) ACC_MUST_CHECK;
extern const acc_rtl_timing acc_rtl_default_timing;
/* Until the run is done or, with `retired`, instructions have ended: *done says which. E_IO: the RTL stands still;
 * E_CANCELLED. */
accllm_status acc_rtl_go_on(acc_device *d, bool retired, bool *done, accllm_error *err) ACC_MUST_CHECK;
void acc_rtl_look(const acc_device *d, acc_rtl_view *view);
uint64_t acc_rtl_cycles(const acc_device *d); /* since the device was opened */
const uint8_t *acc_rtl_memory(const acc_device *d, uint32_t channel, uint64_t *bytes);

#endif
