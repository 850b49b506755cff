/* The loops of the memory measurement read every byte that they are given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hash.h"
#include "eval/stream.h"

enum { MOST = 1031 };

static void every_loop_reads_every_line(void **state)
{
    (void)state;
    static _Alignas(64) uint64_t data[MOST * 8];
    for (size_t i = 0; i < MOST * 8; i++) data[i] = acc_random(3, i);
    size_t n_loops = 0;
    while (acc_stream_loop(n_loops)) n_loops++;
    assert_true(n_loops > 3);
    uint64_t want = 0;
    for (size_t n = 0; n <= MOST; n++) {
        for (size_t i = 0; i < n_loops; i++) assert_true(acc_stream_loop(i)((const uint8_t *)data, n) == want);
        for (size_t i = 8 * n; n < MOST && i < 8 * n + 8; i++) want ^= data[i];
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_loop_reads_every_line)};
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
