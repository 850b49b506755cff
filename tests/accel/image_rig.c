#include "accel/image_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/pack.h"

static acc_packed *model;
static char *path;

int image_rig_setup(void **state)
{
    (void)state;
    accllm_error err;
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W2S);
    p.k_mean = p.q_direction = true;
    path = tiny_path("image.gguf");
    return !path || pack_tiny(path, &t, &p, &err) != ACCLLM_OK ||
           acc_packed_open(&model, path, true, true, &err) != ACCLLM_OK;
}

const acc_packed *image_rig_model(void)
{
    return model;
}

int image_rig_teardown(void **state)
{
    (void)state;
    acc_packed_free(&model);
    const int bad = unlink(path);
    free(path);
    return bad;
}

acc_image image_rig_compile(uint32_t channels)
{
    accllm_error err;
    acc_image im;
    const acc_compile_params p = {.channels = channels, .sinks = 4, .window = 40, .kv_bits = 4, .near = 16};
    if (acc_compile(&im, model, &p, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return im;
}
