/* Log-probabilities as JSON, in the forms of chat and of completions. */
#ifndef ACC_SERVE_SCORES_H
#define ACC_SERVE_SCORES_H

#include <jansson.h>

#include "serve/sequence.h"

/* {token, logprob, bytes, top_logprobs}; NULL: out of memory. */
json_t *acc_score_chat(const accllm_tokenizer *tok, const acc_record *r);
/* Appends to the four arrays of a completion: tokens, token_logprobs, top_logprobs, text_offset. */
bool acc_score_completion(json_t *const arrays[4], const accllm_tokenizer *tok, const acc_record *r, uint64_t offset);

#endif
