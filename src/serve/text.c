#include "serve/text.h"

#include <stdlib.h>

json_t *acc_text_of(const accllm_tokenizer *tok, const int32_t *ids, size_t n, bool at_start)
{
    size_t cap = 16, len = 0, one;
    for (size_t i = 0; i < n; i++) {
        (void)accllm_token_bytes(tok, ids[i], &one);
        cap += 3 * one + 16;
    }
    char *out = malloc(cap);
    if (!out) return NULL;
    accllm_text_stream stream;
    accllm_text_stream_init(&stream, at_start);
    for (size_t i = 0; i < n; i++) len += accllm_text_stream_push(&stream, tok, ids[i], out + len, cap - len);
    len += accllm_text_stream_flush(&stream, out + len, cap - len);
    json_t *text = json_stringn(out, len);
    free(out);
    return text;
}
