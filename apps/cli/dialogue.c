#include "dialogue.h"

#include <stdlib.h>

#include "interrupt.h"
#include "report.h"

int cli_dialogue_reset(cli_dialogue *d)
{
    d->seen.len = 0;
    d->stale = false;
    accllm_session_reset(d->session);
    accllm_sampler_free(&d->sampler); /* it remembers tokens for the repetition penalty */
    return cli_sampler_open(&d->sampler, d->engine, d->o, d->seed);
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
    return cli_dialogue_reset(d);
}

void cli_dialogue_close(cli_dialogue *d)
{
    free(d->seen.data);
    free(d->answer.data);
    accllm_sampler_free(&d->sampler);
    accllm_session_free(&d->session);
}

/* The ids of a turn up to its answer; the first turn begins the conversation. */
static int turn_ids(const cli_dialogue *d, const char *message, int32_t **ids, size_t *n)
{
    if (d->seen.len > 0) return cli_prompt_turn(d->engine, message, ids, n);
    accllm_chat_message messages[2];
    size_t count = 0;
    if (d->o->system) messages[count++] = (accllm_chat_message){"system", d->o->system};
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

/* What the session holds of the answer: every drawn id but one that ended the text. */
static int keep_answer(cli_dialogue *d, const cli_generation *g)
{
    size_t n = g->ids.len - (g->ended ? 1 : 0);
    d->answer.len = 0;
    d->stale = g->broken;
    bool ok = cli_ids_add(&d->seen, g->ids.data, n) && cli_buffer_add(&d->answer, g->text.data, g->text.len);
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
    if (rc == CLI_OK) rc = keep_answer(d, &g);
    if (rc == CLI_OK && !quiet && g.last != '\n' && !cli_write("\n", 1)) rc = cli_finish_output();
    *finish_reason = g.finish_reason;
    cli_generation_free(&g);
    free(prompt.data);
    return rc;
}
