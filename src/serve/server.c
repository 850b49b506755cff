/* The public server: parameters resolved, sessions counted, the parts put together. */
#include "accllm/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/memory.h"
#include "serve/http.h"
#include "serve/keeper.h"
#include "serve/slot.h"

enum { USUAL_SESSIONS = 4, MOST_BY_MEMORY = 64, MOST_SESSIONS = 1024 };

struct accllm_server {
    accllm_server_info info;
    accllm_server_params p;
    accllm_session_params sp;
    acc_service service;
    acc_guard guard;
    acc_scheduler *scheduler;
    accllm_vocabulary *vocabulary;
    acc_keeper *keeper; /* NULL: states are not saved */
    acc_http http;
};

void accllm_server_params_init(accllm_server_params *p)
{
    *p = (accllm_server_params){.struct_size = sizeof *p};
    accllm_sampler_params_init(&p->sampler);
}

static size_t longest_token(const accllm_tokenizer *tok)
{
    size_t most = 0, n;
    for (int32_t id = 0; id < accllm_tokenizer_size(tok); id++) {
        (void)accllm_token_bytes(tok, id, &n);
        if (n > most) most = n;
    }
    return most;
}

/* Clients get the name in JSON, which takes UTF-8 alone. */
static void set_name(accllm_server *s, const char *name)
{
    (void)snprintf(s->service.model_name, sizeof s->service.model_name, "%s", *name ? name : "accllm");
    json_t *text = json_string(s->service.model_name);
    if (!text) (void)snprintf(s->service.model_name, sizeof s->service.model_name, "accllm");
    json_decref(text);
    memcpy(s->info.model_name, s->service.model_name, sizeof s->info.model_name);
}

/* A request's own values are checked when it comes. */
static accllm_status check_sampler(const accllm_sampler_params *p, uint32_t n_vocab, accllm_error *err)
{
    accllm_sampler *one = NULL;
    if (p->repeat_last > ACC_MAX_RECENT)
        return acc_fail(err, ACCLLM_E_LIMIT, "the repetition penalty looks back %d tokens at most here",
                        ACC_MAX_RECENT);
    ACC_TRY(accllm_sampler_create(&one, p, n_vocab, err));
    accllm_sampler_free(&one);
    return ACCLLM_OK;
}

static accllm_status resolve(accllm_server *s, accllm_model *m, const accllm_session_params *sp,
                             const accllm_server_params *p, accllm_error *err)
{
    const accllm_model_info *info = accllm_model_get_info(m);
    if (p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "server parameters were not set up by accllm_server_params_init()");
    if (!accllm_model_tokenizer(m)) return acc_fail(err, ACCLLM_E_ARG, "the model has no tokenizer");
    if (p->parallel > MOST_SESSIONS) return acc_fail(err, ACCLLM_E_LIMIT, "at most %d sessions", MOST_SESSIONS);
    ACC_TRY(check_sampler(&p->sampler, info->n_vocab, err));
    s->p = *p;
    if (s->p.queue == 0) s->p.queue = 64;
    if (s->p.ping_seconds == 0) s->p.ping_seconds = 10;
    if (s->p.drain_seconds == 0) s->p.drain_seconds = 10;
    if (s->p.state_seconds == 0) s->p.state_seconds = 10;
    if (sp)
        s->sp = *sp;
    else
        accllm_session_params_init(&s->sp);
    s->sp.batch_only = true;
    s->sp.trace = false;
    uint64_t n_ctx = s->sp.n_ctx ? s->sp.n_ctx : info->n_ctx_train;
    s->service = (acc_service){.tok = accllm_model_tokenizer(m),
                               .info = info,
                               .sampler = p->sampler,
                               .max_tokens = p->max_tokens ? p->max_tokens : info->n_ctx_train,
                               .n_ctx = s->sp.full_attention ? n_ctx : 0,
                               .pin_system = p->pin_system && !s->sp.full_attention,
                               .created = time(NULL)};
    if (s->service.pin_system && !accllm_chat_supported(s->service.tok))
        return acc_fail(err, ACCLLM_E_ARG,
                        "system messages are to be kept, but the model has no chat template that this version knows");
    set_name(s, p->model_name ? p->model_name : info->name);
    return ACCLLM_OK;
}

/* Memory of the batch for no session, and what each adds. */
static accllm_status batch_bytes(const accllm_server *s, accllm_model *m, uint64_t *base, uint64_t *each,
                                 accllm_error *err)
{
    uint64_t bytes[2];
    for (uint32_t i = 0; i < 2; i++) {
        accllm_batch *b = NULL;
        ACC_TRY(acc_scheduler_batch(&b, m, &s->sp, i + 1, err));
        bytes[i] = accllm_batch_bytes(b);
        accllm_batch_free(&b);
    }
    *each = bytes[1] - bytes[0];
    *base = bytes[0] - *each;
    return ACCLLM_OK;
}

/* How many sessions there will be. Theirs is the memory that grows with the number; one is made to know it. */
static accllm_status count_sessions(accllm_server *s, accllm_model *m, size_t longest, accllm_error *err)
{
    accllm_session *one = NULL;
    const uint64_t limit = s->p.memory_limit;
    uint64_t file = accllm_model_get_info(m)->file_bytes, resident = accllm_rss_bytes(), base, each;
    ACC_TRY(accllm_session_create(&one, m, &s->sp, err));
    s->service.sinks = accllm_session_sinks(one);
    s->service.window = accllm_session_window(one);
    s->info.session_bytes =
        accllm_session_bytes(one) + acc_slot_bytes(longest, s->vocabulary, accllm_model_get_info(m)->n_vocab);
    accllm_session_free(&one);
    ACC_TRY(batch_bytes(s, m, &base, &each, err));
    s->info.session_bytes += each;
    s->info.model_bytes = (resident > file ? resident : file) + base + acc_scheduler_bytes(m, &s->sp) +
                          accllm_vocabulary_bytes(s->vocabulary);
    uint64_t room = limit > s->info.model_bytes ? (limit - s->info.model_bytes) / s->info.session_bytes : 0;
    s->info.sessions = s->p.parallel ? s->p.parallel : limit && room < MOST_BY_MEMORY ? (uint32_t)room : 0;
    if (s->info.sessions == 0) s->info.sessions = limit ? MOST_BY_MEMORY : USUAL_SESSIONS;
    if (limit == 0 || (room > 0 && s->info.sessions <= room)) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_LIMIT,
                    "the model takes %.1f MB and a session %.1f MB: the memory limit of %.1f MB has room for %llu "
                    "sessions, not %u",
                    (double)s->info.model_bytes / 1e6, (double)s->info.session_bytes / 1e6, (double)limit / 1e6,
                    (unsigned long long)room, s->p.parallel ? s->p.parallel : 1);
}

static void notify(void *user)
{
    const uint64_t one = 1;
    ssize_t n = write(*(const int *)user, &one, sizeof one);
    (void)n; /* a full counter wakes as well */
}

static void on_step(void *user)
{
    notify(&((accllm_server *)user)->http.wake_fd);
}

static void on_left(void *user)
{
    accllm_server *s = user;
    if (s->keeper) acc_keeper_wake(s->keeper);
}

static accllm_status start_engine(accllm_server *s, accllm_runtime *rt, accllm_model *m, size_t longest,
                                  accllm_error *err)
{
    acc_scheduler_params p = {.rt = rt,
                              .model = m,
                              .session = &s->sp,
                              .slots = s->info.sessions,
                              .queue = s->p.queue,
                              .longest = longest,
                              .notify = on_step,
                              .left = on_left,
                              .user = s};
    ACC_TRY(acc_scheduler_create(&s->scheduler, &p, err));
    s->http.scheduler = s->scheduler;
    if (!s->p.state_dir) return ACCLLM_OK;
    acc_keeper_params k = {.rt = rt,
                           .scheduler = s->scheduler,
                           .folder = s->p.state_dir,
                           .sessions = s->info.sessions,
                           .seconds = s->p.state_seconds};
    return acc_keeper_create(&s->keeper, &k, err);
}

static accllm_status put_together(accllm_server *s, accllm_runtime *rt, accllm_model *m, accllm_error *err)
{
    size_t longest = longest_token(s->service.tok);
    const char *host = s->p.host ? s->p.host : "127.0.0.1";
    acc_http *h = &s->http;
    ACC_TRY(accllm_vocabulary_create(&s->vocabulary, s->service.tok, s->service.info->n_vocab, err));
    s->service.vocabulary = s->vocabulary;
    ACC_TRY(count_sessions(s, m, longest, err));
    ACC_TRY(acc_guard_init(&s->guard, s->p.api_keys, s->p.n_api_keys, s->p.origins, s->p.n_origins, err));
    *h = (acc_http){.rt = rt,
                    .service = &s->service,
                    .guard = &s->guard,
                    .sessions = s->info.sessions,
                    .ping_seconds = s->p.ping_seconds,
                    .drain_seconds = s->p.drain_seconds,
                    .stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                    .wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (h->stop_fd < 0 || h->wake_fd < 0) return acc_fail(err, ACCLLM_E_IO, "eventfd: %s", strerror(errno));
    ACC_TRY(acc_http_open(h, host, s->p.port, longest, err));
    (void)snprintf(s->info.url, sizeof s->info.url, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host,
                   h->port);
    s->info.loopback = h->loopback;
    return start_engine(s, rt, m, longest, err);
}

accllm_status accllm_server_create(accllm_server **out, accllm_runtime *rt, accllm_model *m,
                                   const accllm_session_params *sp, const accllm_server_params *p, accllm_error *err)
{
    *out = NULL;
    if (!rt || !m || !p) return acc_fail(err, ACCLLM_E_ARG, "server: no runtime, model or parameters");
    accllm_server *s = acc_calloc(1, sizeof *s);
    if (!s) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: server");
    s->http.stop_fd = s->http.wake_fd = -1;
    accllm_status status = resolve(s, m, sp, p, err);
    if (status == ACCLLM_OK) status = put_together(s, rt, m, err);
    if (status == ACCLLM_OK)
        *out = s;
    else
        accllm_server_free(&s);
    return status;
}

void accllm_server_free(accllm_server **s)
{
    if (!s || !*s) return;
    if ((*s)->scheduler) acc_scheduler_end((*s)->scheduler); /* first: its thread uses what the exchanges own */
    acc_keeper_free(&(*s)->keeper);
    acc_scheduler_free(&(*s)->scheduler);
    acc_http_close(&(*s)->http);
    if ((*s)->http.stop_fd >= 0) (void)close((*s)->http.stop_fd);
    if ((*s)->http.wake_fd >= 0) (void)close((*s)->http.wake_fd);
    acc_guard_free(&(*s)->guard);
    accllm_vocabulary_free(&(*s)->vocabulary);
    acc_free(*s);
    *s = NULL;
}

const accllm_server_info *accllm_server_get_info(const accllm_server *s)
{
    return &s->info;
}

accllm_status accllm_server_run(accllm_server *s, accllm_error *err)
{
    accllm_status status = acc_http_run(&s->http, err);
    if (s->keeper) acc_keeper_finish(s->keeper);
    return status;
}

void accllm_server_stop(accllm_server *s)
{
    notify(&s->http.stop_fd);
}
