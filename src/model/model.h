/*
 * The quantised engine (docs/numerics.md): sessions over a packed model, prefill in chunks and decode, bit-exact
 * whatever the kernel set, thread count or chunk size.
 */
#ifndef ACC_MODEL_MODEL_H
#define ACC_MODEL_MODEL_H

#include "engine/engine.h"
#include "model/packed.h"

/* Prepares a packed model for a runtime's kernel set (repacks where that set wants it). */
accllm_status acc_model_prepare(acc_packed *m, accllm_runtime *rt, accllm_error *err) ACC_MUST_CHECK;
accllm_status acc_quant_session_create(void **self, const acc_session_ops **ops, acc_packed *m, accllm_runtime *rt,
                                       const accllm_session_params *p, accllm_error *err) ACC_MUST_CHECK;

#endif
