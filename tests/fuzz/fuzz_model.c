/* A model file as source checkpoint and as packed file; what loads is read whole and run for a few tokens. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accllm/engine.h"
#include "fuzz/fuzz.h"
#include "support/whole.h"

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
