/* What tokens say, as JSON. */
#ifndef ACC_SERVE_TEXT_H
#define ACC_SERVE_TEXT_H

#include <jansson.h>

#include "accllm/tokenizer.h"

/* The text of ids [n], parts of characters as U+FFFD; at_start: it is a text's beginning. NULL: out of memory. */
json_t *acc_text_of(const accllm_tokenizer *tok, const int32_t *ids, size_t n, bool at_start);

#endif
