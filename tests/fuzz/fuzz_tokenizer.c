/* Any bytes through the tokenizers of the shipped models. Byte-level BPE gives valid UTF-8 back to the bit where its
 * vocabulary has all the bytes (SmolLM2's lacks some control characters, for one: they are left out). */
#include <string.h>

#include "accllm/tokenizer.h"
#include "fuzz/fuzz.h"
#include "tokenizer/utf8.h"

static accllm_tokenizer *open_or_end(const char *path)
{
    accllm_tokenizer *tok;
    accllm_error err = {0};
    if (accllm_tokenizer_open(&tok, path, &err) == ACCLLM_OK) return tok;
    fprintf(stderr, "%s\n", err.text);
    abort();
}

/* The bytes that are tokens. */
static void find_bytes(const accllm_tokenizer *tok, bool has[256])
{
    for (int32_t id = 0; id < accllm_tokenizer_size(tok); id++) {
        size_t n;
        const char *bytes = accllm_token_bytes(tok, id, &n);
        if (n == 1) has[(uint8_t)bytes[0]] = true;
    }
}

static bool comes_back(const bool has[256], const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!has[text[i]]) return false;
    return acc_utf8_valid((const char *)text, size) == size;
}

static void through(const accllm_tokenizer *tok, const char *text, size_t len, unsigned flags, bool exact)
{
    int32_t *ids;
    size_t n, at = 0, used;
    accllm_error err = {0};
    MUST(accllm_tokenize(tok, text, len, flags, &ids, &n, &err) == ACCLLM_OK);
    accllm_text_stream s;
    accllm_text_stream_init(&s, true);
    char out[4096];
    for (size_t i = 0; i < n; i++) {
        const char *bytes = accllm_token_bytes(tok, ids[i], &used);
        if (exact) MUST(used <= len - at && memcmp(bytes, text + at, used) == 0);
        at += used;
        MUST(accllm_text_stream_push(&s, tok, ids[i], out, sizeof out) <= sizeof out);
    }
    if (exact) MUST(at == len);
    (void)accllm_text_stream_flush(&s, out, sizeof out);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static accllm_tokenizer *bpe, *spm;
    static bool has[256];
    if (!bpe) {
        bpe = open_or_end(MODELS_FOLDER "/smollm2-135m-instruct/smollm2-135m-instruct-w2s.gguf");
        spm = open_or_end(MODELS_FOLDER "/tiny/tiny.gguf");
        find_bytes(bpe, has);
    }
    const char *text = (const char *)data;
    through(bpe, text, size, 0, comes_back(has, data, size));
    through(bpe, text, size, ACCLLM_TOKENIZE_SPECIAL, false);
    through(spm, text, size, ACCLLM_TOKENIZE_BOS, false);
    return 0;
}
