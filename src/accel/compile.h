/* The compiler: a packed model and a cache geometry become an image (image.h). */
#ifndef ACC_ACCEL_COMPILE_H
#define ACC_ACCEL_COMPILE_H

#include "accel/image.h"
#include "model/packed.h"

typedef struct acc_compile_params {
    uint32_t channels; /* 1..32 */
    uint32_t sinks, window, kv_bits;
    uint32_t near; /* with 4 bits: positions that are kept at 8 bits too */
} acc_compile_params;

/* E_UNSUPPORTED: the model does not fit the hardware's fields, vector memory or channels; says what. */
accllm_status acc_compile(acc_image *im, const acc_packed *m, const acc_compile_params *p,
                          accllm_error *err) ACC_MUST_CHECK;

#endif
