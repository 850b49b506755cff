/* A tiny model with sessions and batches over it. Everything fails the test on any error. */
#ifndef ACC_TESTS_MODEL_BATCH_RIG_H
#define ACC_TESTS_MODEL_BATCH_RIG_H

#include "accllm/batch.h"
#include "support/pack.h"

#define VOCAB 300

typedef struct rig {
    char *path; /* a temporary file */
    accllm_runtime *rt;
    accllm_model *m;
} rig;

void ok(accllm_status status, const accllm_error *err);
void rig_open(rig *r, acc_format format, const char *isa, uint32_t threads);
void rig_close(rig *r);
accllm_session *make_session(const rig *r, const accllm_session_params *p);
accllm_batch *make_batch(const rig *r, uint32_t sessions, uint32_t tokens, uint32_t logits);
void expect(const accllm_batch_item *item, accllm_status status); /* and no logits unless OK */
accllm_session_params plain(void);                                /* the defaults, with trace */

#endif
