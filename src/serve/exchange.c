#include "serve/exchange.h"

#include <event2/bufferevent.h>
#include <poll.h>
#include <stdlib.h>

#include "core/clock.h"

static const struct timeval second = {.tv_sec = 1};

static void free_exchange(acc_exchange *x)
{
    if (x->watch) event_free(x->watch);
    for (size_t i = 0; x->choice && i < x->ticket.n; i++) acc_choice_free(&x->choice[i]);
    free(x->choice);
    free(x->pools);
    free(x->seq);
    acc_request_free(&x->request);
    free(x);
}

static void link_exchange(acc_http *h, acc_exchange *x)
{
    x->after = h->first;
    if (x->after) x->after->before = x;
    h->first = x;
    if (!event_pending(h->tick, EV_TIMEOUT, NULL)) (void)event_add(h->tick, &second);
}

static void forget(acc_exchange *x)
{
    if (x->before)
        x->before->after = x->after;
    else
        x->h->first = x->after;
    if (x->after) x->after->before = x->before;
    free_exchange(x);
}

/* The reply is complete, or the client has gone: the request is evhttp's from here on. */
static struct evhttp_request *let_go(acc_exchange *x)
{
    struct evhttp_request *req = x->req;
    struct evhttp_connection *con = evhttp_request_get_connection(req);
    x->req = NULL;
    if (x->watch) (void)event_del(x->watch);
    if (con) evhttp_connection_set_closecb(con, NULL, NULL);
    return req;
}

static void complete(acc_exchange *x)
{
    acc_http *h = x->h;
    acc_metrics_observe(&h->metrics.request, acc_seconds() - x->begun);
    if (x->request.stream) {
        (void)acc_stream_end(x);
        evhttp_send_reply_end(let_go(x));
    } else {
        size_t n = x->ticket.n;
        json_t *whole = x->request.embed ? acc_reply_embeddings(&x->reply, x->seq, n, h->service->info->n_embd)
                                         : acc_reply_whole(&x->reply, x->choice, n);
        acc_http_json(h, let_go(x), 200, whole);
    }
}

/* A stream that has begun can only tell of a failure in an event; it then ends without [DONE]. */
static void fail(acc_exchange *x, const acc_problem *p)
{
    acc_scheduler_cancel(x->h->scheduler, &x->ticket);
    if (x->request.stream) {
        (void)acc_stream_event(x, acc_problem_json(p));
        evhttp_send_reply_end(let_go(x));
    } else {
        acc_http_refuse(x->h, let_go(x), p);
    }
}

/* When a place may be free again, judging by the requests so far. */
static int retry_after(acc_http *h)
{
    acc_load load = acc_scheduler_load(h->scheduler);
    double seconds = acc_histogram_mean(&h->metrics.request) * (load.waiting + 1) / h->sessions;
    return seconds < 1 ? 1 : seconds > 60 ? 60 : (int)seconds;
}

void acc_refuse_shutting_down(acc_http *h, acc_problem *p)
{
    (void)acc_refuse(p, 503, "shutting_down", NULL, "the server is shutting down");
    p->retry_after = retry_after(h);
}

static void fail_sequence(acc_exchange *x, const acc_sequence *q)
{
    acc_problem p;
    if (q->error.code == ACCLLM_E_CANCELLED)
        acc_refuse_shutting_down(x->h, &p);
    else
        (void)acc_refuse(&p, 500, NULL, NULL, "%s", q->error.text);
    fail(x, &p);
}

static void note_tokens(acc_exchange *x, const acc_box *box)
{
    size_t n = 0;
    for (size_t i = 0; i < box->n_records; i++) n += !box->record[i].prompt;
    x->h->metrics.generated_tokens += n;
    if (n == 0 || x->spoken) return;
    x->spoken = true;
    acc_metrics_observe(&x->h->metrics.first_token, acc_seconds() - x->begun);
}

static bool finish_choice(acc_exchange *x, acc_choice *c, const acc_sequence *q)
{
    x->n_finished++;
    x->reply.completion_tokens += q->n_generated;
    if (q->n_evicted > x->reply.evicted_tokens) x->reply.evicted_tokens = q->n_evicted;
    if (c->index % x->request.n == 0) { /* prompts are counted once */
        x->reply.cached_tokens += q->n_reused;
        x->h->metrics.reused_tokens += q->n_reused;
    }
    return !x->request.stream || acc_stream_choice_end(x, c);
}

static void take(acc_exchange *x, size_t i)
{
    acc_problem p;
    acc_box *box = &x->h->box;
    acc_choice *c = &x->choice[i];
    const acc_sequence *q = &x->seq[i];
    if (c->finish) return;
    box->n_text = box->n_records = 0;
    acc_finish how = acc_scheduler_take(x->h->scheduler, &x->seq[i], box);
    if (how == ACC_FINISH_FAILED) {
        fail_sequence(x, q);
        return;
    }
    if (!how && box->n_records == 0) return;
    note_tokens(x, box);
    bool ok = acc_choice_add(c, box, how, how && q->stop_text, x->request.stream ? acc_stream_piece : NULL, x);
    if (ok && how) ok = finish_choice(x, c, q);
    if (ok) return;
    (void)acc_refuse_memory(&p);
    fail(x, &p);
}

void acc_exchanges_pump(acc_http *h)
{
    for (acc_exchange *x = h->first, *next; x; x = next) {
        next = x->after;
        for (size_t i = 0; i < x->ticket.n && x->req && !x->blocked; i++) take(x, i);
        if (x->req && x->n_finished == x->ticket.n) complete(x);
        if (!x->req && acc_scheduler_finished(h->scheduler, &x->ticket)) forget(x);
    }
}

/* evhttp closes the connection: the client went away, or it read nothing for too long. A request that evhttp has parted
 * from its connection is ours to free. */
static void on_close(struct evhttp_connection *con, void *arg)
{
    acc_exchange *x = arg;
    (void)con;
    if (!x->req) return;
    struct evhttp_request *req = let_go(x);
    if (!evhttp_request_get_connection(req)) evhttp_request_free(req);
    x->h->metrics.cancelled++;
    acc_scheduler_cancel(x->h->scheduler, &x->ticket);
    event_active(x->h->wake, EV_READ, 0);
}

static bool has_gone(struct evhttp_connection *con)
{
    struct pollfd p = {.fd = bufferevent_getfd(evhttp_connection_get_bufferevent(con)), .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

/* evhttp does not read while a reply is due, so it does not see a client go. What can be read is the client's end, or
 * its next request, which has to wait: then the tick looks instead. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    acc_exchange *x = arg;
    struct evhttp_connection *con = evhttp_request_get_connection(x->req);
    (void)fd;
    (void)what;
    if (has_gone(con))
        evhttp_connection_free(con);
    else
        (void)event_del(x->watch);
}

/* Past the deadline an answer that waits for its client to read is cut off: its slot rests, and would not see the
 * abort. */
void acc_exchanges_tick(acc_http *h)
{
    double now = acc_seconds();
    bool over = h->deadline > 0 && now > h->deadline;
    for (acc_exchange *x = h->first; x; x = x->after) {
        struct evhttp_connection *con = x->req ? evhttp_request_get_connection(x->req) : NULL;
        if (con && (has_gone(con) || (over && x->blocked)))
            evhttp_connection_free(con); /* calls on_close */
        else if (con && x->request.stream && !x->blocked && now - x->last_sent >= h->ping_seconds)
            acc_stream_ping(x);
    }
}

void acc_exchanges_free(acc_http *h)
{
    while (h->first) {
        acc_exchange *x = h->first;
        if (x->req) (void)let_go(x); /* freed with its connection */
        forget(x);
    }
}

typedef enum asked { COMPLETION, CHAT, EMBEDDINGS } asked;

static bool read_request(acc_request *r, const acc_service *s, const json_t *body, asked what, acc_problem *p)
{
    return what == EMBEDDINGS ? acc_request_read_embed(r, s, body, p) : acc_request_read(r, s, what == CHAT, body, p);
}

static bool prepare(acc_exchange *x, const acc_service *s, const json_t *body, asked what, acc_problem *p)
{
    if (!read_request(&x->request, s, body, what, p)) return false;
    const acc_request *r = &x->request;
    size_t n = r->n_prompts * r->n, n_embd = r->embed ? s->info->n_embd : 0;
    x->seq = calloc(n, sizeof *x->seq);
    x->choice = calloc(n, sizeof *x->choice);
    x->pools = n_embd ? calloc(n * n_embd, sizeof *x->pools) : NULL;
    if (!x->seq || !x->choice || (n_embd && !x->pools)) return acc_refuse_memory(p);
    acc_reply_init(&x->reply, r, s->model_name);
    x->ticket = (acc_ticket){.seq = x->seq, .n = n};
    for (size_t i = 0; i < n; i++) {
        const acc_prompt *q = &r->prompt[i / r->n];
        x->seq[i] = (acc_sequence){.settings = &r->settings,
                                   .prompt = q->ids,
                                   .n_prompt = q->n,
                                   .at_start = q->empty,
                                   .pool = x->pools ? x->pools + i * n_embd : NULL,
                                   .seed = r->settings.sampler.seed + i % r->n};
        acc_choice_init(&x->choice[i], r, q, s->tok, (uint32_t)i);
    }
    return true;
}

static bool submit(acc_exchange *x, acc_problem *p)
{
    accllm_status status = acc_scheduler_submit(x->h->scheduler, &x->ticket);
    if (status == ACCLLM_OK) return true;
    if (status != ACCLLM_E_LIMIT) {
        acc_refuse_shutting_down(x->h, p);
        return false;
    }
    (void)acc_refuse(p, 429, "queue_full", NULL, "too many requests are waiting");
    p->retry_after = retry_after(x->h);
    return false;
}

static void start(acc_http *h, struct evhttp_request *req, const json_t *body, asked what)
{
    acc_problem p = {0};
    acc_exchange *x = calloc(1, sizeof *x);
    bool ok = x || acc_refuse_memory(&p);
    if (x) *x = (acc_exchange){.h = h, .req = req, .begun = acc_seconds()};
    struct evhttp_connection *con = evhttp_request_get_connection(req);
    struct bufferevent *buffer = evhttp_connection_get_bufferevent(con);
    if (ok) x->watch = event_new(h->base, bufferevent_getfd(buffer), EV_READ | EV_PERSIST, on_readable, x);
    ok = ok && (x->watch || acc_refuse_memory(&p)) && prepare(x, h->service, body, what, &p) && submit(x, &p);
    if (!ok) {
        acc_http_refuse(h, req, &p);
        if (x) free_exchange(x);
        return;
    }
    h->metrics.prompt_tokens += x->reply.prompt_tokens;
    link_exchange(h, x);
    (void)event_add(x->watch, NULL);
    evhttp_connection_set_closecb(con, on_close, x);
    if (x->request.stream) acc_stream_begin(x);
}

void acc_serve_chat(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    (void)path;
    start(h, req, body, CHAT);
}

void acc_serve_completion(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    (void)path;
    start(h, req, body, COMPLETION);
}

void acc_serve_embeddings(acc_http *h, struct evhttp_request *req, const char *path, const json_t *body)
{
    (void)path;
    start(h, req, body, EMBEDDINGS);
}
