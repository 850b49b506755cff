/* Prompts: texts, lists of ids and messages into token ids. */
#include <stdlib.h>
#include <string.h>

#include "serve/fields.h"
#include "serve/request.h"

static bool refuse_error(acc_problem *p, const char *key, const accllm_error *err)
{
    if (err->code == ACCLLM_E_NOMEM) return acc_refuse_memory(p);
    return acc_refuse(p, 400, "invalid_value", key, "%s", err->text);
}

bool acc_read_ids(const acc_service *s, const json_t *list, const char *key, int32_t **ids, size_t *n, acc_problem *p)
{
    const json_t *item;
    size_t i;
    *n = 0;
    *ids = malloc((json_array_size(list) + 1) * sizeof **ids);
    if (!*ids) return acc_refuse_memory(p);
    json_array_foreach(list, i, item)
    {
        json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id >= s->info->n_vocab) {
            free(*ids);
            *ids = NULL;
            return acc_refuse(p, 400, "invalid_value", key, "%s: item %zu is not a token id of 0 to %u", key, i,
                              s->info->n_vocab - 1);
        }
        (*ids)[(*n)++] = (int32_t)id;
    }
    return true;
}

/* An empty prompt becomes whatever stands for a text's beginning. */
static bool begin(acc_prompt *q, const acc_service *s, const char *key, acc_problem *p)
{
    q->empty = q->n == 0 || (q->n == 1 && q->ids[0] == accllm_tokenizer_bos(s->tok));
    if (q->n > 0) return true;
    int32_t first = accllm_tokenizer_bos(s->tok);
    if (first < 0) return acc_refuse(p, 400, "invalid_value", key, "the %s is empty", key);
    free(q->ids);
    q->ids = malloc(sizeof *q->ids);
    if (!q->ids) return acc_refuse_memory(p);
    q->ids[q->n++] = first;
    return true;
}

static bool add_prompt(acc_request *r, const acc_service *s, const json_t *v, const char *key, acc_problem *p)
{
    acc_prompt *q = &r->prompt[r->n_prompts++];
    if (json_is_array(v)) return acc_read_ids(s, v, key, &q->ids, &q->n, p) && begin(q, s, key, p);
    if (!json_is_string(v))
        return acc_refuse(p, 400, "invalid_type", key,
                          "%s must be a string, a list of strings, of token ids, or of lists of token ids", key);
    accllm_error err = {0};
    unsigned flags = ACCLLM_TOKENIZE_SPECIAL | (accllm_tokenizer_adds_bos(s->tok) ? ACCLLM_TOKENIZE_BOS : 0);
    if (accllm_tokenize(s->tok, json_string_value(v), json_string_length(v), flags, &q->ids, &q->n, &err) != ACCLLM_OK)
        return refuse_error(p, key, &err);
    return begin(q, s, key, p);
}

bool acc_read_prompts(acc_request *r, const acc_service *s, const json_t *body, const char *key, acc_problem *p)
{
    const json_t *v = acc_field(body, key), *item;
    size_t i;
    if (!v) return acc_refuse(p, 400, "missing_required_parameter", key, "%s is missing", key);
    bool many = json_is_array(v) && !json_is_integer(json_array_get(v, 0));
    size_t n = many ? json_array_size(v) : 1, most = r->embed ? ACC_MAX_TEXTS : ACC_MAX_SEQUENCES;
    if (n == 0 || n > most)
        return acc_refuse(p, 400, "invalid_value", key, "%zu texts; a request may have 1 to %zu", n, most);
    r->prompt = calloc(n, sizeof *r->prompt);
    if (!r->prompt) return acc_refuse_memory(p);
    if (!many) return add_prompt(r, s, v, key, p);
    json_array_foreach(v, i, item) if (!add_prompt(r, s, item, key, p)) return false;
    return true;
}

/* The text of a content: a string, null, or a list of text parts, which become lines. *out is malloc'ed. */
static bool read_content(const json_t *v, char **out, acc_problem *p)
{
    const char *key = "messages";
    const json_t *part;
    size_t i, len = 0;
    *out = NULL;
    if (json_is_string(v) || !v || json_is_null(v)) {
        *out = strdup(json_is_string(v) ? json_string_value(v) : "");
        return *out || acc_refuse_memory(p);
    }
    if (!json_is_array(v))
        return acc_refuse(p, 400, "invalid_type", key, "content must be a string or a list of parts");
    json_array_foreach(v, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return acc_refuse(p, 400, "unsupported_content", key, "only text parts are supported in content");
        len += json_string_length(text) + 1;
    }
    char *at = *out = malloc(len + 1);
    if (!at) return acc_refuse_memory(p);
    json_array_foreach(v, i, part)
    {
        if (i > 0) *at++ = '\n';
        at = stpcpy(at, json_string_value(json_object_get(part, "text")));
    }
    *at = '\0';
    return true;
}

static bool read_role(const json_t *message, size_t i, const char **role, acc_problem *p)
{
    static const char *const known[] = {"system", "user", "assistant", "tool"};
    const char *given = json_string_value(json_object_get(message, "role"));
    if (given && strcmp(given, "developer") == 0) given = "system";
    for (size_t k = 0; given && k < sizeof known / sizeof *known; k++)
        if (strcmp(given, known[k]) == 0) *role = known[k];
    if (!*role)
        return acc_refuse(p, 400, "invalid_value", "messages",
                          "message %zu: role must be system, developer, user, assistant or tool", i);
    if (json_array_size(json_object_get(message, "tool_calls")) > 0)
        return acc_refuse(p, 400, "unsupported_parameter", "messages", "message %zu: tool_calls are not supported", i);
    return true;
}

static bool tokenize_chat(const acc_service *s, const accllm_chat_message *m, size_t n_messages, bool generate,
                          int32_t **ids, size_t *n, acc_problem *p)
{
    accllm_error err = {0};
    if (accllm_chat_tokenize(s->tok, m, n_messages, generate, ids, n, &err) != ACCLLM_OK)
        return refuse_error(p, "messages", &err);
    if (!accllm_tokenizer_adds_bos(s->tok)) return true;
    int32_t *more = realloc(*ids, (*n + 1) * sizeof *more);
    if (!more) {
        free(*ids);
        *ids = NULL;
        return acc_refuse_memory(p);
    }
    memmove(more + 1, more, *n * sizeof *more);
    more[0] = accllm_tokenizer_bos(s->tok);
    *ids = more;
    ++*n;
    return true;
}

/* Tokens of the system messages that stand first. */
static bool count_system(const acc_service *s, const accllm_chat_message *m, size_t n_messages, size_t *n,
                         acc_problem *p)
{
    size_t first = 0;
    int32_t *ids = NULL;
    *n = 0;
    while (first < n_messages && strcmp(m[first].role, "system") == 0) first++;
    if (first == 0) return true;
    bool ok = tokenize_chat(s, m, first, false, &ids, n, p);
    free(ids);
    return ok;
}

bool acc_chat_ids(const acc_service *s, const json_t *body, bool generate, int32_t **ids, size_t *n, size_t *n_system,
                  acc_problem *p)
{
    const json_t *list = acc_field(body, "messages"), *item;
    size_t i, count = json_array_size(list);
    *ids = NULL;
    if (!list) return acc_refuse(p, 400, "missing_required_parameter", "messages", "messages is missing");
    if (count == 0) return acc_refuse(p, 400, "invalid_value", "messages", "messages must be a list that is not empty");
    if (!accllm_chat_supported(s->tok))
        return acc_refuse(p, 400, "unsupported_model", "messages",
                          "this model has no chat template that this version knows; use /v1/completions");
    accllm_chat_message *m = calloc(count, sizeof *m);
    bool ok = m || acc_refuse_memory(p);
    json_array_foreach(list, i, item)
    {
        char *content = NULL;
        ok = ok && (json_is_object(item) ||
                    acc_refuse(p, 400, "invalid_type", "messages", "message %zu is not an object", i));
        ok = ok && read_role(item, i, &m[i].role, p) && read_content(json_object_get(item, "content"), &content, p);
        if (m) m[i].content = content;
    }
    ok = ok && (!n_system || count_system(s, m, count, n_system, p));
    ok = ok && tokenize_chat(s, m, count, generate, ids, n, p);
    for (i = 0; m && i < count; i++) free((void *)(uintptr_t)m[i].content);
    free(m);
    return ok;
}

bool acc_read_messages(acc_request *r, const acc_service *s, const json_t *body, acc_problem *p)
{
    r->prompt = calloc(1, sizeof *r->prompt);
    if (!r->prompt) return acc_refuse_memory(p);
    r->n_prompts = 1;
    size_t n_system = 0;
    if (!acc_chat_ids(s, body, true, &r->prompt->ids, &r->prompt->n, s->pin_system ? &n_system : NULL, p)) return false;
    return n_system <= s->sinks ||
           acc_refuse(p, 400, "system_message_too_long", "messages",
                      "the system message has %zu tokens; %u are kept for ever (--sinks)", n_system, s->sinks);
}
