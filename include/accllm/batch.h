/*
 * Batches: several sessions of one model advance in one pass over its weights. Each may feed one token (decode) or a
 * chunk of its prompt (prefill), so a server mixes both; sessions come and go between steps as they like. A session's
 * results are to the bit what it would give alone (docs/numerics.md).
 */
#ifndef ACCLLM_BATCH_H
#define ACCLLM_BATCH_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The memory that a step needs; used by one thread at a time. It keeps nothing of a session from step to step. */
typedef struct accllm_batch accllm_batch;

typedef struct accllm_batch_params {
    size_t struct_size;
    uint32_t max_sessions; /* of one step; 0: 16 */
    uint32_t max_tokens;   /* of all its sessions together, up to 4096; 0: 128 + max_sessions */
    uint32_t max_logits;   /* rows of logits that one step returns; 0: max_sessions */
} accllm_batch_params;

ACCLLM_API void accllm_batch_params_init(accllm_batch_params *p);
/* All memory is taken here; a step allocates nothing. The model must outlive the batch. */
ACCLLM_API accllm_status accllm_batch_create(accllm_batch **out, accllm_model *m, const accllm_batch_params *p,
                                             accllm_error *err);
ACCLLM_API void accllm_batch_free(accllm_batch **b);           /* NULL-safe, clears the pointer */
ACCLLM_API uint64_t accllm_batch_bytes(const accllm_batch *b); /* memory that the batch owns */

/* What one session does in a step. */
typedef struct accllm_batch_item {
    accllm_session *session; /* of the batch's model; only once in a step, and in no other call meanwhile */
    const int32_t *ids;      /* [n] tokens to feed */
    uint32_t n;              /* 1 to the session's chunk */
    uint32_t n_logits;       /* of the last of them, 0 to n; the session's max_logits does not matter here */
    float *hidden; /* [n][n_embd]: where the state of each of them behind the output norm goes, in the source model's
                    * channels; NULL: nowhere. Undefined if the item fails */
    /* Filled by the step: */
    const float *logits;  /* [n_logits][n_vocab], the batch's, valid until its next step; NULL: none, or failed */
    accllm_status status; /* OK: the session advanced by n tokens. Else it stands where it was, and so may go on */
} accllm_batch_item;

/* One step over n items. Each succeeds or fails by itself, as its status says: E_ARG (no session or tokens, one of
 * another model, one of the accelerator, one twice or in use by another call, a token outside the vocabulary, n out of
 * range), E_LIMIT (its context is full; no room for its tokens or logits in the batch beside the items before it),
 * E_UNSUPPORTED (hidden states of the float reference), E_NUMERIC; E_CANCELLED stops all. Returns OK if all succeeded,
 * else the first failure met, which err describes ("item 3: ..."). More than max_sessions items, or none: E_ARG for
 * all, nothing is done. The float reference runs the items one after the other. */
ACCLLM_API accllm_status accllm_batch_step(accllm_batch *b, accllm_batch_item *items, size_t n, accllm_error *err);

#ifdef __cplusplus
}
#endif
#endif
