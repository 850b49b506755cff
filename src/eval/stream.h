/* What the memory of this machine gives to plain reads, for comparison with the decode loop. */
#ifndef ACC_EVAL_STREAM_H
#define ACC_EVAL_STREAM_H

#include <stdint.h>

#include "core/threads.h"

/* Best of 5 reads of 1 GiB by all workers of the pool, in 1e9 bytes per second. E_NOMEM: no room for the buffer. */
accllm_status acc_stream_gb_s(acc_pool *pool, double *gb_s, accllm_error *err) ACC_MUST_CHECK;
/* Bytes of the last-level cache that the first CPU sees; 0 where the system does not tell. */
uint64_t acc_last_level_cache(void);

#endif
