/* accllm serve: the model over HTTP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "engine.h"
#include "input.h"
#include "interrupt.h"
#include "notify.h"
#include "prompt.h"
#include "report.h"

typedef struct serve_state {
    const cli_options *o;
    cli_engine engine;
    accllm_server *server;
    char *key_text; /* the key file's */
    const char **keys;
    size_t n_keys;
} serve_state;

/* Lines of the key file into s->keys, which has room for as many as there are line ends. */
static void take_lines(serve_state *s)
{
    char *rest = s->key_text, *line;
    while ((line = strsep(&rest, "\r\n")))
        if (*line) s->keys[s->n_keys++] = line;
}

static int read_keys(serve_state *s)
{
    const cli_options *o = s->o;
    size_t len = 0, most = o->api_key.n + 2;
    const char *variable = getenv("ACCLLM_API_KEY");
    if (o->api_key_file) {
        int rc = cli_read_file(o->api_key_file, &s->key_text, &len);
        if (rc != CLI_OK) return rc;
        for (size_t i = 0; i < len; i++) most += s->key_text[i] == '\n' || s->key_text[i] == '\r';
    }
    s->keys = calloc(most, sizeof *s->keys);
    if (!s->keys) return cli_out_of_memory("API keys");
    for (size_t i = 0; i < o->api_key.n; i++) s->keys[s->n_keys++] = o->api_key.item[i];
    if (s->key_text) take_lines(s);
    if (o->api_key_file && s->n_keys == o->api_key.n) {
        cli_error("--api-key-file %s: there is no key in it", o->api_key_file);
        return CLI_FAILED;
    }
    if (s->n_keys == 0 && variable && *variable) s->keys[s->n_keys++] = variable;
    return CLI_OK;
}

/* Room for the system messages of chats. */
static void pin_system(const serve_state *s, accllm_session_params *sp)
{
    enum { USUAL = 256 };
    const uint32_t quarter = s->engine.info->n_ctx_train / 4;
    const uint32_t usual = quarter < USUAL ? quarter : USUAL;
    sp->sinks = s->o->sinks >= 0 ? (uint32_t)s->o->sinks : usual;
}

static int create(serve_state *s)
{
    const cli_options *o = s->o;
    accllm_error err = {0};
    accllm_session_params sp;
    accllm_server_params p;
    cli_session_params(o, &sp);
    if (o->pin_system && !o->full_attention) pin_system(s, &sp);
    accllm_server_params_init(&p);
    p.host = o->host;
    p.port = (uint16_t)o->port;
    p.model_name = o->model_name;
    p.api_keys = s->keys;
    p.n_api_keys = s->n_keys;
    p.origins = o->cors.item;
    p.n_origins = o->cors.n;
    p.parallel = (uint32_t)o->parallel;
    p.memory_limit = (uint64_t)(o->memory_limit * 1e6);
    p.queue = (uint32_t)o->queue;
    p.max_tokens = (uint64_t)o->answer;
    p.ping_seconds = (uint32_t)o->ping;
    p.drain_seconds = (uint32_t)o->drain;
    p.pin_system = o->pin_system;
    p.state_dir = o->state_dir;
    p.state_seconds = (uint32_t)o->state_every;
    p.sampler.temperature = (float)o->temperature;
    p.sampler.top_k = (uint32_t)o->top_k;
    p.sampler.top_p = (float)o->top_p;
    p.sampler.min_p = (float)o->min_p;
    p.sampler.repeat_penalty = (float)o->repeat_penalty;
    p.sampler.repeat_last = (uint32_t)o->repeat_last;
    if (accllm_server_create(&s->server, s->engine.rt, s->engine.model, &sp, &p, &err) == ACCLLM_OK) return CLI_OK;
    return cli_fail_usage(&err);
}

/* Where it listens and what it takes; with --json on standard output, for programs that start it. */
static int announce(const serve_state *s)
{
    const accllm_server_info *info = accllm_server_get_info(s->server);
    char model[16], session[16], all[16];
    uint64_t total = info->model_bytes + info->sessions * info->session_bytes;
    cli_error("%s at %s/v1, chat at %s/: %u sessions of %s beside the model's %s, %s in all", info->model_name,
              info->url, info->url, info->sessions, cli_size_text(info->session_bytes, session),
              cli_size_text(info->model_bytes, model), cli_size_text(total, all));
    if (s->n_keys == 0 && !info->loopback)
        cli_error("note: all who can reach %s may ask; --api-key-file sets keys", info->url);
    if (!s->o->json) return CLI_OK;
    json_t *out = json_object();
    cli_json_text(out, "url", info->url, strlen(info->url));
    cli_json_text(out, "model", info->model_name, strlen(info->model_name));
    cli_json_u64(out, "sessions", info->sessions);
    cli_json_u64(out, "session_bytes", info->session_bytes);
    cli_json_u64(out, "model_bytes", info->model_bytes);
    return cli_json_print(out);
}

/* The port is open, so clients may come. */
static void tell_ready(const serve_state *s, int manager)
{
    const accllm_server_info *info = accllm_server_get_info(s->server);
    char lines[sizeof info->url + 64];
    (void)snprintf(lines, sizeof lines, "READY=1\nSTATUS=%u sessions at %s", info->sessions, info->url);
    cli_notify(manager, lines);
}

static int serve(serve_state *s)
{
    accllm_error err = {0};
    const int manager = cli_notify_open();
    cli_interrupt_serve(s->server, manager); /* before it is announced: whoever reads that may end it at once */
    if (cli_interrupted()) accllm_server_stop(s->server);
    int rc = announce(s);
    if (rc == CLI_OK) tell_ready(s, manager);
    if (rc == CLI_OK && accllm_server_run(s->server, &err) != ACCLLM_OK) rc = cli_fail(&err);
    cli_interrupt_serve(NULL, -1);
    if (manager >= 0) (void)close(manager);
    return rc;
}

int cmd_serve(const cli_options *o)
{
    serve_state s = {.o = o};
    const char *path;
    int rc = cli_model_path(o, "serve", 0, &path);
    if (rc == CLI_OK) rc = read_keys(&s);
    if (rc == CLI_OK) rc = cli_engine_open(&s.engine, o, path);
    if (rc == CLI_OK) rc = cli_need_tokenizer(&s.engine, path);
    if (rc == CLI_OK) rc = create(&s);
    if (rc == CLI_OK) rc = serve(&s);
    accllm_server_free(&s.server);
    cli_engine_close(&s.engine);
    free(s.keys);
    free(s.key_text);
    return rc;
}
