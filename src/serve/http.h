/*
 * The side that speaks HTTP: one thread, libevent's evhttp. http.c has the listener and the events, routes.c finds who
 * answers a request, endpoints.c the short answers, page.c the web chat, exchange.c answers that the engine writes.
 */
#ifndef ACC_SERVE_HTTP_H
#define ACC_SERVE_HTTP_H

#include <event2/event.h>
#include <event2/http.h>
#include <jansson.h>

#include "serve/guard.h"
#include "serve/metrics.h"
#include "serve/problem.h"
#include "serve/scheduler.h"
#include "serve/service.h"

typedef struct acc_http {
    accllm_runtime *rt;
    acc_scheduler *scheduler;
    const acc_service *service;
    const acc_guard *guard;
    uint32_t sessions, ping_seconds, drain_seconds;
    int stop_fd, wake_fd; /* eventfds */
    /* http.c */
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
    struct event *wake; /* the engine has given something, or an exchange has changed */
    struct event *stop;
    struct event *tick; /* every second while there are exchanges */
    struct event *accept_again;
    double deadline; /* when what still runs is cut off; 0: the server is not stopping */
    uint16_t port;
    bool loopback;
    acc_metrics metrics;
    acc_box box;
    struct acc_exchange *first;
} acc_http;

/* Opens the port. The fields above the first comment are the caller's. */
accllm_status acc_http_open(acc_http *h, const char *host, uint16_t port, size_t longest,
                            accllm_error *err) ACC_MUST_CHECK;
accllm_status acc_http_run(acc_http *h, accllm_error *err) ACC_MUST_CHECK;
/* After the scheduler's end. */
void acc_http_close(acc_http *h);

void acc_http_send(acc_http *h, struct evhttp_request *req, int status, const char *type, struct evbuffer *body);
/* Replies in JSON. body is taken over; NULL is "out of memory". */
void acc_http_json(acc_http *h, struct evhttp_request *req, int status, json_t *body);
void acc_http_refuse(acc_http *h, struct evhttp_request *req, const acc_problem *p);
int acc_http_add_json(struct evbuffer *out, const json_t *value);

/* routes.c: evhttp's callback; arg: the acc_http. */
void acc_route(struct evhttp_request *req, void *arg);

/* endpoints.c, page.c, exchange.c: answer one request. body: NULL for GET. */
typedef void acc_endpoint(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body);
acc_endpoint acc_serve_health, acc_serve_metrics, acc_serve_models, acc_serve_model, acc_serve_tokenize,
    acc_serve_detokenize, acc_serve_tokenizer_info, acc_serve_page, acc_serve_chat, acc_serve_completion,
    acc_serve_embeddings;

/* exchange.c */
void acc_exchanges_pump(acc_http *h);                       /* sends what there is to send, forgets what is done */
void acc_exchanges_tick(acc_http *h);                       /* pings, clients that went away */
void acc_exchanges_free(acc_http *h);                       /* without a word to their clients */
void acc_refuse_shutting_down(acc_http *h, acc_problem *p); /* 503, and when to come again */

#endif
