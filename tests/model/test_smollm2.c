/* SmolLM2-135M, packed by round-to-nearest W4: one trace hash for every kernel set, thread count, chunk size and
 * company. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/hash.h"
#include "kernels/kernels.h"
#include "model/run.h"
#include "support/pack.h"

static char *path;

static int setup(void **state)
{
    (void)state;
    char *src = tiny_real_model();
    if (!src) return 0;
    accllm_error err = {0};
    pack_options o = pack_defaults(ACC_FMT_W4);
    o.page = 256;
    o.window = 2048;
    path = tiny_path("smollm2.gguf");
    int bad = !path || pack_model(src, path, &o, &err) != ACCLLM_OK;
    if (bad) (void)fprintf(stderr, "%s\n", err.text);
    free(src);
    return bad;
}

static int teardown(void **state)
{
    (void)state;
    int bad = path ? unlink(path) : 0;
    free(path);
    return bad;
}

/* Every set, 1 and 2 threads, the chunks; the slow scalar set over fewer tokens. An expected hash of 0 becomes the
 * first. */
static void check(const char *isa, uint32_t n, uint64_t *expected)
{
    static const uint32_t chunks[] = {1, 7, 64, 128};
    int32_t ids[100];
    for (uint32_t i = 0; i < 100; i++) ids[i] = (int32_t)(acc_random(3, i) % 49152);
    for (uint32_t threads = 1; threads <= 2; threads++)
        for (uint32_t c = 0; c < 4; c++) {
            run_options o = {.isa = isa, .threads = threads, .chunk = chunks[c], .sinks = 4, .window = 40, .bits = 4};
            o.company = threads == 2 && c < 2 ? 3 : 0;
            uint64_t hash = run_model(path, &o, ids, n, NULL);
            if (*expected == 0) *expected = hash;
            if (hash != *expected)
                fail_msg("%s, %u threads, chunk %u: %016llx, not %016llx", isa, threads, chunks[c],
                         (unsigned long long)hash, (unsigned long long)*expected);
        }
}

static void one_hash(void **state)
{
    (void)state;
    if (!path) skip();
    const char *sets[8];
    acc_kernels_available(sets);
    int32_t ids[100];
    for (uint32_t i = 0; i < 100; i++) ids[i] = (int32_t)(acc_random(3, i) % 49152);
    run_options o = {.isa = "scalar", .threads = 2, .chunk = 16, .sinks = 4, .window = 40, .bits = 4};
    uint64_t few = run_model(path, &o, ids, 12, NULL), many = 0; /* the first fast set's */
    check("scalar", 12, &few);
    for (uint32_t k = 1; sets[k]; k++) {
        check(sets[k], 12, &few);
        check(sets[k], 100, &many);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_hash)};
    return cmocka_run_group_tests_name("smollm2", tests, setup, teardown);
}
