/* GBNF: what is drawn through the masks, token by token, the grammar has, byte by byte. */
#include "fuzz/fuzz.h"
#include "grammar/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static rig r;
    accllm_grammar *g;
    accllm_error err = {0};
    if (!r.tok) r = rig_open();
    if (accllm_grammar_parse(&g, (const char *)data, size, &err) != ACCLLM_OK) {
        MUST(g == NULL && err.text[0]);
        return 0;
    }
    for (uint64_t seed = 0; seed < 3; seed++) {
        char text[512];
        const size_t len = rig_draw(&r, g, seed, text, sizeof text);
        bool can_end;
        if (len == SIZE_MAX) continue;
        MUST(rig_follow(&r, g, text, len, &can_end) == len && can_end);
    }
    accllm_grammar_free(&g);
    return 0;
}
