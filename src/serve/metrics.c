#include "serve/metrics.h"

#include <inttypes.h>

#include "accllm/runtime.h"

static const double bounds[ACC_METRIC_BUCKETS] = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600};

void acc_metrics_reply(acc_metrics *m, int code)
{
    size_t i = 0;
    while (i + 1 < ACC_METRIC_CODES && m->replies[i].n > 0 && m->replies[i].code != code) i++;
    m->replies[i].code = code;
    m->replies[i].n++;
}

void acc_metrics_observe(acc_histogram *h, double seconds)
{
    size_t i = 0;
    while (i < ACC_METRIC_BUCKETS && seconds > bounds[i]) i++;
    h->count[i]++;
    h->sum += seconds;
}

double acc_histogram_mean(const acc_histogram *h)
{
    uint64_t n = 0;
    for (size_t i = 0; i <= ACC_METRIC_BUCKETS; i++) n += h->count[i];
    return n ? h->sum / (double)n : 0;
}

static int head(struct evbuffer *out, const char *name, const char *type, const char *help)
{
    return evbuffer_add_printf(out, "# HELP accllm_%s %s\n# TYPE accllm_%s %s\n", name, help, name, type);
}

static int number(struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t x)
{
    if (head(out, name, type, help) < 0) return -1;
    return evbuffer_add_printf(out, "accllm_%s %" PRIu64 "\n", name, x);
}

static int histogram(struct evbuffer *out, const char *name, const char *help, const acc_histogram *h)
{
    uint64_t n = 0;
    int failed = head(out, name, "histogram", help) < 0;
    for (size_t i = 0; i < ACC_METRIC_BUCKETS; i++) {
        n += h->count[i];
        failed |= evbuffer_add_printf(out, "accllm_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i], n) < 0;
    }
    n += h->count[ACC_METRIC_BUCKETS];
    failed |= evbuffer_add_printf(out,
                                  "accllm_%s_bucket{le=\"+Inf\"} %" PRIu64 "\naccllm_%s_sum %.9g\naccllm_%s_count "
                                  "%" PRIu64 "\n",
                                  name, n, name, h->sum, name, n) < 0;
    return failed ? -1 : 0;
}

int acc_metrics_print(const acc_metrics *m, const acc_load *load, uint32_t sessions, struct evbuffer *out)
{
    int failed = head(out, "replies_total", "counter", "replies by HTTP status") < 0;
    for (size_t i = 0; i < ACC_METRIC_CODES && m->replies[i].n > 0; i++)
        failed |= evbuffer_add_printf(out, "accllm_replies_total{code=\"%d\"} %" PRIu64 "\n", m->replies[i].code,
                                      m->replies[i].n) < 0;
    failed |= number(out, "prompt_tokens_total", "counter", "tokens of accepted prompts", m->prompt_tokens) < 0;
    failed |= number(out, "prompt_tokens_reused_total", "counter",
                     "tokens of answered prompts that a session had read already", m->reused_tokens) < 0;
    failed |= number(out, "generated_tokens_total", "counter", "tokens of answers", m->generated_tokens) < 0;
    failed |= number(out, "cancelled_total", "counter", "requests whose client went away", m->cancelled) < 0;
    failed |= number(out, "sessions", "gauge", "sessions that can run at once", sessions) < 0;
    failed |= number(out, "sessions_running", "gauge", "sessions in use", load->running) < 0;
    failed |= number(out, "requests_waiting", "gauge", "requests in the queue", load->waiting) < 0;
    failed |= number(out, "resident_bytes", "gauge", "resident memory of the process", accllm_rss_bytes()) < 0;
    failed |= histogram(out, "first_token_seconds", "time from a request to the first token of its answer",
                        &m->first_token) < 0;
    failed |= histogram(out, "request_seconds", "time from a request to the end of its answer", &m->request) < 0;
    return failed ? -1 : 0;
}
