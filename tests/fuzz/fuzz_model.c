/* A model file as source checkpoint and as packed file; what loads is read whole and run for a few tokens. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accllm/engine.h"
#include "fuzz/fuzz.h"
#include "model/packed.h"

#define MOST_FLOATS (1 << 20) /* of a tensor of ours: the seeds are far below */

static void read_everything(const acc_source *s)
{
    accllm_error err;
    for (int i = 0; i < ACC_T_COUNT; i++) {
        uint64_t rows, cols;
        acc_tensor_shape(&s->hp, (acc_tensor_id)i, &rows, &cols);
        if (rows > MOST_FLOATS / cols) continue;
        float *x = malloc((size_t)(rows * cols) * sizeof *x);
        MUST(x != NULL);
        for (uint32_t layer = 0; layer < s->hp.n_layers; layer++) {
            if (!s->has(s, (acc_tensor_id)i, layer)) continue;
            const accllm_status st = s->read_rows(s, (acc_tensor_id)i, layer, 0, rows, x, &err);
            MUST(st == ACCLLM_OK || st == ACCLLM_E_NUMERIC);
            if (acc_tensor_is_global((acc_tensor_id)i)) break;
        }
        free(x);
    }
}

static void as_source(const char *path)
{
    acc_source *s;
    accllm_error err = {0};
    if (acc_checkpoint_open(&s, path, false, &err) != ACCLLM_OK) {
        MUST(s == NULL && err.text[0]);
        return;
    }
    read_everything(s);
    s->close(s);
}

static void run(accllm_model *m)
{
    accllm_session_params p;
    accllm_session *s;
    accllm_error err = {0};
    accllm_session_params_init(&p);
    p.window = 64;
    p.chunk = 8;
    p.force = true;
    if (accllm_session_create(&s, m, &p, &err) != ACCLLM_OK) return;
    const int32_t ids[3] = {1, 2, 3};
    const float *logits;
    const accllm_status st = accllm_session_eval(s, ids, 3, 1, &logits, &err);
    MUST(st == ACCLLM_OK || st == ACCLLM_E_NUMERIC || st == ACCLLM_E_ARG);
    accllm_session_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static accllm_runtime *rt;
    accllm_error err = {0};
    if (!rt) {
        accllm_runtime_params p;
        accllm_runtime_params_init(&p);
        p.n_threads = 1;
        MUST(accllm_runtime_create(&rt, &p, &err) == ACCLLM_OK);
    }
    const int fd = memfd_create("model", MFD_CLOEXEC);
    char path[40];
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    as_source(path);
    accllm_model *m;
    accllm_model_params p;
    accllm_model_params_init(&p);
    p.use_mmap = false;
    if (accllm_model_open(&m, rt, path, &p, &err) == ACCLLM_OK) {
        run(m);
        accllm_model_free(&m);
    } else {
        MUST(m == NULL && err.text[0]);
    }
    MUST(close(fd) == 0);
    return 0;
}
