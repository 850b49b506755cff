/* What requests are made against: the model, its tokenizer, limits and defaults. Not changed while the server runs. */
#ifndef ACC_SERVE_SERVICE_H
#define ACC_SERVE_SERVICE_H

#include "accllm/engine.h"
#include "accllm/grammar.h"
#include "accllm/sampler.h"

enum {
    ACC_MAX_BODY = 4 << 20,     /* bytes of a request's body */
    ACC_MAX_HEADERS = 32 << 10, /* of its headers */
    ACC_MAX_SEQUENCES = 128,    /* answers to one request */
    ACC_MAX_TEXTS = 1024,       /* of a request for embeddings */
};

typedef struct acc_service {
    const accllm_tokenizer *tok;
    const accllm_model_info *info;
    const accllm_vocabulary *vocabulary; /* for grammars */
    char model_name[128];
    accllm_sampler_params sampler;
    uint64_t max_tokens;    /* of an answer whose request says none, or -1 */
    uint64_t n_ctx;         /* tokens that prompt and answer may have together; 0: no end */
    uint32_t sinks, window; /* with n_ctx 0: the first tokens and the last ones, which stay */
    bool pin_system;        /* system messages must fit into the sinks */
    int64_t created;        /* seconds since 1970 */
} acc_service;

#endif
