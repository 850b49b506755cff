/*
 * Continues a text:  generate MODEL.gguf 'Once upon a time' [TOKENS]
 *
 * Shows the whole way: runtime, model, session, sampler, text stream. The file may be any that `accllm run` takes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/accllm.h"

static int fail(const accllm_error *err)
{
    (void)fprintf(stderr, "generate: %s\n", err->text);
    return 1;
}

static int generate(accllm_model *model, accllm_session *session, accllm_sampler *sampler, const char *prompt,
                    unsigned long n_tokens)
{
    const accllm_tokenizer *tok = accllm_model_tokenizer(model);
    accllm_error err = {0};
    int32_t *ids;
    size_t n;
    unsigned flags = accllm_tokenizer_adds_bos(tok) ? ACCLLM_TOKENIZE_BOS : 0;
    if (accllm_tokenize(tok, prompt, strlen(prompt), flags, &ids, &n, &err) != ACCLLM_OK) return fail(&err);

    const float *logits; /* of the last prompt token: they say what may come next */
    accllm_status status = accllm_session_eval(session, ids, n, 1, &logits, &err);
    free(ids);

    char text[1024]; /* ample for any vocabulary's longest token */
    accllm_text_stream stream;
    accllm_text_stream_init(&stream, n == 0);
    for (unsigned long i = 0; status == ACCLLM_OK && i < n_tokens; i++) {
        int32_t id = accllm_sampler_draw(sampler, logits, accllm_session_position(session));
        if (accllm_token_ends_text(tok, id)) break;
        size_t len;
        (void)accllm_token_bytes(tok, id, &len);
        if (len * 3 + 16 > sizeof text) continue;
        (void)fwrite(text, 1, accllm_text_stream_push(&stream, tok, id, text, sizeof text), stdout);
        (void)fflush(stdout);
        status = accllm_session_eval(session, &id, 1, 1, &logits, &err);
    }
    (void)fwrite(text, 1, accllm_text_stream_flush(&stream, text, sizeof text), stdout);
    (void)puts("");
    return status == ACCLLM_OK ? 0 : fail(&err);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: generate MODEL.gguf PROMPT [TOKENS]\n");
        return 2;
    }
    accllm_runtime *rt = NULL;
    accllm_model *model = NULL;
    accllm_session *session = NULL;
    accllm_sampler *sampler = NULL;
    accllm_error err = {0};
    accllm_runtime_params rp;
    accllm_model_params mp;
    accllm_session_params sp;
    accllm_sampler_params pp;
    accllm_runtime_params_init(&rp);
    accllm_model_params_init(&mp);
    accllm_session_params_init(&sp);
    accllm_sampler_params_init(&pp);

    int rc = 1;
    if (accllm_runtime_create(&rt, &rp, &err) != ACCLLM_OK || accllm_model_open(&model, rt, argv[1], &mp, &err) != 0 ||
        accllm_session_create(&session, model, &sp, &err) != ACCLLM_OK ||
        accllm_sampler_create(&sampler, &pp, accllm_model_get_info(model)->n_vocab, &err) != ACCLLM_OK)
        (void)fail(&err);
    else if (!accllm_model_tokenizer(model))
        (void)fprintf(stderr, "generate: %s has no tokenizer\n", argv[1]);
    else
        rc = generate(model, session, sampler, argv[2], argc > 3 ? strtoul(argv[3], NULL, 10) : 128);
    accllm_sampler_free(&sampler);
    accllm_session_free(&session);
    accllm_model_free(&model);
    accllm_runtime_free(&rt);
    return rc;
}
