/* How a step's linear layers are cut into tiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/batch.h"

#define BLOCKS 7
#define TOKENS 33

/* Takes `piece` parts at a time: every block must meet every token once, in whole blocks where these are whole. */
static void cut(uint32_t cuts, uint32_t n_tokens, uint32_t piece)
{
    uint8_t met[BLOCKS][TOKENS] = {{0}};
    const uint32_t n = BLOCKS * cuts;
    for (uint32_t begin = 0; begin < n; begin += piece) {
        const uint32_t end = n - begin < piece ? n : begin + piece;
        uint32_t i = begin, tiles = 0;
        while (i < end) {
            const uint32_t before = i;
            const acc_tile t = acc_next_tile(cuts, n_tokens, &i, end);
            assert_true(i > before && i <= end);
            assert_true(t.rb0 < t.rb1 && t.rb1 <= BLOCKS && t.t0 < t.t1 && t.t1 <= n_tokens);
            if (before % cuts == 0 && end - before >= cuts) assert_true(t.t0 == 0 && t.t1 == n_tokens);
            for (uint32_t b = t.rb0; b < t.rb1; b++)
                for (uint32_t k = t.t0; k < t.t1; k++) assert_int_equal(met[b][k]++, 0);
            tiles++;
        }
        assert_true(tiles <= 3); /* the end of a block, whole ones, the beginning of another */
    }
    for (uint32_t b = 0; b < BLOCKS; b++)
        for (uint32_t k = 0; k < n_tokens; k++) assert_int_equal(met[b][k], 1);
}

static void every_block_meets_every_token_once(void **state)
{
    (void)state;
    for (uint32_t cuts = 1; cuts <= 8; cuts *= 2)
        for (uint32_t n_tokens = cuts; n_tokens <= TOKENS; n_tokens++)
            for (uint32_t piece = 1; piece <= BLOCKS * cuts; piece++) cut(cuts, n_tokens, piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_block_meets_every_token_once)};
    return cmocka_run_group_tests_name("linear", tests, NULL, NULL);
}
