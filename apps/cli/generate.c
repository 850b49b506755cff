#include "generate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "interrupt.h"
#include "progress.h"
#include "report.h"

enum { LONG_PROMPT = 1024 };

static bool grow(void **data, size_t *cap, size_t need, size_t item)
{
    if (need <= *cap) return true;
    size_t n = *cap ? *cap : 256;
    while (n < need) n *= 2;
    void *p = realloc(*data, n * item);
    if (!p) return false;
    *data = p;
    *cap = n;
    return true;
}

bool cli_buffer_add(cli_buffer *b, const char *bytes, size_t n)
{
    void *p = b->data;
    bool ok = grow(&p, &b->cap, b->len + n + 1, 1);
    b->data = p;
    if (!ok) return false;
    if (n > 0) memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
    return true;
}

bool cli_ids_add(cli_ids *b, const int32_t *ids, size_t n)
{
    void *p = b->data;
    bool ok = grow(&p, &b->cap, b->len + n, sizeof *ids);
    b->data = p;
    if (!ok) return false;
    if (n > 0) memcpy(b->data + b->len, ids, n * sizeof *ids);
    b->len += n;
    return true;
}

uint32_t cli_generation_rows(const cli_generation *g)
{
    return g->logits ? g->chunk : 1;
}

static int write_failed(const char *what)
{
    cli_error("%s: %s", what, errno ? strerror(errno) : "could not be written");
    return CLI_FAILED;
}

/* One call of the session, with its rows of logits and its trace line written out. */
static int step(cli_generation *g, const int32_t *ids, size_t n, bool last, const float **logits)
{
    accllm_error err = {0};
    size_t rows = g->logits ? n : last;
    const float *all = NULL;
    uint64_t position = accllm_session_position(g->session);
    if (accllm_session_eval(g->session, ids, n, rows, &all, &err) != ACCLLM_OK) {
        g->broken = err.code == ACCLLM_E_CANCELLED || err.code == ACCLLM_E_NUMERIC;
        g->finish_reason = err.code == ACCLLM_E_CANCELLED ? "interrupted" : NULL;
        if (err.code == ACCLLM_E_LIMIT && g->n_drawn > 0) g->finish_reason = "length"; /* the context is full */
        if (g->finish_reason && err.code != ACCLLM_E_LIMIT) return CLI_INTERRUPTED;
        int rc = cli_fail(&err);
        return g->finish_reason ? CLI_INTERRUPTED : rc;
    }
    *logits = rows ? all + (rows - 1) * g->n_vocab : NULL;
    errno = 0;
    if (g->logits && fwrite(all, sizeof *all * g->n_vocab, rows, g->logits) != rows) return write_failed("--logits");
    if (g->trace && fprintf(g->trace, "%" PRIu64 " %" PRId32 " %016" PRIx64 "\n", position + n - 1, ids[n - 1],
                            accllm_session_trace_hash(g->session)) < 0)
        return write_failed("--trace");
    return CLI_OK;
}

/* CLI_INTERRUPTED here means: generation ends early with g->finish_reason set. */
static int prefill(cli_generation *g, const int32_t *ids, size_t n, const float **logits)
{
    double start = cli_seconds();
    for (size_t i = 0; i < n;) {
        size_t m = n - i < g->chunk ? n - i : g->chunk;
        int rc = step(g, ids + i, m, i + m == n, logits);
        if (rc != CLI_OK) return rc;
        for (size_t j = i; j < i + m; j++) accllm_sampler_accept(g->sampler, ids[j]);
        i += m;
        g->n_prompt += m;
        g->prefill_seconds = cli_seconds() - start;
        if (g->show_prefill && n > LONG_PROMPT)
            cli_progress_show("prompt", NULL, (double)i / (double)n, g->prefill_seconds * (double)(n - i) / (double)i);
    }
    cli_progress_clear();
    return CLI_OK;
}

static int emit(cli_generation *g, const char *bytes, size_t n)
{
    if (n == 0) return CLI_OK;
    g->last = bytes[n - 1];
    if (g->keep && !cli_buffer_add(&g->text, bytes, n)) return cli_out_of_memory("generated text");
    errno = 0;
    if (!g->quiet && !cli_write(bytes, n)) return cli_finish_output();
    return CLI_OK;
}

/* Moves text from `pending` to the output, all but what may be the start of a stop text; `end`: everything. */
static int release(cli_generation *g, cli_buffer *pending, bool end)
{
    static const cli_texts none = {0};
    const cli_texts *stop = g->stop ? g->stop : &none;
    if (!pending->data || pending->len == 0) return CLI_OK;
    const size_t at = accllm_find_stop(stop->item, stop->n, pending->data, pending->len);
    const bool stopped = at != SIZE_MAX;
    size_t n = stopped ? at : pending->len;
    if (stopped)
        g->finish_reason = "stop";
    else if (!end)
        n -= accllm_held_by_stops(stop->item, stop->n, pending->data, pending->len);
    int rc = emit(g, pending->data, n);
    memmove(pending->data, pending->data + n, pending->len - n);
    pending->len = stopped ? 0 : pending->len - n;
    return rc;
}

static int push_token(cli_generation *g, accllm_text_stream *stream, cli_buffer *pending, int32_t id)
{
    size_t len;
    (void)accllm_token_bytes(g->tok, id, &len);
    void *p = pending->data;
    bool ok = grow(&p, &pending->cap, pending->len + len * 3 + 17, 1);
    pending->data = p;
    if (!ok) return cli_out_of_memory("generated text");
    pending->len += accllm_text_stream_push(stream, g->tok, id, pending->data + pending->len, len * 3 + 16);
    return release(g, pending, false);
}

/* The next token; -1 after a message if the grammar allows none. */
static int32_t draw(cli_generation *g, const float *logits)
{
    uint32_t n;
    const uint64_t *allowed = g->matcher ? accllm_matcher_mask(g->matcher, &n) : NULL;
    int32_t id = accllm_sampler_draw_from(g->sampler, logits, accllm_session_position(g->session), allowed);
    if (id >= 0 && (!g->matcher || accllm_matcher_accept(g->matcher, id))) {
        accllm_sampler_accept(g->sampler, id);
        return id;
    }
    cli_error("the grammar allows no token of this model here");
    return -1;
}

static int decode(cli_generation *g, const float *logits, accllm_text_stream *stream, cli_buffer *pending)
{
    double start = cli_seconds();
    int rc = CLI_OK;
    for (;;) {
        if (cli_interrupted()) g->finish_reason = "interrupted";
        if (!g->finish_reason && g->n_predict >= 0 && g->n_drawn >= (uint64_t)g->n_predict) g->finish_reason = "length";
        if (g->finish_reason) break;
        int32_t id = draw(g, logits);
        if (id < 0) return CLI_FAILED;
        g->n_drawn++;
        if (g->keep && !cli_ids_add(&g->ids, &id, 1)) return cli_out_of_memory("generated text");
        if (!g->ignore_eos && accllm_token_ends_text(g->tok, id)) {
            g->finish_reason = "stop";
            g->ended = true;
        } else {
            rc = push_token(g, stream, pending, id);
            if (rc != CLI_OK) break;
        }
        if (!g->finish_reason && g->matcher && accllm_matcher_must_end(g->matcher)) {
            g->finish_reason = "stop";
            g->complete = true;
        }
        bool more = !g->finish_reason && (g->n_predict < 0 || g->n_drawn < (uint64_t)g->n_predict);
        if (!more && !g->logits && !(g->continued && !g->ended)) continue;
        rc = step(g, &id, 1, true, &logits);
        if (rc != CLI_OK) break;
        g->n_steps++;
        g->decode_seconds = cli_seconds() - start;
    }
    return rc;
}

int cli_generate(cli_generation *g, const int32_t *prompt, size_t n)
{
    const float *logits = NULL;
    cli_buffer pending = {0};
    accllm_text_stream stream;
    accllm_text_stream_init(&stream, g->at_start);
    int rc = prefill(g, prompt, n, &logits);
    cli_interrupt_set_soft(g->continued);
    if (rc == CLI_OK) rc = decode(g, logits, &stream, &pending);
    cli_interrupt_set_soft(false);
    if (rc == CLI_OK || rc == CLI_INTERRUPTED) {
        char rest[16];
        size_t m = accllm_text_stream_flush(&stream, rest, sizeof rest);
        bool stopped_by_text = g->finish_reason && strcmp(g->finish_reason, "stop") == 0 && !g->ended && !g->complete;
        if (!stopped_by_text && m > 0 && !cli_buffer_add(&pending, rest, m)) rc = cli_out_of_memory("generated text");
        if (!stopped_by_text && (rc == CLI_OK || rc == CLI_INTERRUPTED)) {
            int written = release(g, &pending, true);
            if (written != CLI_OK) rc = written;
        }
    }
    free(pending.data);
    return rc == CLI_INTERRUPTED ? CLI_OK : rc;
}

void cli_generation_free(cli_generation *g)
{
    free(g->text.data);
    free(g->ids.data);
    g->text = (cli_buffer){0};
    g->ids = (cli_ids){0};
}

double cli_rate(uint64_t n, double seconds)
{
    return n > 0 && seconds > 0 ? (double)n / seconds : 0;
}
