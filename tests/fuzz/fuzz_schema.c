/* JSON schemas: what their grammars draw is JSON. */
#include <jansson.h>

#include "fuzz/fuzz.h"
#include "grammar/rig.h"

/* Numbers may be larger than jansson's, and \u0000 is a character that it wants to be asked for. */
static void must_be_json(const char *text, size_t len)
{
    json_error_t err;
    json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &err);
    if (!value && json_error_code(&err) != json_error_numeric_overflow) {
        fprintf(stderr, "%s: %s\n", text, err.text);
        abort();
    }
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static rig r;
    accllm_grammar *g;
    accllm_error err = {0};
    if (!r.tok) r = rig_open();
    if (accllm_grammar_from_json_schema(&g, (const char *)data, size, &err) != ACCLLM_OK) {
        MUST(g == NULL && err.text[0]);
        return 0;
    }
    for (uint64_t seed = 0; seed < 3; seed++) {
        char text[1024];
        const size_t len = rig_draw(&r, g, seed, text, sizeof text);
        if (len != SIZE_MAX) must_be_json(text, len);
    }
    accllm_grammar_free(&g);
    return 0;
}
