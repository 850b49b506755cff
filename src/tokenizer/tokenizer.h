/* Making a tokenizer from metadata in memory; accllm/tokenizer.h has the rest. */
#ifndef ACC_TOKENIZER_TOKENIZER_H
#define ACC_TOKENIZER_TOKENIZER_H

#include "accllm/tokenizer.h"
#include "core/status.h"
#include "format/gguf.h"

/*
 * Reads the tokenizer.* keys of meta. Everything is copied: the tokenizer stays valid when meta is freed. Models "gpt2"
 * (byte-level BPE) and "llama" (SentencePiece-BPE). E_FORMAT: keys that are missing, of a wrong type or contradict each
 * other (a merge of unknown tokens, ids outside the vocabulary); E_UNSUPPORTED: another model, or a pre-tokenizer that
 * is not in the table of pretokenizer.c (the message lists the known ones); E_LIMIT: over 2^24 tokens, a token over 64
 * KiB, texts made to collide in a hash table.
 */
accllm_status acc_tokenizer_create(accllm_tokenizer **out, const acc_gguf *meta, accllm_error *err) ACC_MUST_CHECK;

#endif
