/* One request for text and its replies, from the first byte to the last. */
#ifndef ACC_SERVE_EXCHANGE_H
#define ACC_SERVE_EXCHANGE_H

#include "serve/http.h"
#include "serve/reply.h"

typedef struct acc_exchange {
    acc_http *h;
    struct evhttp_request *req; /* NULL: nobody waits any more */
    struct event *watch;        /* the client's socket: it speaks again or goes away */
    acc_request request;
    acc_reply reply;
    acc_ticket ticket;
    acc_sequence *seq; /* [ticket.n] */
    acc_choice *choice;
    double *pools; /* [ticket.n][n_embd], for embeddings */
    size_t n_finished;
    bool blocked; /* the client reads too slowly: nothing is taken until it has caught up */
    bool spoken;  /* a token was there */
    double begun, last_sent;
    struct acc_exchange *before, *after;
} acc_exchange;

/* stream.c: server-sent events; false: out of memory. */
void acc_stream_begin(acc_exchange *x);
bool acc_stream_event(acc_exchange *x, json_t *event); /* takes event over */
acc_choice_emit acc_stream_piece;                      /* user: the acc_exchange */
bool acc_stream_choice_end(acc_exchange *x, acc_choice *c);
bool acc_stream_end(acc_exchange *x);
void acc_stream_ping(acc_exchange *x);

#endif
