/*
 * The quantised engine (docs/numerics.md): sessions over a packed model, prefill in chunks and decode, bit-exact
 * whatever the kernel set, thread count or chunk size.
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
/* A session. The parameters are resolved: window, kv_bits, chunk and (with full attention) n_ctx are not 0. */
accllm_status acc_quant_session_create(void **self, const acc_session_ops **ops, acc_packed *m, accllm_runtime *rt,
                                       const accllm_session_params *p, accllm_error *err) ACC_MUST_CHECK;

#endif
