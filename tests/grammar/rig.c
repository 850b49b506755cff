#include "grammar/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "tokenizer/internal.h"
#include "tokenizer/make.h"

static const test_token tokens[] = {
    {"<s>", ACC_TOKEN_CONTROL, 0},
    {"</s>", ACC_TOKEN_CONTROL, 0},
    {"a", 0, -1},
    {"b", 0, -2},
    {"ab", 0, -3},
    {"aa", 0, -4},
    {"aaaa", 0, -5},
    {"ba", 0, -6},
    {"abc", 0, -7},
    {"{\"", 0, -8},
    {"\":", 0, -9},
    {"\",", 0, -10},
    {"\":\"", 0, -11},
    {"true", 0, -12},
    {"}}", 0, -13},
    {"[1", 0, -14},
    {"12", 0, -15},
    {"\xe2\x96\x81", 0, -16},
    {"\xe2\x96\x81\xe2\x96\x81", 0, -17},
    {"\xe2\x96\x81{", 0, -18},
    {"\xe2\x96\x81"
     "a",
     0, -19},
    {"\xc3", 0, -20},
    {"a\xc3", 0, -21},
    {"\xa9"
     "b",
     0, -22},
    {"\xc3\xa9", 0, -23},
    {"\xc3\xa9\xc3\xa9", 0, -24},
    {"\xf0\x9f\x98", 0, -25},
    {"\n", 0, -26},
    {"\n\n", 0, -27},
    {"x\"", 0, -28},
    {"-1.5e", 0, -29},
    {"...", 0, -30},
};

rig rig_open(void)
{
    rig r = {0};
    test_vocab v = test_vocab_empty("llama");
    accllm_error err = {0};
    v.tokens = tokens;
    v.n_tokens = sizeof tokens / sizeof *tokens;
    v.bytes = true;
    v.bos = 256;
    v.eos = 257;
    r.tok = test_make(&v, &err);
    if (!r.tok) fail_msg("%s", err.text);
    r.n_vocab = (uint32_t)accllm_tokenizer_size(r.tok) + 70;
    assert_int_equal(accllm_vocabulary_create(&r.vocab, r.tok, r.n_vocab, &err), ACCLLM_OK);
    return r;
}

void rig_close(rig *r)
{
    accllm_vocabulary_free(&r->vocab);
    accllm_tokenizer_free(&r->tok);
}

accllm_grammar *rig_grammar(const char *text)
{
    accllm_error err = {0};
    accllm_grammar *g = NULL;
    if (accllm_grammar_parse(&g, text, strlen(text), &err) != ACCLLM_OK) fail_msg("%s: %s", text, err.text);
    return g;
}

bool rig_allowed(const uint64_t *mask, int32_t id)
{
    return mask[id / 64] >> id % 64 & 1;
}

size_t rig_follow(const rig *r, const accllm_grammar *g, const char *text, size_t len, bool *can_end)
{
    accllm_matcher *m;
    size_t i = 0;
    assert_int_equal(accllm_matcher_create(&m, g, r->vocab, false, NULL), ACCLLM_OK);
    while (i < len && accllm_matcher_accept(m, (uint8_t)text[i])) i++; /* ids 0 to 255 are the bytes */
    *can_end = accllm_matcher_can_end(m);
    accllm_matcher_free(&m);
    return i;
}

bool rig_has(const rig *r, const accllm_grammar *g, const char *text)
{
    bool can_end;
    return rig_follow(r, g, text, strlen(text), &can_end) == strlen(text) && can_end;
}

size_t rig_draw(const rig *r, const accllm_grammar *g, uint64_t seed, char *text, size_t cap)
{
    accllm_matcher *m;
    size_t used = 0, len;
    bool ended = false;
    assert_int_equal(accllm_matcher_create(&m, g, r->vocab, false, NULL), ACCLLM_OK);
    for (uint64_t step = 0; !ended; step++) {
        uint32_t n, k;
        int32_t id = 0;
        const uint64_t *mask = accllm_matcher_mask(m, &n);
        if (n == 0) break;
        for (k = (uint32_t)(acc_random(seed, step) % n);; id++)
            if (rig_allowed(mask, id) && k-- == 0) break;
        const char *bytes = accllm_token_bytes(r->tok, id, &len);
        if (used + len >= cap) break;
        assert_true(accllm_matcher_accept(m, id));
        memcpy(text + used, bytes, len);
        used += len;
        ended = accllm_token_ends_text(r->tok, id) || accllm_matcher_must_end(m);
    }
    text[used] = '\0';
    accllm_matcher_free(&m);
    return ended ? used : SIZE_MAX;
}

void rig_add(char *text, size_t size, size_t *used, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text + *used, size - *used, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < size - *used);
    *used += (size_t)n;
}
