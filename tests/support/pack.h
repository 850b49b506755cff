/* Packs a checkpoint by plain round-to-nearest into any mix of formats: valid files for tests, no good compression. */
#ifndef ACC_TESTS_SUPPORT_PACK_H
#define ACC_TESTS_SUPPORT_PACK_H

#include "model/packed.h"
#include "support/tiny.h"

typedef struct pack_options {
    acc_format linear[ACC_N_LINEAR];     /* q k v o gate up down: by id - ACC_T_ATTN_Q */
    acc_format head;                     /* embedding and output */
    uint32_t group;                      /* 0: by the rule */
    uint32_t linear_group[ACC_N_LINEAR]; /* 0: group */
    uint32_t level1, level2;
    uint32_t page, sinks, window, kv_bits;
    bool k_mean, q_direction; /* small pseudo-random means */
    bool embd_scale;          /* pseudo-random scales; the matrix stays as it is */
} pack_options;

/* All linear layers in one format, head W8, page 64, 4 sinks, window 128, KV4, levels (1, 2), no mean. */
pack_options pack_defaults(acc_format linear);
accllm_status pack_model(const char *src, const char *dst, const pack_options *o, accllm_error *err) ACC_MUST_CHECK;
/* Both at once, by way of a temporary file: a tiny packed model at dst. */
accllm_status pack_tiny(const char *dst, const tiny_options *t, const pack_options *o,
                        accllm_error *err) ACC_MUST_CHECK;

#endif
