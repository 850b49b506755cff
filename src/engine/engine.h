/*
 * The inside of accllm_model and accllm_session: a session is one of two engines behind a small table.
 * {eval, compress} and the public calls work on this alone.
 */
#ifndef ACC_ENGINE_ENGINE_H
#define ACC_ENGINE_ENGINE_H

#include "accllm/engine.h"
#include "core/runtime.h"
#include "format/checkpoint.h"

/* One engine's session. All functions get the engine's own state. */
typedef struct acc_session_ops {
    /* 1 <= n <= chunk tokens; logits [n_logits][n_vocab] for the last n_logits of them. */
    accllm_status (*step)(void *self, const int32_t *ids, uint32_t n, uint32_t n_logits, float *logits,
                          accllm_error *err);
    void (*reset)(void *self);
    bool (*rewind)(void *self, uint64_t position); /* <= the present one; false: its window is not kept any more */
    void (*free)(void *self);
    uint64_t (*position)(const void *self);
    uint64_t (*bytes)(const void *self);
    uint64_t (*trace_hash)(const void *self);
    accllm_status (*fill)(void *self, uint64_t depth, accllm_error *err);
    uint64_t (*kv_bytes_per_token)(const void *self);
    /* A state as bytes; all three NULL: the engine has none. load leaves the session as it was when it fails. */
    size_t (*state_bytes)(const void *self);
    void (*save)(const void *self, uint8_t *to);
    accllm_status (*load)(void *self, const uint8_t *from, size_t n, accllm_error *err);
} acc_session_ops;

#endif
