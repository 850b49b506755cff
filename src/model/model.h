/*
 * The quantised engine (docs/numerics.md): sessions over a packed model, prefill in chunks and decode, bit-exact
 * whatever the kernel set, thread count, chunk size or company in a batch.
 */
#ifndef ACC_MODEL_MODEL_H
#define ACC_MODEL_MODEL_H

#include "engine/engine.h"
#include "model/packed.h"

/* Prepares a packed model for a runtime's kernel set (repacks where that set wants it, and gives the file's pages of
 * what was repacked back to the system). Once per model. */
accllm_status acc_model_prepare(acc_packed *m, accllm_runtime *rt, accllm_error *err) ACC_MUST_CHECK;
/* Frees what acc_model_prepare() took; before acc_packed_free(). */
void acc_model_release(acc_packed *m);
/* A session. The parameters are resolved: window, kv_bits, chunk and (with full attention) n_ctx are not 0. Its step is
 * a batch of one, in memory of its own unless it is for batches only. */
accllm_status acc_quant_session_create(void **self, const acc_session_ops **ops, acc_packed *m, accllm_runtime *rt,
                                       const accllm_session_params *p, accllm_error *err) ACC_MUST_CHECK;

/* The working memory of a forward pass over up to max_rows tokens of any sessions of one model. */
typedef struct acc_batch acc_batch;
#define ACC_MAX_ROWS 4096u

accllm_status acc_batch_create(acc_batch **out, acc_packed *m, accllm_runtime *rt, uint32_t max_rows,
                               accllm_error *err) ACC_MUST_CHECK;
void acc_batch_free(acc_batch **b);
uint64_t acc_batch_bytes(const acc_batch *b);

/* What one session does in a step. */
typedef struct acc_step_item {
    void *session;      /* of acc_quant_session_create(), of the batch's model; not twice in one step */
    const int32_t *ids; /* [n], 1 <= n <= the session's chunk */
    uint32_t n;
    uint32_t n_logits; /* wanted of the last of them */
    float *logits;     /* [n_logits][n_vocab] */
    float *hidden; /* [n][n_embd]: each token's state behind the output norm, as the source has it; NULL: not wanted */
    accllm_status status;
} acc_step_item;

/* One pass over items that have at most max_rows tokens together: every linear layer reads its weights once for all
 * rows, attention is each session's own. Items whose status is not OK are left out. Afterwards status says whether the
 * session advanced by n tokens (OK) or stands where it was. Returns the first failure, which err tells, by the item's
 * number where there are several. */
accllm_status acc_batch_step(acc_batch *b, acc_step_item *items, uint32_t n_items, accllm_error *err) ACC_MUST_CHECK;

#endif
