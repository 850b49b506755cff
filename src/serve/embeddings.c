/*
 * Embeddings: the mean of a text's hidden states behind the output norm, of length 1. A text must fit into the
 * attention as a whole, so that its last tokens have seen its first.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/fields.h"
#include "serve/reply.h"

static bool read_form(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p)
{
    int64_t dimensions = s->info->n_embd;
    const char *text = NULL, *format = "float";
    size_t len;
    if (!acc_field_text(body, "model", &text, &len, p)) return false;
    if (!acc_field_text(body, "encoding_format", &format, &len, p)) return false;
    r->base64 = strcmp(format, "base64") == 0;
    if (!r->base64 && strcmp(format, "float") != 0)
        return acc_refuse(p, 400, "invalid_value", "encoding_format", "encoding_format must be float or base64");
    if (!acc_field_int(body, "dimensions", 1, INT32_MAX, &dimensions, p)) return false;
    return dimensions == s->info->n_embd || acc_refuse(p, 400, "unsupported_parameter", "dimensions",
                                                       "this model's embeddings have %u dimensions", s->info->n_embd);
}

static bool check_lengths(const acc_request *r, const acc_service *s, acc_problem *p)
{
    const uint64_t most = s->n_ctx ? s->n_ctx : (uint64_t)s->sinks + s->window;
    for (size_t i = 0; i < r->n_prompts; i++)
        if (r->prompt[i].n > most)
            return acc_refuse(p, 400, "context_length_exceeded", "input",
                              "text %zu has %zu tokens; an embedding may be of %llu", i, r->prompt[i].n,
                              (unsigned long long)most);
    return true;
}

bool acc_request_read_embed(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p)
{
    *r = (acc_request){.embed = true, .n = 1, .settings.sampler = s->sampler};
    bool ok = json_is_object(body) ||
              acc_refuse(p, 400, "invalid_type", NULL, "the body of the request must be a JSON object");
    ok = ok && (s->info->numerics == ACCLLM_NUMERICS_CONTRACT ||
                acc_refuse(p, 400, "unsupported_model", "model", "the float reference gives no embeddings"));
    ok = ok && read_form(r, s, body, p) && acc_read_prompts(r, s, body, "input", p) && check_lengths(r, s, p);
    if (!ok) acc_request_free(r);
    return ok;
}

static json_t *as_list(const float *x, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_real((double)x[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* The floats' bytes, little-endian, as base64. */
static json_t *as_text(const float *x, uint32_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t bytes = (size_t)n * sizeof *x;
    const unsigned char *in = (const unsigned char *)x;
    char *out = malloc((bytes + 2) / 3 * 4 + 1), *at = out;
    if (!out) return NULL;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
        for (int k = 0; k < 4; k++) *at++ = (size_t)k > left ? '=' : digits[three >> (18 - 6 * k) & 63];
    }
    json_t *text = json_stringn(out, (size_t)(at - out));
    free(out);
    return text;
}

/* x [n] = the sum of the states at length 1; zeros stay zeros. */
static void normalise(const double *sum, uint32_t n, float *x)
{
    double square = 0;
    for (uint32_t i = 0; i < n; i++) square += sum[i] * sum[i];
    for (uint32_t i = 0; i < n; i++) x[i] = square > 0 ? (float)(sum[i] / sqrt(square)) : 0;
}

json_t *acc_reply_embeddings(const acc_reply *r, const acc_sequence *seq, size_t n, uint32_t n_embd)
{
    json_t *list = json_array();
    float *x = malloc(n_embd * sizeof *x);
    bool ok = list && x;
    for (size_t i = 0; ok && i < n; i++) {
        normalise(seq[i].pool, n_embd, x);
        json_t *vector = r->request->base64 ? as_text(x, n_embd) : as_list(x, n_embd);
        ok = json_array_append_new(list, json_pack("{s:s,s:I,s:o}", "object", "embedding", "index", (json_int_t)i,
                                                   "embedding", vector)) == 0;
    }
    free(x);
    const json_int_t tokens = (json_int_t)r->prompt_tokens;
    if (ok)
        return json_pack("{s:s,s:o,s:s,s:{s:I,s:I}}", "object", "list", "data", list, "model", r->model, "usage",
                         "prompt_tokens", tokens, "total_tokens", tokens);
    json_decref(list);
    return NULL;
}
