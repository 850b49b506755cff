/*
 * How well a model predicts a text:  perplexity MODEL.gguf TEXT.txt [CTX]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "accllm/accllm.h"

static char *read_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    if (size > 0 && fseek(f, 0, SEEK_SET) == 0) text = malloc((size_t)size);
    if (text && fread(text, 1, (size_t)size, f) != (size_t)size) {
        free(text);
        text = NULL;
    }
    *len = text ? (size_t)size : 0;
    if (f) (void)fclose(f);
    return text;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: perplexity MODEL.gguf TEXT.txt [CTX]\n");
        return 2;
    }
    size_t len;
    char *text = read_file(argv[2], &len);
    if (!text) {
        (void)fprintf(stderr, "perplexity: %s: cannot be read or is empty\n", argv[2]);
        return 1;
    }
    accllm_runtime *rt = NULL;
    accllm_model *model = NULL;
    accllm_error err = {0};
    accllm_runtime_params rp;
    accllm_model_params mp;
    accllm_session_params sp; /* sinks, window, KV bits: as the file says */
    accllm_ppl_params pp;
    accllm_ppl_result r = {0};
    accllm_runtime_params_init(&rp);
    accllm_model_params_init(&mp);
    accllm_session_params_init(&sp);
    accllm_ppl_params_init(&pp);
    if (argc > 3) pp.ctx = (uint32_t)strtoul(argv[3], NULL, 10);

    int rc = 1;
    if (accllm_runtime_create(&rt, &rp, &err) != ACCLLM_OK || accllm_model_open(&model, rt, argv[1], &mp, &err) != 0 ||
        accllm_eval_ppl(model, &sp, text, len, &pp, &r, &err) != ACCLLM_OK) {
        (void)fprintf(stderr, "perplexity: %s\n", err.text);
    } else {
        (void)printf("perplexity %.4f over %" PRIu64 " tokens\n", r.ppl, r.tokens);
        rc = 0;
    }
    accllm_ppl_result_free(&r);
    accllm_model_free(&model);
    accllm_runtime_free(&rt);
    free(text);
    return rc;
}
