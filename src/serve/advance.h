/* One step of the engine for several sequences. */
#ifndef ACC_SERVE_ADVANCE_H
#define ACC_SERVE_ADVANCE_H

#include "serve/slot.h"

/* Fills logits, status and error of each step. */
void acc_advance(acc_step *steps, size_t n);

#endif
