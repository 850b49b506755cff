/* What the server counts, as Prometheus reads it. Used by the thread that speaks HTTP alone. */
#ifndef ACC_SERVE_METRICS_H
#define ACC_SERVE_METRICS_H

#include <event2/buffer.h>
#include <stdint.h>

#include "serve/scheduler.h"

enum { ACC_METRIC_BUCKETS = 12, ACC_METRIC_CODES = 16 };

typedef struct acc_histogram {
    uint64_t count[ACC_METRIC_BUCKETS + 1]; /* the last: beyond all bounds */
    double sum;
} acc_histogram;

typedef struct acc_metrics {
    struct {
        int code;
        uint64_t n;
    } replies[ACC_METRIC_CODES]; /* by status */
    uint64_t prompt_tokens, reused_tokens, generated_tokens, cancelled;
    acc_histogram first_token, request; /* seconds */
} acc_metrics;

void acc_metrics_reply(acc_metrics *m, int code);
void acc_metrics_observe(acc_histogram *h, double seconds);
double acc_histogram_mean(const acc_histogram *h); /* 0: nothing was observed */
/* Appends the text to out; 0, or -1 when out of memory. */
int acc_metrics_print(const acc_metrics *m, const acc_load *load, uint32_t sessions, struct evbuffer *out);

#endif
