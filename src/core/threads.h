/*
 * A fixed pool of threads with spin-then-sleep barriers. The caller takes part; a pool of one thread runs everything in
 * the caller. The threads run with the floating-point mode of their creator (core/fpmode.h).
 */
#ifndef ACC_CORE_THREADS_H
#define ACC_CORE_THREADS_H

#include <stdint.h>

#include "core/status.h"

typedef struct acc_pool acc_pool;
typedef void acc_job(void *ctx, uint32_t worker, uint32_t n_workers);

accllm_status acc_pool_create(acc_pool **out, uint32_t n_threads, accllm_error *err) ACC_MUST_CHECK;
void acc_pool_free(acc_pool **pool);
uint32_t acc_pool_size(const acc_pool *pool);
/* Runs job(ctx, w, n) once for every w < n, at the same time where the system has time for all threads, and returns
 * when all are done. One thread may run several w one after the other. Callers of several threads take turns; a job
 * must not start another. */
void acc_pool_run(acc_pool *pool, acc_job *job, void *ctx);

/* min(physical cores in the affinity mask, cgroup CPU quota rounded down), at least 1. */
uint32_t acc_default_threads(void);

/* The share [*begin, *end) of n items that worker w of n_workers takes. */
static inline void acc_share(uint32_t n, uint32_t w, uint32_t n_workers, uint32_t *begin, uint32_t *end)
{
    *begin = (uint32_t)((uint64_t)n * w / n_workers);
    *end = (uint32_t)((uint64_t)n * (w + 1) / n_workers);
}

#endif
