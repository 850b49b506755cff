/*
 * States: what a session knows of its text, as bytes that the same model goes on from later, in this process or in
 * another, to the bit. A state holds what the session's cache holds and no more. It carries a hash of the model's file
 * and of its own bytes; what is damaged, cut short or of another model, version or session shape is refused.
 */
#ifndef ACCLLM_STATE_H
#define ACCLLM_STATE_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that accllm_session_save() will write for the session as it stands, with n_ids ids; 0: its engine has no states
 * (see there). */
ACCLLM_API size_t accllm_session_state_bytes(const accllm_session *s, size_t n_ids);

/* Writes the state to `to` [cap] and its length to *n. ids [n_ids] are kept beside it for whoever goes on from it (the
 * text so far, say); nothing reads them here. E_ARG: no room, a session with trace (its hash is of all that happened),
 * or one in use by another call. E_UNSUPPORTED: the float reference, the device and models without a file have no
 * states. Reads the model's whole file the first time. */
ACCLLM_API accllm_status accllm_session_save(accllm_session *s, const int32_t *ids, size_t n_ids, void *to, size_t cap,
                                             size_t *n, accllm_error *err);

/* Puts the session where the saved one stood, whatever it read before. The bytes may be hostile. At most cap of the ids
 * go to ids (may be NULL if cap is 0), and their number in the state to *n_ids. E_FORMAT: damaged or no state; E_ARG:
 * of another model, or of a session with other parameters (sinks, window, context, bits, near, chunk); E_UNSUPPORTED:
 * as for saving, or another version of the format. On a failure the session stays as it was. */
ACCLLM_API accllm_status accllm_session_load(accllm_session *s, const void *from, size_t n, int32_t *ids, size_t cap,
                                             size_t *n_ids, accllm_error *err);

#ifdef __cplusplus
}
#endif

#endif
