#include "serve/advance.h"

void acc_advance(acc_step *steps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        acc_step *t = &steps[i];
        t->status = accllm_session_eval(t->slot->session, t->ids, t->n, t->n_logits, t->n_logits ? &t->logits : NULL,
                                        &t->error);
    }
}
