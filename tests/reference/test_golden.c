/* Greedy texts of two small llama2.c models, equal to those of llama2.c's own program. Skipped where they are absent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reference/reference.h"
#include "support/tiny.h"

/* A piece as text: U+2581 is a blank, "<0x0A>" a byte. */
static size_t piece_text(const acc_gguf *g, size_t id, char *out, size_t cap)
{
    acc_str s;
    unsigned byte;
    char copy[64];
    assert_true(acc_gguf_array_str(g, "tokenizer.ggml.tokens", id, &s) && s.n < sizeof copy && s.n < cap);
    memcpy(copy, s.s, s.n);
    copy[s.n] = 0;
    if (s.n == 6 && sscanf(copy, "<0x%02X>", &byte) == 1) {
        out[0] = (char)byte;
        return 1;
    }
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool blank = strncmp(copy + i, "\xe2\x96\x81", 3) == 0;
        out[n++] = blank ? ' ' : copy[i];
        i += blank ? 2 : 0;
    }
    return n;
}

/* Greedy decoding from BOS for at most `steps` tokens, as llama2.c's program prints it. */
static size_t greedy(const char *path, uint32_t steps, char *text, size_t cap)
{
    accllm_error err;
    accllm_runtime rt = {0};
    acc_source *src;
    acc_ref_model *m;
    void *s;
    const acc_session_ops *ops;
    assert_int_equal(acc_pool_create(&rt.pool, 2, NULL), ACCLLM_OK);
    if (acc_checkpoint_open(&src, path, true, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(acc_ref_model_create(&m, &rt, src, &err), ACCLLM_OK);
    accllm_session_params p = {.full_attention = true, .chunk = 1};
    assert_int_equal(acc_ref_session_create(&s, &ops, m, &p, &err), ACCLLM_OK);
    uint32_t n_vocab = src->hp.n_vocab;
    float *logits = calloc(n_vocab, sizeof *logits);
    assert_non_null(logits);
    int32_t id = 1;
    size_t n = 0;
    for (uint32_t i = 0; i < steps; i++) {
        bool first = id == 1;
        assert_int_equal(ops->step(s, &id, 1, 1, logits, &err), ACCLLM_OK);
        id = 0;
        for (uint32_t j = 1; j < n_vocab; j++)
            if (logits[j] > logits[id]) id = (int32_t)j;
        if (id == 1) break;
        size_t len = piece_text(src->meta, (size_t)id, text + n, cap - n);
        if (first && len > 0 && text[n] == ' ') memmove(text + n, text + n + 1, --len);
        n += len;
    }
    free(logits);
    ops->free(s);
    acc_ref_model_free(&m);
    src->close(src);
    acc_pool_free(&rt.pool);
    return n;
}

static void same_text(const char *model, const char *golden, uint32_t steps)
{
    static char want[4096], got[8192];
    char *model_path = tiny_shared(model), *golden_path = tiny_shared(golden);
    if (!model_path || !golden_path) {
        free(model_path);
        free(golden_path);
        skip();
    }
    FILE *f = fopen(golden_path, "rb");
    assert_non_null(f);
    size_t n = fread(want, 1, sizeof want, f);
    (void)fclose(f);
    if (n > 0 && want[n - 1] == '\n') n--; /* that program ends its output so */
    size_t n_got = greedy(model_path, steps, got, sizeof got);
    free(model_path);
    free(golden_path);
    assert_int_equal(n_got, n);
    assert_memory_equal(got, want, n);
}

static void stories260k(void **state)
{
    (void)state;
    same_text("models/stories260K/stories260K.bin", "models/stories260K/stories260K.greedy200.txt", 200);
}

static void babyllama105(void **state)
{
    (void)state;
    same_text("models/babyllama105/model5000.bin", "models/babyllama105/model5000.greedy256.txt", 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stories260k), cmocka_unit_test(babyllama105)};
    return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
