#include "serve/scores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/text.h"

/* JSON has no infinity; OpenAI's API says -9999 for what is impossible. */
static json_t *number(float logprob)
{
    if (isnan(logprob)) return json_null();
    return json_real(isinf(logprob) ? -9999.0 : (double)logprob);
}

/* "bytes:\xe2\x80" */
static json_t *escaped(const char *bytes, size_t n)
{
    const size_t cap = 6 + 4 * n + 1;
    char *out = malloc(cap);
    if (!out) return NULL;
    size_t len = (size_t)snprintf(out, cap, "bytes:");
    for (size_t i = 0; i < n; i++) len += (size_t)snprintf(out + len, cap - len, "\\x%02x", (unsigned char)bytes[i]);
    json_t *text = json_string(out);
    free(out);
    return text;
}

/* The token's text; parts of characters as U+FFFD or, exact, escaped, so that different tokens stay different. */
static json_t *token_text(const accllm_tokenizer *tok, int32_t id, bool exact)
{
    size_t n;
    const char *bytes = accllm_token_bytes(tok, id, &n);
    if (n == 0) return json_string(accllm_token_text(tok, id));
    json_t *whole = json_stringn(bytes, n);
    if (whole) return whole;
    return exact ? escaped(bytes, n) : acc_text_of(tok, &id, 1, false);
}

static json_t *byte_list(const accllm_tokenizer *tok, int32_t id)
{
    size_t n;
    const char *bytes = accllm_token_bytes(tok, id, &n);
    if (n == 0) {
        bytes = accllm_token_text(tok, id);
        n = strlen(bytes);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) (void)json_array_append_new(list, json_integer((unsigned char)bytes[i]));
    return list;
}

static json_t *entry(const accllm_tokenizer *tok, int32_t id, float logprob)
{
    return json_pack("{s:o,s:o,s:o}", "token", token_text(tok, id, false), "logprob", number(logprob), "bytes",
                     byte_list(tok, id));
}

json_t *acc_score_chat(const accllm_tokenizer *tok, const acc_record *r)
{
    json_t *e = entry(tok, r->id, r->logprob), *top = json_array();
    for (uint32_t i = 0; i < r->n_top; i++)
        (void)json_array_append_new(top, entry(tok, r->top[i].id, r->top[i].logprob));
    if (json_object_set_new(e, "top_logprobs", top) == 0) return e;
    json_decref(e);
    return NULL;
}

/* Different tokens may have the same text: the likeliest, which comes first, stays. */
static void add_top(json_t *top, const accllm_tokenizer *tok, int32_t id, float logprob)
{
    json_t *text = token_text(tok, id, true);
    const char *key = json_string_value(text);
    if (key && !json_object_get(top, key)) (void)json_object_set_new(top, key, number(logprob));
    json_decref(text);
}

bool acc_score_completion(json_t *const arrays[4], const accllm_tokenizer *tok, const acc_record *r, uint64_t offset)
{
    json_t *top = isnan(r->logprob) ? json_null() : json_object();
    if (json_is_object(top)) {
        for (uint32_t i = 0; i < r->n_top; i++) add_top(top, tok, r->top[i].id, r->top[i].logprob);
        add_top(top, tok, r->id, r->logprob); /* the token itself always, as OpenAI's API does */
    }
    json_t *item[4] = {token_text(tok, r->id, true), number(r->logprob), top, json_integer((json_int_t)offset)};
    bool ok = true;
    for (size_t i = 0; i < 4; i++) ok &= json_array_append_new(arrays[i], item[i]) == 0;
    return ok;
}
