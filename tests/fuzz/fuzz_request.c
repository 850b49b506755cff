/* Bodies of requests: JSON to settings and token ids, as a chat, a completion and for embeddings. */
#include <jansson.h>

#include "fuzz/fuzz.h"
#include "serve/request.h"

#define MODEL MODELS_FOLDER "/smollm2-135m-instruct/smollm2-135m-instruct-w2s.gguf"

static acc_service *service(void)
{
    static acc_service s;
    static accllm_model_info info = {.name = "fuzz"};
    accllm_tokenizer *tok;
    accllm_vocabulary *vocabulary;
    accllm_error err;
    if (s.tok) return &s;
    MUST(accllm_tokenizer_open(&tok, MODEL, &err) == ACCLLM_OK);
    info.n_vocab = (uint32_t)accllm_tokenizer_size(tok);
    MUST(accllm_vocabulary_create(&vocabulary, tok, info.n_vocab, &err) == ACCLLM_OK);
    s = (acc_service){
        .tok = tok, .info = &info, .vocabulary = vocabulary, .model_name = "fuzz", .max_tokens = 64, .n_ctx = 4096};
    accllm_sampler_params_init(&s.sampler);
    return &s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_error_t error;
    json_t *body = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &error);
    if (!body) return 0;
    for (int kind = 0; json_is_object(body) && kind < 3; kind++) {
        acc_request r = {0};
        acc_problem p = {0};
        const bool ok = kind < 2 ? acc_request_read(&r, service(), kind == 0, body, &p)
                                 : acc_request_read_embed(&r, service(), body, &p);
        MUST(ok ? r.n_prompts > 0 : p.status >= 400 && p.message[0]);
        acc_request_free(&r);
    }
    json_decref(body);
    return 0;
}
