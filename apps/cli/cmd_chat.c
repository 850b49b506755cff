/* accllm chat: a conversation at the terminal or from a pipe. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "dialogue.h"
#include "interrupt.h"
#include "line.h"
#include "report.h"
#include "transcript.h"

typedef struct chat {
    const cli_options *o;
    cli_engine engine;
    cli_dialogue d;
    cli_line *line;
    json_t *turns; /* with --json */
    bool warned;   /* one Ctrl-C at the prompt; the next one ends */
    bool done;
} chat;

static void print_help(void)
{
    (void)fputs("/help         this text\n"
                "/reset        forget the conversation\n"
                "/system       show the system message\n"
                "/system TEXT  set it; the conversation begins anew\n"
                "/save FILE    write the conversation, as the messages of OpenAI's API\n"
                "/load FILE    go on from such a file\n"
                "/stats        tokens, speed and memory so far\n"
                "/exit         end (also Ctrl-D)\n"
                "A line that ends in \\ goes on in the next. Ctrl-C stops an answer.\n",
                stderr);
}

static void print_stats(const chat *c)
{
    const cli_dialogue *d = &c->d;
    char cache[16], peak[16];
    (void)fprintf(stderr,
                  "%" PRIu64 " answers; prompts %" PRIu64 " tokens, %.1f/s; answers %" PRIu64 " tokens, %.1f/s\n",
                  d->turns, d->prompt_tokens, cli_rate(d->prompt_tokens, d->prefill_seconds), d->answer_tokens,
                  cli_rate(d->steps, d->decode_seconds));
    (void)fprintf(stderr,
                  "position %" PRIu64 "; sinks %" PRIu32 ", window %" PRIu32 ", cache %" PRIu32
                  " bits; session %s, peak memory %s; seed %" PRIu64 "\n",
                  accllm_session_position(d->session), accllm_session_sinks(d->session),
                  accllm_session_window(d->session), accllm_session_kv_bits(d->session),
                  cli_size_text(accllm_session_bytes(d->session), cache), cli_size_text(accllm_peak_rss_bytes(), peak),
                  d->seed);
}

/* What stands behind the command's name, NULL: it is another command. */
static const char *argument(const char *text, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(text, name, n) != 0 || (text[n] && text[n] != ' ')) return NULL;
    return text + n + strspn(text + n, " ");
}

static int change_system(chat *c, const char *text)
{
    if (!*text) {
        (void)fprintf(stderr, "%s\n", c->d.system ? c->d.system : "there is none; the model's template may have one");
        return CLI_OK;
    }
    int rc = cli_dialogue_set_system(&c->d, text);
    if (rc == CLI_OK) (void)fputs("the conversation begins anew\n", stderr);
    return rc;
}

static int save(const chat *c, const char *path)
{
    int rc = cli_transcript_save(&c->d, path);
    if (rc == CLI_OK) (void)fprintf(stderr, "%zu answers written\n", json_array_size(c->d.messages) / 2);
    return rc;
}

static int load(chat *c, const char *path)
{
    int rc = cli_transcript_load(&c->d, path);
    if (rc == CLI_OK) (void)fprintf(stderr, "%zu answers read\n", json_array_size(c->d.messages) / 2);
    return rc;
}

/* The commands with an argument. What fails at the terminal has been told and changes nothing; a pipe ends by it. */
static bool long_command(chat *c, const char *text, int *rc)
{
    const char *system = argument(text, "/system"), *to = argument(text, "/save"), *from = argument(text, "/load");
    const char *path = to ? to : from;
    if (!system && !path) return false;
    *rc = CLI_FAILED;
    if (system)
        *rc = change_system(c, system);
    else if (!*path)
        cli_error("%s needs the name of a file", text);
    else
        *rc = to ? save(c, path) : load(c, path);
    if (cli_line_is_terminal(c->line)) *rc = CLI_OK;
    return true;
}

static int slash_command(chat *c, const char *text)
{
    int rc;
    if (long_command(c, text, &rc)) return rc;
    if (strcmp(text, "/exit") == 0 || strcmp(text, "/quit") == 0 || strcmp(text, "/bye") == 0)
        c->done = true;
    else if (strcmp(text, "/help") == 0 || strcmp(text, "/?") == 0)
        print_help();
    else if (strcmp(text, "/stats") == 0)
        print_stats(c);
    else if (strcmp(text, "/reset") == 0) {
        (void)fputs("the conversation is forgotten\n", stderr);
        return cli_dialogue_reset(&c->d);
    } else
        (void)fprintf(stderr, "unknown command %s; /help lists them\n", text);
    return CLI_OK;
}

static int answer(chat *c, const char *text)
{
    const char *reason = NULL;
    int rc = cli_dialogue_say(&c->d, text, c->turns != NULL, &reason);
    bool stopped = cli_interrupted();
    cli_interrupt_clear();
    if (rc == CLI_FAILED && cli_line_is_terminal(c->line) && !ferror(stdout)) {
        (void)fputs("the conversation is forgotten\n", stderr); /* the message above says why */
        return cli_dialogue_reset(&c->d);
    }
    if (rc != CLI_OK) return rc;
    if (stopped) (void)fputs("(stopped)\n", stderr);
    if (!stopped && strcmp(reason, "length") == 0)
        (void)fputs("(the answer was cut off; -n sets the most tokens)\n", stderr);
    if (!c->turns) return CLI_OK;
    json_t *turn = json_object();
    cli_json_text(turn, "user", text, strlen(text));
    cli_json_text(turn, "assistant", c->d.answer.data, c->d.answer.len);
    (void)json_object_set_new(turn, "finish_reason", json_string(reason));
    (void)json_array_append_new(c->turns, turn);
    return CLI_OK;
}

/* At the prompt: the first Ctrl-C drops the line, the second ends. From a pipe the first ends. */
static int interrupted_at_prompt(chat *c)
{
    cli_interrupt_clear();
    c->done = c->warned || !cli_line_is_terminal(c->line);
    if (c->done) return cli_line_is_terminal(c->line) ? CLI_OK : CLI_INTERRUPTED;
    c->warned = true;
    (void)fputs("\n(Ctrl-C again or /exit to end)\n", stderr);
    return CLI_OK;
}

static int one_line(chat *c)
{
    const char *text;
    size_t len;
    switch (cli_line_read(c->line, &text, &len)) {
    case CLI_LINE_INTERRUPTED:
        return interrupted_at_prompt(c);
    case CLI_LINE_END:
        c->done = true;
        if (cli_line_is_terminal(c->line)) (void)fputs("\n", stderr);
        return CLI_OK;
    case CLI_LINE_FAILED:
        return CLI_FAILED;
    case CLI_LINE_TEXT:
        break;
    }
    c->warned = false;
    if (len == 0) return CLI_OK;
    if (strlen(text) != len) {
        cli_error("the message holds a zero byte");
        return CLI_FAILED;
    }
    return text[0] == '/' ? slash_command(c, text) : answer(c, text);
}

static int print_json(chat *c)
{
    json_t *out = json_object();
    (void)json_object_set(out, "turns", c->turns);
    cli_json_u64(out, "seed", c->d.seed);
    cli_json_u64(out, "prompt_tokens", c->d.prompt_tokens);
    cli_json_u64(out, "generated_tokens", c->d.answer_tokens);
    cli_json_real(out, "prefill_tok_s", cli_rate(c->d.prompt_tokens, c->d.prefill_seconds));
    cli_json_real(out, "decode_tok_s", cli_rate(c->d.steps, c->d.decode_seconds));
    cli_json_u64(out, "peak_rss_bytes", accllm_peak_rss_bytes());
    return cli_json_print(out);
}

static int converse(chat *c)
{
    char name[CLI_NAME];
    if (cli_line_is_terminal(c->line))
        (void)fprintf(stderr, "%s; /help lists the commands\n", cli_name(c->engine.info->name, name));
    int rc = CLI_OK;
    while (rc == CLI_OK && !c->done) rc = one_line(c);
    return rc == CLI_OK && c->turns ? print_json(c) : rc;
}

int cmd_chat(const cli_options *o)
{
    const char *path;
    chat c = {.o = o};
    int rc = cli_model_path(o, "chat", 0, &path);
    if (rc != CLI_OK) return rc;
    rc = cli_engine_open(&c.engine, o, path);
    if (rc == CLI_OK) rc = cli_need_tokenizer(&c.engine, path);
    if (rc == CLI_OK) rc = cli_dialogue_open(&c.d, &c.engine, o);
    if (rc == CLI_OK && !(c.line = cli_line_open())) rc = CLI_FAILED;
    if (rc == CLI_OK && o->json && !(c.turns = json_array())) rc = cli_out_of_memory("JSON output");
    if (rc == CLI_OK) rc = converse(&c);
    if (c.turns) json_decref(c.turns);
    cli_line_close(&c.line);
    cli_dialogue_close(&c.d);
    cli_engine_close(&c.engine);
    return rc;
}
