/* The short answers: health, metrics, models, the tokenizer. */
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/fields.h"
#include "serve/http.h"
#include "serve/request.h"
#include "serve/text.h"

void acc_serve_health(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    acc_problem p;
    (void)path;
    (void)body;
    if (h->deadline == 0) {
        acc_http_json(h, req, 200, json_pack("{s:s}", "status", "ok"));
        return;
    }
    acc_refuse_shutting_down(h, &p);
    acc_http_refuse(h, req, &p);
}

void acc_serve_metrics(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    acc_load load = acc_scheduler_load(h->scheduler);
    struct evbuffer *out = evbuffer_new();
    (void)path;
    (void)body;
    if (!out || acc_metrics_print(&h->metrics, &load, h->sessions, out) != 0) {
        acc_http_json(h, req, 500, NULL);
    } else {
        acc_http_send(h, req, 200, "text/plain; version=0.0.4; charset=utf-8", out);
    }
    if (out) evbuffer_free(out);
}

/* What holds for a request that does not say. A float is shown by the fewest digits that name it. */
static json_t *sampling(const acc_service *s)
{
    char digits[32];
    const accllm_sampler_params *p = &s->sampler;
    const float value[] = {p->temperature, p->top_p, p->min_p, p->repeat_penalty};
    double shown[4];
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(digits, sizeof digits, "%.6g", (double)value[i]);
        shown[i] = strtod(digits, NULL);
    }
    return json_pack("{s:f,s:f,s:f,s:f,s:I,s:I}", "temperature", shown[0], "top_p", shown[1], "min_p", shown[2],
                     "repetition_penalty", shown[3], "top_k", (json_int_t)p->top_k, "max_tokens",
                     (json_int_t)s->max_tokens);
}

static json_t *model(const acc_service *s)
{
    json_t *meta = json_pack("{s:I,s:I,s:f,s:b,s:I,s:o,s:o,s:b,s:o}", "n_params", (json_int_t)s->info->n_params,
                             "n_vocab", (json_int_t)s->info->n_vocab, "bits_per_weight", s->info->bits_per_weight,
                             "chat", accllm_chat_supported(s->tok), "n_ctx_train", (json_int_t)s->info->n_ctx_train,
                             "sinks", s->n_ctx ? json_null() : json_integer(s->sinks), "window",
                             s->n_ctx ? json_null() : json_integer(s->window), "pin_system", s->pin_system, "sampling",
                             sampling(s));
    return json_pack("{s:s,s:s,s:I,s:s,s:I,s:o}", "id", s->model_name, "object", "model", "created",
                     (json_int_t)s->created, "owned_by", "accllm", "max_model_len",
                     (json_int_t)(s->n_ctx ? s->n_ctx : s->info->n_ctx_train), "meta", meta);
}

void acc_serve_models(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    (void)path;
    (void)body;
    acc_http_json(h, req, 200, json_pack("{s:s,s:[o]}", "object", "list", "data", model(h->service)));
}

void acc_serve_model(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    acc_problem p;
    char *name = evhttp_uridecode(path + strlen("/models/"), 0, NULL);
    (void)body;
    if (name && strcmp(name, h->service->model_name) == 0) {
        acc_http_json(h, req, 200, model(h->service));
    } else {
        (void)acc_refuse(&p, 404, "model_not_found", "model", "there is no model %s here", name ? name : "");
        acc_http_refuse(h, req, &p);
    }
    free(name);
}

/* Two dialects: {prompt, add_special_tokens: true} and {content, add_special: false}; also {messages}. */
static bool tokenize(const acc_service *s, const json_t *body, int32_t **ids, size_t *n, acc_problem *p)
{
    accllm_error err = {0};
    const char *text = NULL;
    size_t len;
    bool special = true, generate = true;
    if (!json_is_object(body)) return acc_refuse(p, 400, "invalid_type", NULL, "the body must be a JSON object");
    if (acc_field(body, "messages"))
        return acc_field_bool(body, "add_generation_prompt", &generate, p) &&
               acc_chat_ids(s, body, generate, ids, n, NULL, p);
    if (!acc_field_text(body, "content", &text, &len, p)) return false;
    if (text) special = false;
    if (!acc_field_text(body, "prompt", &text, &len, p)) return false;
    if (!acc_field_bool(body, "add_special", &special, p)) return false;
    if (!acc_field_bool(body, "add_special_tokens", &special, p)) return false;
    if (!text) return acc_refuse(p, 400, "missing_required_parameter", "prompt", "prompt is missing");
    unsigned flags = ACCLLM_TOKENIZE_SPECIAL;
    if (special && accllm_tokenizer_adds_bos(s->tok)) flags |= ACCLLM_TOKENIZE_BOS;
    if (accllm_tokenize(s->tok, text, len, flags, ids, n, &err) == ACCLLM_OK) return true;
    return acc_refuse(p, err.code == ACCLLM_E_NOMEM ? 500 : 400, NULL, "prompt", "%s", err.text);
}

void acc_serve_tokenize(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    acc_problem p;
    int32_t *ids = NULL;
    size_t n = 0;
    (void)path;
    if (tokenize(h->service, body, &ids, &n, &p)) {
        const acc_service *s = h->service;
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++) (void)json_array_append_new(list, json_integer(ids[i]));
        acc_http_json(h, req, 200,
                      json_pack("{s:o,s:I,s:I}", "tokens", list, "count", (json_int_t)n, "max_model_len",
                                (json_int_t)(s->n_ctx ? s->n_ctx : s->info->n_ctx_train)));
    } else {
        acc_http_refuse(h, req, &p);
    }
    free(ids);
}

void acc_serve_detokenize(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    acc_problem p;
    int32_t *ids = NULL;
    size_t n;
    const json_t *list = json_is_object(body) ? acc_field(body, "tokens") : NULL;
    (void)path;
    bool ok = json_is_array(list) ||
              acc_refuse(&p, 400, "missing_required_parameter", "tokens", "tokens must be a list of token ids");
    ok = ok && acc_read_ids(h->service, list, "tokens", &ids, &n, &p);
    json_t *text = ok ? acc_text_of(h->service->tok, ids, n, true) : NULL;
    if (ok && !text) ok = acc_refuse_memory(&p);
    if (ok) {
        acc_http_json(h, req, 200, json_pack("{s:o,s:O}", "prompt", text, "content", text));
    } else {
        acc_http_refuse(h, req, &p);
    }
    free(ids);
}

static json_t *token_name(const accllm_tokenizer *tok, int32_t id)
{
    return id >= 0 ? json_string(accllm_token_text(tok, id)) : json_null();
}

void acc_serve_tokenizer_info(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    const accllm_tokenizer *tok = h->service->tok;
    const char *template = accllm_chat_template(tok);
    (void)path;
    (void)body;
    acc_http_json(h, req, 200,
                  json_pack("{s:o,s:o,s:n,s:s?,s:b,s:i}", "bos_token", token_name(tok, accllm_tokenizer_bos(tok)),
                            "eos_token", token_name(tok, accllm_tokenizer_eos(tok)), "pad_token", "chat_template",
                            template, "add_bos_token", accllm_tokenizer_adds_bos(tok), "vocab_size",
                            (int)accllm_tokenizer_size(tok)));
}
