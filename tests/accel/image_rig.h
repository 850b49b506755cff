/* A small W2S model and its images, for the tests of what the compiler makes. */
#ifndef ACC_TESTS_ACCEL_IMAGE_RIG_H
#define ACC_TESTS_ACCEL_IMAGE_RIG_H

#include "accel/compile.h"

/* Packs and opens the model, and frees and deletes it: setup and teardown of a group of tests. */
int image_rig_setup(void **state);
int image_rig_teardown(void **state);

const acc_packed *image_rig_model(void);

/* Its image for `channels` memory channels, sinks 4, window 40; the caller frees it. */
acc_image image_rig_compile(uint32_t channels);

#endif
