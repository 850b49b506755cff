/* Sessions on the device model, for the tests of src/accel. */
#ifndef ACC_TESTS_ACCEL_RIG_H
#define ACC_TESTS_ACCEL_RIG_H

#include "accel/session.h"
#include "model/run.h"

/* What run_model() does, on the device model with `channels` memory channels; seed: of the order in which queues are
 * served. Chunks and threads of o do not matter here; isa is not used. */
uint64_t accel_run(const char *path, const run_options *o, uint32_t channels, uint64_t seed, const int32_t *ids,
                   uint32_t n, float *out);

#endif
