/* What the memory of this machine gives to plain reads, for comparison with the decode loop. */
#ifndef ACC_EVAL_STREAM_H
#define ACC_EVAL_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "core/threads.h"

/* 1 GiB of memory that all workers of a pool read together, by the loop that is fastest here: which one that is differs
 * between processors, and a plain one can stay a fifth below it. The pool outlives it. E_NOMEM: no room. */
typedef struct acc_stream acc_stream;
accllm_status acc_stream_create(acc_stream **out, acc_pool *pool, accllm_error *err) ACC_MUST_CHECK;
void acc_stream_free(acc_stream **s);
/* Reads all of it again and again for as long, once at least; the mean rate in 1e9 bytes per second. */
double acc_stream_rate(acc_stream *s, double seconds);

/* The loops: each returns the exclusive or of the 8-byte words of n lines of 64 bytes. NULL: there are fewer. */
typedef uint64_t acc_read_loop(const uint8_t *p, size_t n);
acc_read_loop *acc_stream_loop(size_t i);
/* Bytes of the last-level cache that the first CPU sees; 0 where the system does not tell. */
uint64_t acc_last_level_cache(void);

#endif
