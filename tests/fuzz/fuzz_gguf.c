/* A GGUF file's header and metadata, and the tokenizer that it describes. */
#include "accllm/tokenizer.h"
#include "format/gguf.h"
#include "fuzz/fuzz.h"
#include "tokenizer/tokenizer.h"

static void read_metadata(const acc_gguf *g)
{
    static const char *const keys[] = {"general.architecture", "tokenizer.ggml.tokens", "tokenizer.ggml.scores"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        acc_gguf_kv_type type;
        acc_str s;
        size_t n;
        double f;
        (void)acc_gguf_str(g, keys[i], &s);
        if (!acc_gguf_array(g, keys[i], &type, &n) || n == 0) continue;
        (void)acc_gguf_array_str(g, keys[i], n - 1, &s);
        (void)acc_gguf_array_f64(g, keys[i], n - 1, &f);
        MUST(!acc_gguf_array_str(g, keys[i], n, &s));
    }
}

static void read_tensors(const acc_gguf *g)
{
    for (size_t i = 0; i < acc_gguf_n_tensors(g); i++) {
        const acc_gguf_tensor *t = acc_gguf_tensor_at(g, i);
        const uint8_t *p = acc_gguf_data(g, t);
        volatile uint8_t seen = t->bytes ? (uint8_t)(p[0] ^ p[t->bytes - 1]) : 0;
        (void)seen;
        float row[32];
        accllm_error err;
        if (t->dim[0] >= 32) (void)(acc_gguf_read_f32(g, t, 0, 32, row, &err) == ACCLLM_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    acc_gguf *g;
    accllm_error err = {0};
    if (acc_gguf_parse(&g, data, size, &err) != ACCLLM_OK) {
        MUST(g == NULL && err.text[0]);
        return 0;
    }
    read_metadata(g);
    read_tensors(g);
    accllm_tokenizer *tok;
    if (acc_tokenizer_create(&tok, g, &err) == ACCLLM_OK) {
        int32_t *ids = NULL;
        size_t n;
        static const char text[] = "Once upon a time, <|im_start|> \xf0\x9f\x99\x82\n";
        if (accllm_tokenize(tok, text, sizeof text - 1, ACCLLM_TOKENIZE_SPECIAL, &ids, &n, &err) == ACCLLM_OK)
            free(ids);
        accllm_tokenizer_free(&tok);
    }
    acc_gguf_free(&g);
    return 0;
}
