/* accllm run: one prompt, one text. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "generate.h"
#include "input.h"
#include "interrupt.h"
#include "output.h"
#include "prompt.h"
#include "report.h"
#include "structure.h"

typedef struct run_state {
    const cli_options *o;
    const char *path;
    cli_engine engine;
    accllm_session *session;
    accllm_sampler *sampler;
    cli_structure structure;
    uint64_t seed;
    char *text;
    size_t text_len;
    int32_t *ids;
    size_t n_ids;
    cli_generation g;
} run_state;

static int check_usage(const cli_options *o)
{
    const char *needs_chat = o->system ? "--system" : o->pin_system ? "--pin-system" : NULL;
    if (needs_chat && !o->chat) {
        cli_error("run: %s needs --chat", needs_chat);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int make_prompt(run_state *s)
{
    if (!s->o->chat) return cli_prompt_plain(&s->engine, s->text, s->text_len, &s->ids, &s->n_ids);
    if (memchr(s->text, '\0', s->text_len)) {
        cli_error("the message holds a zero byte");
        return CLI_FAILED;
    }
    accllm_chat_message messages[2];
    size_t n = 0;
    if (s->o->system) messages[n++] = (accllm_chat_message){"system", s->o->system};
    messages[n++] = (accllm_chat_message){"user", s->text};
    return cli_prompt_chat(&s->engine, messages, n, true, &s->ids, &s->n_ids);
}

static int open_session(run_state *s)
{
    const cli_options *o = s->o;
    accllm_error err = {0};
    accllm_session_params sp;
    cli_session_params(o, &sp);
    if (o->pin_system) {
        int rc = cli_pin_system(&s->engine, o, o->system, &sp);
        if (rc != CLI_OK) return rc;
    }
    s->g.chunk = sp.chunk;
    sp.max_logits = cli_generation_rows(&s->g);
    sp.trace = o->json || o->trace;
    if (accllm_session_create(&s->session, s->engine.model, &sp, &err) != ACCLLM_OK) return cli_fail_usage(&err);
    s->seed = cli_seed(o);
    return cli_sampler_open(&s->sampler, &s->engine, o, s->seed);
}

static int prepare(run_state *s)
{
    const cli_options *o = s->o;
    int rc = check_usage(o);
    if (rc == CLI_OK) rc = cli_model_path(o, "run", 0, &s->path);
    if (rc == CLI_OK) rc = cli_read_prompt("run", o->prompt, o->file, &s->text, &s->text_len);
    if (rc == CLI_OK) rc = cli_engine_open(&s->engine, o, s->path);
    if (rc == CLI_OK) rc = cli_need_tokenizer(&s->engine, s->path);
    if (rc == CLI_OK) rc = make_prompt(s);
    if (rc == CLI_OK) rc = cli_output_open(&s->g.logits, o->logits);
    if (rc == CLI_OK) rc = cli_output_open(&s->g.trace, o->trace);
    if (rc == CLI_OK) rc = cli_structure_open(&s->structure, &s->engine, o, s->text_len == 0);
    if (rc == CLI_OK) rc = open_session(s);
    return rc;
}

static int print_json(const run_state *s)
{
    const cli_generation *g = &s->g;
    char hash[20];
    uint64_t trace = accllm_session_trace_hash(s->session);
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, trace);
    json_t *out = json_object();
    cli_json_text(out, "text", g->text.data ? g->text.data : "", g->text.len);
    cli_json_ids(out, "ids", g->ids.data, g->ids.len);
    (void)json_object_set_new(out, "trace_hash", trace ? json_string(hash) : json_null());
    cli_json_u64(out, "prompt_tokens", g->n_prompt);
    cli_json_u64(out, "generated_tokens", g->n_drawn);
    (void)json_object_set_new(out, "finish_reason", json_string(g->finish_reason));
    cli_json_u64(out, "seed", s->seed);
    cli_json_real(out, "prefill_tok_s", cli_rate(g->n_prompt, g->prefill_seconds));
    cli_json_real(out, "decode_tok_s", cli_rate(g->n_steps, g->decode_seconds));
    cli_json_u64(out, "session_bytes", accllm_session_bytes(s->session));
    cli_json_u64(out, "peak_rss_bytes", accllm_peak_rss_bytes());
    (void)json_object_set_new(out, "isa", json_string(accllm_runtime_isa(s->engine.rt)));
    cli_json_u64(out, "threads", accllm_runtime_threads(s->engine.rt));
    return cli_json_print(out);
}

static int report(const run_state *s)
{
    const cli_generation *g = &s->g;
    char size[16];
    int rc = CLI_OK;
    if (s->o->json)
        rc = print_json(s);
    else if (g->last != '\n' && g->last != 0)
        rc = cli_write("\n", 1) ? CLI_OK : cli_finish_output();
    cli_error("prompt %" PRIu64 " tokens, %.1f/s; text %" PRIu64 " tokens, %.1f/s; %s; seed %" PRIu64 "; memory %s",
              g->n_prompt, cli_rate(g->n_prompt, g->prefill_seconds), g->n_drawn,
              cli_rate(g->n_steps, g->decode_seconds), g->finish_reason, s->seed,
              cli_size_text(accllm_peak_rss_bytes(), size));
    return rc;
}

static int generate(run_state *s)
{
    cli_generation *g = &s->g;
    g->session = s->session;
    g->sampler = s->sampler;
    g->matcher = s->structure.matcher;
    g->tok = s->engine.tok;
    g->n_vocab = s->engine.info->n_vocab;
    g->n_predict = s->o->n_predict;
    g->stop = &s->o->stop;
    g->ignore_eos = s->o->ignore_eos;
    g->keep = g->quiet = s->o->json;
    g->show_prefill = true;
    g->at_start = s->text_len == 0;
    cli_warn_eviction(s->session, s->o, s->n_ids);
    int rc = cli_generate(g, s->ids, s->n_ids);
    int closed = cli_output_close(&g->logits, s->o->logits);
    if (rc == CLI_OK) rc = closed;
    closed = cli_output_close(&g->trace, s->o->trace);
    if (rc == CLI_OK) rc = closed;
    if (rc == CLI_OK) rc = report(s);
    if (rc == CLI_OK && strcmp(g->finish_reason, "interrupted") == 0) rc = CLI_INTERRUPTED;
    return rc;
}

int cmd_run(const cli_options *o)
{
    run_state s = {.o = o};
    int rc = prepare(&s);
    if (rc == CLI_OK) rc = generate(&s);
    if (s.g.logits) (void)fclose(s.g.logits);
    if (s.g.trace) (void)fclose(s.g.trace);
    cli_generation_free(&s.g);
    cli_structure_close(&s.structure);
    accllm_sampler_free(&s.sampler);
    accllm_session_free(&s.session);
    cli_engine_close(&s.engine);
    free(s.ids);
    free(s.text);
    return rc;
}
