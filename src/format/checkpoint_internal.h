/* What the source formats share. */
#ifndef ACC_FORMAT_CHECKPOINT_INTERNAL_H
#define ACC_FORMAT_CHECKPOINT_INTERNAL_H

#include "format/checkpoint.h"

/* Sizes that no model of this family has; they keep every product of two in 64 bits and buffers in reason. */
#define ACC_MAX_LAYERS 1024u
#define ACC_MAX_WIDTH 131072u /* n_embd, n_ff, n_heads * head_dim */
#define ACC_MAX_VOCAB (1u << 22)

/* Takes *g on success only. */
accllm_status acc_llama_gguf_open(acc_source **out, acc_gguf **g, accllm_error *err) ACC_MUST_CHECK;
/* Takes *f on success only. path tells where the tokenizer stands. */
accllm_status acc_llama2c_open(acc_source **out, acc_file *f, const char *path, accllm_error *err) ACC_MUST_CHECK;
/* Metadata in GGUF form for a llama2.c tokenizer file; *bytes is malloc'ed and must outlive *meta. */
accllm_status acc_llama2c_tokenizer(acc_gguf **meta, uint8_t **bytes, const char *model_path, uint32_t n_vocab,
                                    accllm_error *err) ACC_MUST_CHECK;

#endif
