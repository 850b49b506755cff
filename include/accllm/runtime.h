/*
 * The runtime: CPU features, kernel table, thread pool and log callback. The only root object; there is no global
 * state, so several runtimes may live in one process.
 */
#ifndef ACCLLM_RUNTIME_H
#define ACCLLM_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accllm_runtime accllm_runtime;

typedef struct accllm_runtime_params {
    size_t struct_size;                        /* set by accllm_runtime_params_init() */
    uint32_t n_threads;                        /* 0: physical cores, affinity mask and CPU quota decide */
    const char *isa;                           /* "auto" (or NULL), "scalar", "avx2", "avx512", "amx", "neon", ... */
    void (*log)(void *user, const char *line); /* may be NULL */
    void *log_user;
} accllm_runtime_params;

ACCLLM_API void accllm_runtime_params_init(accllm_runtime_params *p);

/* E_UNSUPPORTED: the instruction set is unknown, not built in, or missing on this machine (the text names those that
 * exist). The runtime must outlive every object made from it. */
ACCLLM_API accllm_status accllm_runtime_create(accllm_runtime **out, const accllm_runtime_params *p, accllm_error *err);
ACCLLM_API void accllm_runtime_free(accllm_runtime **rt); /* NULL-safe, clears the pointer */

ACCLLM_API const char *accllm_runtime_isa(const accllm_runtime *rt); /* the chosen kernel set */
ACCLLM_API uint32_t accllm_runtime_threads(const accllm_runtime *rt);

/* Ask every running call on this runtime to stop at the next layer with E_CANCELLED. Safe in a signal handler. The
 * flag stays up until accllm_runtime_clear_abort(). */
ACCLLM_API void accllm_runtime_abort(accllm_runtime *rt);
ACCLLM_API void accllm_runtime_clear_abort(accllm_runtime *rt);
ACCLLM_API bool accllm_runtime_aborted(const accllm_runtime *rt);

/* Peak resident set of this process in bytes; 0 where the system does not tell. */
ACCLLM_API uint64_t accllm_peak_rss_bytes(void);
/* Resident set of this process now, in bytes; 0 where the system does not tell. */
ACCLLM_API uint64_t accllm_rss_bytes(void);

#ifdef __cplusplus
}
#endif
#endif
