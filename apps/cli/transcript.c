#include "transcript.h"

#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "output.h"
#include "report.h"

static bool all_text(const json_t *messages)
{
    const json_t *m;
    size_t i;
    json_array_foreach(messages, i, m) if (!json_is_string(json_object_get(m, "content"))) return false;
    return true;
}

int cli_transcript_save(const cli_dialogue *d, const char *path)
{
    if (!all_text(d->messages)) {
        cli_error("%s: not written: a message is not UTF-8", path);
        return CLI_FAILED;
    }
    json_t *list = json_array(), *out = json_object();
    bool ok = list && out && json_object_set(out, "messages", list) == 0;
    if (ok && d->system) ok = cli_dialogue_note(list, "system", d->system, strlen(d->system));
    ok = ok && json_array_extend(list, d->messages) == 0;
    FILE *f = NULL;
    int rc = ok ? cli_output_open(&f, path) : cli_out_of_memory("conversation");
    if (rc == CLI_OK && (json_dumpf(out, f, JSON_INDENT(1)) != 0 || putc('\n', f) == EOF) && !ferror(f))
        rc = cli_out_of_memory("conversation");
    int closed = cli_output_close(&f, path);
    json_decref(list);
    json_decref(out);
    return rc == CLI_OK ? closed : rc;
}

/* The messages as texts that belong to `list`; NULL unless they are a conversation that an assistant's answer ends.
 * *out is malloc'ed. */
static const char *read_messages(const json_t *list, accllm_chat_message **out, size_t *n)
{
    const json_t *m;
    size_t i;
    *n = json_array_size(list);
    *out = calloc(*n + 1, sizeof **out);
    if (!*out) return "out of memory";
    json_array_foreach(list, i, m)
    {
        accllm_chat_message *to = &(*out)[i];
        to->role = json_string_value(json_object_get(m, "role"));
        to->content = json_string_value(json_object_get(m, "content"));
        if (!to->role || !to->content) return "a message without the texts role and content";
        const size_t first = strcmp((*out)[0].role, "system") == 0;
        const char *want = i < first ? "system" : (i - first) % 2 == 0 ? "user" : "assistant";
        if (strcmp(to->role, want) != 0) return "after a system's message, user and assistant must speak in turn";
    }
    bool answered = *n > 1 && strcmp((*out)[*n - 1].role, "assistant") == 0;
    return answered ? NULL : "no conversation that ends with an assistant's answer in \"messages\"";
}

int cli_transcript_load(cli_dialogue *d, const char *path)
{
    char *text = NULL;
    size_t len, n = 0;
    json_error_t why;
    accllm_chat_message *messages = NULL;
    int rc = cli_read_file(path, &text, &len);
    if (rc != CLI_OK) return rc;
    json_t *file = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    const char *bad = file ? read_messages(json_object_get(file, "messages"), &messages, &n) : why.text;
    if (bad) {
        cli_error("%s: %s", path, bad);
        rc = CLI_FAILED;
    }
    if (rc == CLI_OK) rc = cli_dialogue_continue(d, messages, n);
    free(messages);
    json_decref(file);
    free(text);
    return rc;
}
