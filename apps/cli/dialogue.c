#include "dialogue.h"

#include <stdlib.h>
#include <string.h>

#include "interrupt.h"
#include "report.h"

int cli_dialogue_reset(cli_dialogue *d)
{
    d->seen.len = 0;
    d->stale = false;
    (void)json_array_clear(d->messages);
    accllm_session_reset(d->session);
    accllm_sampler_free(&d->sampler); /* it remembers tokens for the repetition penalty */
    return cli_sampler_open(&d->sampler, d->engine, d->o, d->seed);
}

static int make_session(cli_dialogue *d, const char *system)
{
    accllm_error err = {0};
    accllm_session_params sp;
    accllm_session *made;
    cli_session_params(d->o, &sp);
    int rc = d->o->pin_system ? cli_pin_system(d->engine, d->o, system, &sp) : CLI_OK;
    if (rc != CLI_OK) return rc;
    if (accllm_session_create(&made, d->engine->model, &sp, &err) != ACCLLM_OK) return cli_fail_usage(&err);
    accllm_session_free(&d->session);
    d->session = made;
    return CLI_OK;
}

int cli_dialogue_set_system(cli_dialogue *d, const char *system)
{
    char *copy = system ? strdup(system) : NULL;
    if (system && !copy) return cli_out_of_memory("system message");
    int rc = d->o->pin_system ? make_session(d, system) : CLI_OK; /* as many sinks as it has tokens */
    if (rc != CLI_OK) {
        free(copy);
        return rc;
    }
    free(d->system);
    d->system = copy;
    return cli_dialogue_reset(d);
}

int cli_dialogue_open(cli_dialogue *d, const cli_engine *e, const cli_options *o)
{
    *d = (cli_dialogue){.o = o, .engine = e, .seed = cli_seed(o)};
    if (!accllm_chat_supported(e->tok)) {
        cli_error("chat: the model file has no chat template that this version knows; accllm run continues a text");
        return CLI_FAILED;
    }
    d->messages = json_array();
    if (!d->messages) return cli_out_of_memory("conversation");
    int rc = o->pin_system ? CLI_OK : make_session(d, NULL);
    return rc == CLI_OK ? cli_dialogue_set_system(d, o->system) : rc;
}

void cli_dialogue_close(cli_dialogue *d)
{
    free(d->seen.data);
    free(d->answer.data);
    free(d->system);
    json_decref(d->messages);
    accllm_sampler_free(&d->sampler);
    accllm_session_free(&d->session);
}

/* All of the messages as ids, without what ends the last answer. */
static int ids_of(const cli_dialogue *d, const accllm_chat_message *messages, size_t n, cli_ids *out)
{
    accllm_error err = {0};
    const char *last = messages[n - 1].content;
    int32_t *ids = NULL, *said = NULL;
    size_t n_ids, n_said;
    int rc = cli_prompt_chat(d->engine, messages, n - 1, true, &ids, &n_ids);
    if (rc == CLI_OK && accllm_tokenize(d->engine->tok, last, strlen(last), 0, &said, &n_said, &err) != ACCLLM_OK)
        rc = cli_fail(&err);
    if (rc == CLI_OK && !(cli_ids_add(out, ids, n_ids) && cli_ids_add(out, said, n_said)))
        rc = cli_out_of_memory("conversation");
    free(ids);
    free(said);
    return rc;
}

static bool note_all(json_t *list, const accllm_chat_message *messages, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!cli_dialogue_note(list, messages[i].role, messages[i].content, strlen(messages[i].content))) return false;
    return true;
}

int cli_dialogue_continue(cli_dialogue *d, const accllm_chat_message *messages, size_t n)
{
    cli_ids ids = {0};
    const size_t first = strcmp(messages[0].role, "system") == 0;
    json_t *list = json_array();
    int rc = list && note_all(list, messages + first, n - first) ? CLI_OK : cli_out_of_memory("conversation");
    if (rc == CLI_OK) rc = ids_of(d, messages, n, &ids);
    if (rc == CLI_OK) rc = cli_dialogue_set_system(d, first ? messages[0].content : NULL);
    if (rc == CLI_OK) {
        json_decref(d->messages);
        d->messages = json_incref(list);
        free(d->seen.data);
        d->seen = ids;
        ids = (cli_ids){0};
        d->stale = true; /* read before the next answer */
    }
    json_decref(list);
    free(ids.data);
    return rc;
}

/* The ids of a turn up to its answer; the first turn begins the conversation. */
static int turn_ids(const cli_dialogue *d, const char *message, int32_t **ids, size_t *n)
{
    if (d->seen.len > 0) return cli_prompt_turn(d->engine, message, ids, n);
    accllm_chat_message messages[2];
    size_t count = 0;
    if (d->system) messages[count++] = (accllm_chat_message){"system", d->system};
    messages[count++] = (accllm_chat_message){"user", message};
    return cli_prompt_chat(d->engine, messages, count, true, ids, n);
}

/* The ids that the session still lacks before the next answer: all that was seen if it is stale, then the turn's. */
static int missing_ids(cli_dialogue *d, const char *message, cli_ids *out)
{
    int32_t *ids;
    size_t n;
    int rc = turn_ids(d, message, &ids, &n);
    if (rc != CLI_OK) return rc;
    if (d->stale) accllm_session_reset(d->session);
    bool ok = (!d->stale || cli_ids_add(out, d->seen.data, d->seen.len)) && cli_ids_add(out, ids, n) &&
              cli_ids_add(&d->seen, ids, n);
    d->stale = false;
    free(ids);
    return ok ? CLI_OK : cli_out_of_memory("conversation");
}

static void count(cli_dialogue *d, const cli_generation *g)
{
    d->turns++;
    d->prompt_tokens += g->n_prompt;
    d->answer_tokens += g->n_drawn;
    d->steps += g->n_steps;
    d->prefill_seconds += g->prefill_seconds;
    d->decode_seconds += g->decode_seconds;
}

bool cli_dialogue_note(json_t *messages, const char *role, const char *text, size_t n)
{
    json_t *m = json_object();
    if (!m) return false;
    cli_json_text(m, "role", role, strlen(role));
    cli_json_text(m, "content", n > 0 ? text : "", n);
    return json_array_append_new(messages, m) == 0;
}

/* What the session holds of the answer: every drawn id but one that ended the text. */
static int keep_answer(cli_dialogue *d, const char *message, const cli_generation *g)
{
    size_t n = g->ids.len - (g->ended ? 1 : 0);
    d->answer.len = 0;
    d->stale = g->broken;
    bool ok = cli_ids_add(&d->seen, g->ids.data, n) && cli_buffer_add(&d->answer, g->text.data, g->text.len) &&
              cli_dialogue_note(d->messages, "user", message, strlen(message)) &&
              cli_dialogue_note(d->messages, "assistant", g->text.data, g->text.len);
    return ok ? CLI_OK : cli_out_of_memory("conversation");
}

int cli_dialogue_say(cli_dialogue *d, const char *message, bool quiet, const char **finish_reason)
{
    cli_ids prompt = {0};
    int rc = missing_ids(d, message, &prompt);
    cli_generation g = {
        .session = d->session,
        .sampler = d->sampler,
        .tok = d->engine->tok,
        .n_vocab = d->engine->info->n_vocab,
        .chunk = cli_chunk(d->o),
        .n_predict = d->o->n_predict,
        .keep = true,
        .continued = true,
        .show_prefill = true,
        .quiet = quiet,
    };
    if (rc == CLI_OK) rc = cli_generate(&g, prompt.data, prompt.len);
    count(d, &g);
    if (rc == CLI_OK) rc = keep_answer(d, message, &g);
    if (rc == CLI_OK && !quiet && g.last != '\n' && !cli_write("\n", 1)) rc = cli_finish_output();
    *finish_reason = g.finish_reason;
    cli_generation_free(&g);
    free(prompt.data);
    return rc;
}
