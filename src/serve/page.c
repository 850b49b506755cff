#include "serve/page.h"

#include <event2/buffer.h>
#include <string.h>

#include "serve/http.h"

/* The page may load and ask this server alone, and nothing may turn text into markup or script. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

static const acc_page_file *find(const char *path)
{
    for (size_t i = 0; i < acc_page_count; i++)
        if (strcmp(path, acc_page_files[i].path) == 0) return &acc_page_files[i];
    return NULL;
}

static void add_headers(struct evkeyvalq *headers, const acc_page_file *f)
{
    (void)evhttp_add_header(headers, "ETag", f->etag);
    (void)evhttp_add_header(headers, "Cache-Control", "no-cache"); /* kept, but asked for again: programs are updated */
    (void)evhttp_add_header(headers, "Content-Security-Policy", policy);
    (void)evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    (void)evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
    (void)evhttp_add_header(headers, "Cross-Origin-Resource-Policy", "same-origin");
}

void acc_serve_page(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    acc_problem p;
    const acc_page_file *f = find(path);
    (void)body;
    if (!f) {
        (void)acc_refuse(&p, 404, "not_found", NULL, "there is nothing at this address");
        acc_http_refuse(h, req, &p);
        return;
    }
    const char *known = evhttp_find_header(evhttp_request_get_input_headers(req), "If-None-Match");
    add_headers(evhttp_request_get_output_headers(req), f);
    if (known && strstr(known, f->etag)) {
        acc_metrics_reply(&h->metrics, 304);
        evhttp_send_reply(req, 304, NULL, NULL);
        return;
    }
    struct evbuffer *out = evbuffer_new();
    if (out && evbuffer_add_reference(out, f->bytes, f->n, NULL, NULL) == 0)
        acc_http_send(h, req, 200, f->type, out);
    else
        acc_http_json(h, req, 500, NULL);
    if (out) evbuffer_free(out);
}
