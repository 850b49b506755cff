#include "dialogue.h"

#include <stdlib.h>
#include <string.h>

#include "interrupt.h"
#include "report.h"

enum { DEFAULT_CHUNK = 128 };

static int add_message(cli_dialogue *d, const char *role, const char *content)
{
    if (d->n_messages == d->cap_messages) {
        size_t cap = d->cap_messages ? 2 * d->cap_messages : 16;
        accllm_chat_message *more = realloc(d->messages, cap * sizeof *more);
        if (!more) goto fail;
        d->messages = more;
        d->cap_messages = cap;
    }
    char *copy = strdup(content);
    if (!copy) goto fail;
    d->messages[d->n_messages++] = (accllm_chat_message){role, copy};
    return CLI_OK;
fail:
    cli_error("out of memory: conversation");
    return CLI_FAILED;
}

static void drop_messages(cli_dialogue *d, size_t keep)
{
    while (d->n_messages > keep) free((void *)(uintptr_t)d->messages[--d->n_messages].content);
}

int cli_dialogue_reset(cli_dialogue *d)
{
    drop_messages(d, 0);
    d->seen.len = 0;
    d->rendered.len = 0;
    d->stale = false;
    accllm_session_reset(d->session);
    return d->o->system ? add_message(d, "system", d->o->system) : CLI_OK;
}

int cli_dialogue_open(cli_dialogue *d, const cli_engine *e, const cli_options *o)
{
    *d = (cli_dialogue){.o = o, .engine = e, .seed = cli_seed(o)};
    if (!accllm_chat_supported(e->tok)) {
        cli_error("chat: the model file has no chat template that this version knows; accllm run continues a text");
        return CLI_FAILED;
    }
    accllm_error err = {0};
    accllm_session_params sp;
    cli_session_params(o, &sp);
    int rc = o->pin_system ? cli_pin_system(e, o, o->system, &sp) : CLI_OK;
    if (rc != CLI_OK) return rc;
    if (accllm_session_create(&d->session, e->model, &sp, &err) != ACCLLM_OK) return cli_fail_usage(&err);
    rc = cli_sampler_open(&d->sampler, e, o, d->seed);
    return rc == CLI_OK ? cli_dialogue_reset(d) : rc;
}

void cli_dialogue_close(cli_dialogue *d)
{
    drop_messages(d, 0);
    free(d->messages);
    free(d->seen.data);
    free(d->rendered.data);
    accllm_sampler_free(&d->sampler);
    accllm_session_free(&d->session);
}

static int out_of_memory(void)
{
    cli_error("out of memory: conversation");
    return CLI_FAILED;
}

/* How much of the rendered conversation the session has already; 0: it does not continue what was rendered before. */
static size_t known_part(const cli_dialogue *d, const char *text, size_t len)
{
    size_t n = d->rendered.len;
    return n <= len && (n == 0 || memcmp(text, d->rendered.data, n) == 0) ? n : 0;
}

static int append_rendered(cli_dialogue *d, const char *text, size_t len, cli_ids *missing)
{
    int32_t *ids = NULL;
    size_t n = 0;
    accllm_error err = {0};
    unsigned flags = ACCLLM_TOKENIZE_SPECIAL;
    if (d->seen.len == 0 && accllm_tokenizer_adds_bos(d->engine->tok)) flags |= ACCLLM_TOKENIZE_BOS;
    if (accllm_tokenize(d->engine->tok, text, len, flags, &ids, &n, &err) != ACCLLM_OK) return cli_fail(&err);
    bool ok = (!d->stale || cli_ids_add(missing, d->seen.data, d->seen.len)) && cli_ids_add(missing, ids, n) &&
              cli_ids_add(&d->seen, ids, n) && cli_buffer_add(&d->rendered, text, len);
    free(ids);
    return ok ? CLI_OK : out_of_memory();
}

/* The ids that the session still lacks before the next answer: all that was seen if it is stale, then the new part of
 * the rendered conversation. */
static int missing_ids(cli_dialogue *d, cli_ids *out)
{
    char *text = NULL;
    accllm_error err = {0};
    if (accllm_chat_render(d->engine->tok, d->messages, d->n_messages, true, &text, &err) != ACCLLM_OK)
        return cli_fail(&err);
    size_t len = strlen(text), from = known_part(d, text, len);
    if (from == 0) {
        d->seen.len = d->rendered.len = 0;
        d->stale = true;
    }
    if (d->stale) accllm_session_reset(d->session);
    int rc = append_rendered(d, text + from, len - from, out);
    d->stale = false;
    free(text);
    return rc;
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

/* What the session holds of the answer: every drawn id but one that ended the text. */
static int keep_answer(cli_dialogue *d, const cli_generation *g)
{
    size_t n = g->ids.len - (g->ended ? 1 : 0);
    if (!cli_ids_add(&d->seen, g->ids.data, n) || !cli_buffer_add(&d->rendered, g->text.data, g->text.len))
        return out_of_memory();
    d->stale = g->broken;
    return add_message(d, "assistant", g->text.data ? g->text.data : "");
}

int cli_dialogue_say(cli_dialogue *d, const char *message, bool quiet, const char **finish_reason)
{
    cli_ids prompt = {0};
    int rc = add_message(d, "user", message);
    if (rc == CLI_OK) rc = missing_ids(d, &prompt);
    cli_generation g = {
        .session = d->session,
        .sampler = d->sampler,
        .tok = d->engine->tok,
        .n_vocab = d->engine->info->n_vocab,
        .chunk = d->o->chunk ? (uint32_t)d->o->chunk : DEFAULT_CHUNK,
        .n_predict = d->o->n_predict,
        .keep = true,
        .continued = true,
        .show_prefill = true,
        .quiet = quiet,
    };
    if (rc == CLI_OK) rc = cli_generate(&g, prompt.data, prompt.len);
    count(d, &g);
    if (rc == CLI_OK) rc = keep_answer(d, &g);
    if (rc == CLI_OK && !quiet && g.last != '\n' && !cli_write("\n", 1)) rc = cli_finish_output();
    *finish_reason = g.finish_reason;
    cli_generation_free(&g);
    free(prompt.data);
    return rc;
}
