/* The trained model, packed by round-to-nearest: one trace hash for every kernel set, thread count and chunk size.
 * Unlike random weights it has the outliers and the peaked attention of real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/accllm.h"
#include "kernels/kernels.h"
#include "model/run.h"
#include "support/pack.h"

static const char text[] =
    "Once upon a time there was a little girl who lived with her mother in a small house at the edge "
    "of the wood, and every morning she went to the well to draw water.";

static void check(const char *path, const int32_t *ids, uint32_t n)
{
    static const uint32_t chunks[] = {1, 7, 64};
    const char *sets[8];
    uint64_t expected = 0;
    acc_kernels_available(sets);
    for (uint32_t k = 0; sets[k]; k++)
        for (uint32_t threads = 1; threads <= 2; threads++)
            for (uint32_t c = 0; c < 3; c++) {
                run_options o = {
                    .isa = sets[k], .threads = threads, .chunk = chunks[c], .sinks = 4, .window = 20, .bits = 4};
                o.company = threads == 2 && c < 2 ? 2 : 0;
                const uint64_t hash = run_model(path, &o, ids, n, NULL);
                if (expected == 0) expected = hash;
                if (hash != expected) fail_msg("%s, %u threads, chunk %u", sets[k], threads, chunks[c]);
            }
}

static void one_hash(void **state)
{
    (void)state;
    accllm_error err;
    accllm_tokenizer *tok;
    int32_t *ids;
    size_t n;
    char *path = tiny_path("packed.gguf");
    if (accllm_tokenizer_open(&tok, TINY_MODEL, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    assert_int_equal(accllm_tokenize(tok, text, strlen(text), ACCLLM_TOKENIZE_BOS, &ids, &n, &err), ACCLLM_OK);
    assert_true(n > 30);
    for (int format = 0; format < ACC_FMT_COUNT; format++) {
        const pack_options o = pack_defaults((acc_format)format);
        if (pack_model(TINY_MODEL, path, &o, &err) != ACCLLM_OK) fail_msg("%s", err.text);
        check(path, ids, (uint32_t)n);
        (void)unlink(path);
    }
    free(ids);
    free(path);
    accllm_tokenizer_free(&tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_hash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
