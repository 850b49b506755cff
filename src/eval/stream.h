/* What the memory of this machine gives to plain reads, for comparison with the decode loop. */
#ifndef ACC_EVAL_STREAM_H
#define ACC_EVAL_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "core/threads.h"

/* The rate at which all workers of the pool together read 1 GiB, in 1e9 bytes per second: the best run of the best
 * loop. Which loop is best differs between processors, and a plain one can stay a fifth below it. E_NOMEM: no room for
 * the buffer. */
accllm_status acc_stream_gb_s(acc_pool *pool, double *gb_s, accllm_error *err) ACC_MUST_CHECK;
/* The loops: each returns the exclusive or of the 8-byte words of n lines of 64 bytes. NULL: there are fewer. */
typedef uint64_t acc_read_loop(const uint8_t *p, size_t n);
acc_read_loop *acc_stream_loop(size_t i);
/* Bytes of the last-level cache that the first CPU sees; 0 where the system does not tell. */
uint64_t acc_last_level_cache(void);

#endif
