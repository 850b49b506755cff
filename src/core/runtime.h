/* The inside of accllm_runtime. */
#ifndef ACC_CORE_RUNTIME_H
#define ACC_CORE_RUNTIME_H

#include <stdatomic.h>

#include "accllm/runtime.h"
#include "core/status.h"
#include "core/threads.h"

struct acc_kernels; /* kernels/kernels.h */

struct accllm_runtime {
    acc_pool *pool;
    const struct acc_kernels *kernels;
    atomic_bool abort;
    void (*log)(void *user, const char *line);
    void *log_user;
};

/* E_CANCELLED once the abort flag is up. */
accllm_status acc_check_abort(const accllm_runtime *rt, accllm_error *err) ACC_MUST_CHECK;
void acc_log(const accllm_runtime *rt, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
