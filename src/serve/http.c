#include "serve/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "serve/slot.h"

enum {
    IDLE_SECONDS = 60,  /* a connection without a byte either way */
    LAST_WORDS_MS = 250 /* between the last reply and the end, for its bytes to leave */
};

static void empty_eventfd(int fd)
{
    uint64_t n;
    ssize_t got = read(fd, &n, sizeof n);
    (void)got; /* nothing there: woken by hand */
}

static void end_if_idle(acc_http *h)
{
    const struct timeval soon = {.tv_usec = LAST_WORDS_MS * 1000};
    if (h->deadline > 0 && !h->first) (void)event_base_loopexit(h->base, &soon);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    acc_http *h = arg;
    (void)what;
    empty_eventfd((int)fd);
    acc_exchanges_pump(h);
    end_if_idle(h);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    acc_http *h = arg;
    (void)what;
    empty_eventfd((int)fd);
    if (h->deadline > 0) {
        h->deadline = acc_seconds();
        accllm_runtime_abort(h->rt);
        return;
    }
    h->deadline = acc_seconds() + h->drain_seconds;
    if (h->bound) evhttp_del_accept_socket(h->http, h->bound);
    h->bound = NULL;
    acc_scheduler_close(h->scheduler);
    end_if_idle(h);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    acc_http *h = arg;
    (void)fd;
    (void)what;
    if (h->deadline > 0 && acc_seconds() > h->deadline) accllm_runtime_abort(h->rt);
    acc_exchanges_tick(h);
    if (!h->first) (void)event_del(h->tick);
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    acc_http *h = arg;
    (void)fd;
    (void)what;
    if (h->bound) (void)evconnlistener_enable(evhttp_bound_socket_get_listener(h->bound));
}

/* Out of file descriptors or memory: wait instead of trying without pause. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    acc_http *h = arg;
    const struct timeval second = {.tv_sec = 1};
    (void)evconnlistener_disable(listener);
    (void)event_add(h->accept_again, &second);
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static accllm_status listen_on(acc_http *h, const char *host, uint16_t port, accllm_error *err)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    const int on = 1;
    errno = 0;
    h->bound = evhttp_bind_socket_with_handle(h->http, host, port);
    if (!h->bound)
        return acc_fail(err, ACCLLM_E_IO, "%s port %u: %s", host, port,
                        errno ? strerror(errno) : "the address cannot be used");
    int fd = evhttp_bound_socket_get_fd(h->bound);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* connections inherit it: tokens are not delayed */
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return acc_fail(err, ACCLLM_E_IO, "%s port %u: %s", host, port, strerror(errno));
    h->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                  : ((struct sockaddr_in *)&address)->sin_port);
    h->loopback = is_loopback(&address);
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(h->bound), on_accept_error);
    return ACCLLM_OK;
}

static bool make_events(acc_http *h)
{
    h->base = event_base_new();
    if (!h->base) return false;
    h->http = evhttp_new(h->base);
    h->wake = event_new(h->base, h->wake_fd, EV_READ | EV_PERSIST, on_wake, h);
    h->stop = event_new(h->base, h->stop_fd, EV_READ | EV_PERSIST, on_stop, h);
    h->tick = event_new(h->base, -1, EV_PERSIST, on_tick, h);
    h->accept_again = evtimer_new(h->base, on_accept_again, h);
    return h->http && h->wake && h->stop && h->tick && h->accept_again && event_add(h->wake, NULL) == 0 &&
           event_add(h->stop, NULL) == 0;
}

accllm_status acc_http_open(acc_http *h, const char *host, uint16_t port, size_t longest, accllm_error *err)
{
    ACC_TRY(acc_box_init(&h->box, acc_box_text_bytes(longest), err));
    if (!make_events(h)) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: HTTP server");
    evhttp_set_max_headers_size(h->http, ACC_MAX_HEADERS);
    /* What is a little too long gets an error that clients can read; more is thrown away unread. */
    evhttp_set_max_body_size(h->http, 2 * (ev_ssize_t)ACC_MAX_BODY);
    (void)evhttp_set_flags(h->http, EVHTTP_SERVER_LINGERING_CLOSE);
    evhttp_set_allowed_methods(h->http, 0xffff); /* routes.c says which, in JSON */
    evhttp_set_timeout(h->http, IDLE_SECONDS);
    evhttp_set_gencb(h->http, acc_route, h);
    return listen_on(h, host, port, err);
}

accllm_status acc_http_run(acc_http *h, accllm_error *err)
{
    if (event_base_dispatch(h->base) < 0) return acc_fail(err, ACCLLM_E_IO, "the event loop failed");
    return ACCLLM_OK;
}

void acc_http_close(acc_http *h)
{
    acc_exchanges_free(h);
    if (h->http) evhttp_free(h->http);
    struct event *events[] = {h->wake, h->stop, h->tick, h->accept_again};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i]) event_free(events[i]);
    if (h->base) event_base_free(h->base);
    acc_box_free(&h->box);
}

static int add_bytes(const char *bytes, size_t n, void *out)
{
    return evbuffer_add(out, bytes, n);
}

/* Floats that were log-probabilities come back the same from nine digits. */
int acc_http_add_json(struct evbuffer *out, const json_t *value)
{
    return json_dump_callback(value, add_bytes, out, JSON_COMPACT | JSON_REAL_PRECISION(9));
}

void acc_http_send(acc_http *h, struct evhttp_request *req, int status, const char *type, struct evbuffer *body)
{
    bool head = evhttp_request_get_command(req) == EVHTTP_REQ_HEAD; /* evhttp would send the body all the same */
    (void)evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
    acc_metrics_reply(&h->metrics, status);
    /* evhttp knows no words for 429. */
    evhttp_send_reply(req, status, status == 429 ? "Too Many Requests" : NULL, head ? NULL : body);
}

void acc_http_json(acc_http *h, struct evhttp_request *req, int status, json_t *body)
{
    static const char no_memory[] =
        "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
    struct evbuffer *out = evbuffer_new();
    bool ok = out && body && acc_http_add_json(out, body) == 0 && evbuffer_add(out, "\n", 1) == 0;
    if (!ok) {
        status = 500;
        if (out) (void)evbuffer_drain(out, evbuffer_get_length(out));
        if (out) (void)evbuffer_add(out, no_memory, sizeof no_memory - 1);
    }
    acc_http_send(h, req, status, "application/json", out);
    if (out) evbuffer_free(out);
    json_decref(body);
}

void acc_http_refuse(acc_http *h, struct evhttp_request *req, const acc_problem *p)
{
    char seconds[16];
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    if (p->retry_after > 0) {
        (void)snprintf(seconds, sizeof seconds, "%d", p->retry_after);
        (void)evhttp_add_header(headers, "Retry-After", seconds);
    }
    if (p->status == 401) (void)evhttp_add_header(headers, "WWW-Authenticate", "Bearer");
    acc_http_json(h, req, p->status, acc_problem_json(p));
}
