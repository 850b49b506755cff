/* Replies as server-sent events. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <string.h>

#include "core/clock.h"
#include "serve/exchange.h"

enum { MUCH_UNSENT = 256 << 10 };

void acc_stream_begin(acc_exchange *x)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(x->req);
    (void)evhttp_add_header(headers, "Content-Type", "text/event-stream; charset=utf-8");
    (void)evhttp_add_header(headers, "Cache-Control", "no-cache");
    (void)evhttp_add_header(headers, "X-Accel-Buffering", "no");
    acc_metrics_reply(&x->h->metrics, 200);
    evhttp_send_reply_start(x->req, 200, "OK");
    x->last_sent = acc_seconds();
}

/* All that was written has left. */
static void on_sent(struct evhttp_connection *con, void *arg)
{
    acc_exchange *x = arg;
    (void)con;
    if (!x->blocked) return;
    x->blocked = false;
    event_active(x->h->wake, EV_READ, 0);
}

static void send_buffer(acc_exchange *x, struct evbuffer *out)
{
    struct bufferevent *con = evhttp_connection_get_bufferevent(evhttp_request_get_connection(x->req));
    evhttp_send_reply_chunk_with_cb(x->req, out, on_sent, x);
    x->blocked = evbuffer_get_length(bufferevent_get_output(con)) > MUCH_UNSENT;
    x->last_sent = acc_seconds();
}

static bool send_text(acc_exchange *x, const char *text)
{
    struct evbuffer *out = evbuffer_new();
    bool ok = out && evbuffer_add(out, text, strlen(text)) == 0;
    if (ok) send_buffer(x, out);
    if (out) evbuffer_free(out);
    return ok;
}

bool acc_stream_event(acc_exchange *x, json_t *event)
{
    struct evbuffer *out = evbuffer_new();
    bool ok = out && event && evbuffer_add(out, "data: ", 6) == 0 && acc_http_add_json(out, event) == 0 &&
              evbuffer_add(out, "\n\n", 2) == 0;
    if (ok) send_buffer(x, out);
    if (out) evbuffer_free(out);
    json_decref(event);
    return ok;
}

/* The role comes before a message's first piece, not earlier: clients take the first event for the first token. */
static bool begin_message(acc_exchange *x, acc_choice *c)
{
    bool first = !c->begun && x->request.chat;
    c->begun = true;
    return !first || acc_stream_event(x, acc_reply_role(&x->reply, c));
}

bool acc_stream_piece(void *user, acc_choice *c)
{
    acc_exchange *x = user;
    return begin_message(x, c) && acc_stream_event(x, acc_reply_piece(&x->reply, c));
}

bool acc_stream_choice_end(acc_exchange *x, acc_choice *c)
{
    return begin_message(x, c) && acc_stream_event(x, acc_reply_end(&x->reply, c));
}

bool acc_stream_end(acc_exchange *x)
{
    if (x->request.include_usage && !acc_stream_event(x, acc_reply_usage(&x->reply))) return false;
    return send_text(x, "data: [DONE]\n\n");
}

void acc_stream_ping(acc_exchange *x)
{
    (void)send_text(x, ": ping\n\n");
}
