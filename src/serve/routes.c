/* Which endpoint answers a request, after the checks that all requests pass. */
#include <event2/buffer.h>
#include <string.h>

#include "serve/http.h"

typedef struct route {
    const char *path; /* without /v1; one that ends in / takes all below it, but for the root */
    enum evhttp_cmd_type method;
    bool open; /* asks for no key */
    acc_endpoint *answer;
} route;

static const route routes[] = {
    {"/chat/completions", EVHTTP_REQ_POST, false, acc_serve_chat},
    {"/completions", EVHTTP_REQ_POST, false, acc_serve_completion},
    {"/embeddings", EVHTTP_REQ_POST, false, acc_serve_embeddings},
    {"/models", EVHTTP_REQ_GET, false, acc_serve_models},
    {"/models/", EVHTTP_REQ_GET, false, acc_serve_model},
    {"/tokenize", EVHTTP_REQ_POST, false, acc_serve_tokenize},
    {"/detokenize", EVHTTP_REQ_POST, false, acc_serve_detokenize},
    {"/tokenizer_info", EVHTTP_REQ_GET, false, acc_serve_tokenizer_info},
    {"/metrics", EVHTTP_REQ_GET, false, acc_serve_metrics},
    {"/health", EVHTTP_REQ_GET, true, acc_serve_health},
    {"/", EVHTTP_REQ_GET, true, acc_serve_page},
    {"/web/", EVHTTP_REQ_GET, true, acc_serve_page},
};

static const route *find(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t n = strlen(routes[i].path);
        bool below = n > 1 && routes[i].path[n - 1] == '/' && strncmp(path, routes[i].path, n) == 0 && path[n];
        if (below || strcmp(path, routes[i].path) == 0) return &routes[i];
    }
    return NULL;
}

static void add_header(struct evhttp_request *req, const char *name, const char *value)
{
    (void)evhttp_add_header(evhttp_request_get_output_headers(req), name, value);
}

/* A page of another site must not use the server through its visitor's browser, even where it could not read the
 * answer. */
static bool check_origin(acc_http *h, struct evhttp_request *req, acc_problem *p)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(req);
    const char *origin = evhttp_find_header(headers, "Origin");
    if (!origin) return true;
    if (!acc_guard_origin(h->guard, origin, evhttp_find_header(headers, "Host")))
        return acc_refuse(p, 403, "origin_not_allowed", NULL, "pages of %s may not use this server without --cors %s",
                          origin, origin);
    add_header(req, "Access-Control-Allow-Origin", origin);
    add_header(req, "Vary", "Origin");
    return true;
}

static void answer_preflight(acc_http *h, struct evhttp_request *req)
{
    const char *headers = evhttp_find_header(evhttp_request_get_input_headers(req), "Access-Control-Request-Headers");
    add_header(req, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    add_header(req, "Access-Control-Allow-Headers", headers ? headers : "authorization, content-type");
    add_header(req, "Access-Control-Max-Age", "86400");
    acc_metrics_reply(&h->metrics, 204);
    evhttp_send_reply(req, 204, NULL, NULL);
}

static bool check_method(struct evhttp_request *req, const route *r, acc_problem *p)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(req);
    if (method == r->method || (method == EVHTTP_REQ_HEAD && r->method == EVHTTP_REQ_GET)) return true;
    const char *allowed = r->method == EVHTTP_REQ_POST ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
    add_header(req, "Allow", allowed);
    return acc_refuse(p, 405, "method_not_allowed", NULL, "this address takes %s", allowed);
}

static bool read_body(struct evhttp_request *req, json_t **body, acc_problem *p)
{
    json_error_t why;
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t n = evbuffer_get_length(in);
    if (n > ACC_MAX_BODY)
        return acc_refuse(p, 413, "request_too_large", NULL, "the body has %zu bytes, more than %d", n, ACC_MAX_BODY);
    if (n == 0) return acc_refuse(p, 400, "invalid_json", NULL, "the request has no body");
    const unsigned char *bytes = evbuffer_pullup(in, -1);
    if (!bytes) return acc_refuse_memory(p);
    *body = json_loadb((const char *)bytes, n, JSON_REJECT_DUPLICATES, &why);
    if (*body) return true;
    return acc_refuse(p, 400, "invalid_json", NULL, "the body is not JSON: line %d, column %d: %s", why.line,
                      why.column, why.text);
}

void acc_route(struct evhttp_request *req, void *arg)
{
    acc_http *h = arg;
    acc_problem p = {0};
    json_t *body = NULL;
    const route *r = NULL;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    path = path ? path : "";
    bool ok = check_origin(h, req, &p);
    if (ok && evhttp_request_get_command(req) == EVHTTP_REQ_OPTIONS) {
        answer_preflight(h, req);
        return;
    }
    if (strncmp(path, "/v1/", 4) == 0 && path[4]) path += 3;
    if (ok) r = find(path);
    if (ok && !r) ok = acc_refuse(&p, 404, "not_found", NULL, "there is nothing at this address");
    if (ok && !r->open &&
        !acc_guard_key(h->guard, evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization")))
        ok = acc_refuse(&p, 401, "invalid_api_key", NULL, "the API key is missing or wrong");
    ok = ok && check_method(req, r, &p) && (r->method != EVHTTP_REQ_POST || read_body(req, &body, &p));
    if (ok)
        r->answer(h, req, path, body);
    else
        acc_http_refuse(h, req, &p);
    json_decref(body);
}
