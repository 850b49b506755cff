/* The insides of accllm_model and accllm_session. */
#ifndef ACC_ENGINE_INTERNAL_H
#define ACC_ENGINE_INTERNAL_H

#include <stdatomic.h>

#include "accllm/batch.h"
#include "engine/engine.h"
#include "model/model.h"
#include "reference/reference.h"

struct accllm_model {
    accllm_runtime *rt;
    accllm_model_info info;
    acc_packed *packed; /* of an AccLLM file or a random model */
    acc_ref_model *ref; /* the float reference, when the model runs on it */
    accllm_tokenizer *tokenizer;
    _Atomic uint64_t identity; /* of the file, 0: not asked for yet (state.c) */
};

struct accllm_session {
    accllm_model *model;
    const acc_session_ops *ops;
    void *self;
    accllm_session_params params; /* resolved */
    float *logits;                /* [max_logits][n_vocab]; NULL: for batches only */
    size_t logits_bytes;
    atomic_flag busy; /* a call is using the session */
};

struct accllm_batch {
    accllm_model *model;
    accllm_batch_params params; /* resolved */
    acc_batch *work;            /* of the quantised engine, else NULL */
    acc_step_item *steps;       /* [max_sessions] */
    float *logits;              /* [max_logits][n_vocab] */
    size_t logits_bytes;
    uint32_t n_tokens, n_logits; /* of the present step: room given out */
    atomic_flag busy;
};

/* session.c: takes the session for one call; E_ARG: another has it. Given back by acc_session_leave(). */
accllm_status acc_session_enter(accllm_session *s, accllm_error *err) ACC_MUST_CHECK;
void acc_session_leave(accllm_session *s);
/* Rows of logits for a session or a batch. */
accllm_status acc_logits_alloc(float **out, size_t *bytes, const accllm_model *m, uint32_t rows,
                               accllm_error *err) ACC_MUST_CHECK;

/* info.c: everything but name and file size follows from the hyper-parameters and the tensors. */
void acc_info_packed(accllm_model_info *info, const acc_packed *m);
void acc_info_source(accllm_model_info *info, const acc_source *src);
/* The bytes of weights that one token's step reads: linear layers and lm_head, in the kernel set's own layout where it
 * has one; floats in the reference. */
void acc_info_read_bytes(const accllm_model *m, uint64_t *linear, uint64_t *head);
/* File and random models alike: a window of 0 in the file means the rule of design section 9. */
void acc_info_default_window(accllm_model_info *info);
/* The window where none is asked for: the default one, less what more sinks than usual need of the trained context. */
uint32_t acc_info_window(const accllm_model_info *info, uint32_t sinks);

/* An AccLLM file in the quantised engine whose matrices are changed between reading and preparing. */
typedef accllm_status acc_packed_edit(void *user, acc_packed *m, accllm_error *err);
accllm_status acc_model_open_edited(accllm_model **out, accllm_runtime *rt, const char *path, acc_packed_edit *edit,
                                    void *user, accllm_error *err) ACC_MUST_CHECK;

#endif
