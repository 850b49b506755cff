/*
 * From an item's fields to contexts and continuations, as lm-evaluation-harness 0.4 words its tasks: "Answer:" behind
 * questions (PIQA, ARC), one blank before a continuation, HellaSwag's texts cleaned of their markup.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/task.h"

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t trimmed(const char *s)
{
    size_t n = strlen(s);
    while (n > 0 && is_space(s[n - 1])) n--;
    return n;
}

/* a [na] + b + c, malloc'ed. */
static accllm_status join(char **out, const char *a, size_t na, const char *b, const char *c, accllm_error *err)
{
    size_t nb = strlen(b), nc = strlen(c), n = na + nb + nc + 1;
    *out = malloc(n);
    if (!*out) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: task item");
    memcpy(*out, a, na);
    memcpy(*out + na, b, nb);
    memcpy(*out + na + nb, c, nc + 1);
    return ACCLLM_OK;
}

static uint32_t characters(const char *s)
{
    uint32_t n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
    return n ? n : 1;
}

/* One more pair: context + " " + continuation, without the blank where there is one already. */
static accllm_status add_pair(acc_task_item *item, const char *context, size_t n, const char *suffix,
                              const char *choice, accllm_error *err)
{
    if (trimmed(choice) == 0) return acc_fail(err, ACCLLM_E_FORMAT, "choice %" PRIu32 " is empty", item->n);
    acc_task_pair *p = &item->pair[item->n++];
    ACC_TRY(join(&p->context, context, n, suffix, "", err));
    size_t len = strlen(p->context);
    bool blank = is_space(choice[0]) || (len > 0 && is_space(p->context[len - 1]));
    p->length = characters(choice);
    return join(&p->continuation, "", 0, blank ? "" : " ", choice, err);
}

/* ---- fields ---- */

static accllm_status text_field(const json_t *object, const char *key, const char **out, accllm_error *err)
{
    const json_t *v = json_object_get(object, key);
    *out = json_string_value(v);
    if (*out) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_FORMAT, v ? "\"%s\" is not a text" : "\"%s\" is missing", key);
}

/* A list of 2 to 64 texts. */
static accllm_status list_field(const json_t *object, const char *key, const json_t **out, accllm_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v) return acc_fail(err, ACCLLM_E_FORMAT, "\"%s\" is missing", key);
    size_t n = json_array_size(v);
    if (!json_is_array(v) || n < 2 || n > ACC_TASK_MAX_CHOICES)
        return acc_fail(err, ACCLLM_E_FORMAT, "\"%s\" is not a list of 2 to %u texts", key, ACC_TASK_MAX_CHOICES);
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(v, i)))
            return acc_fail(err, ACCLLM_E_FORMAT, "\"%s\": entry %zu is not a text", key, i);
    *out = v;
    return ACCLLM_OK;
}

/* The right choice: "gold", or "label" (a number, or a number in quotes). */
static accllm_status gold_field(const json_t *object, size_t n, uint32_t *gold, accllm_error *err)
{
    const char *key = json_object_get(object, "gold") ? "gold" : "label";
    const json_t *v = json_object_get(object, key);
    if (!v) return acc_fail(err, ACCLLM_E_FORMAT, "\"gold\" is missing");
    json_int_t x = json_is_integer(v) ? json_integer_value(v) : -1;
    const char *text = json_string_value(v);
    if (text && text[0] >= '0' && text[0] <= '9' && text[1] == '\0') x = text[0] - '0';
    if (x < 0 || x >= (json_int_t)n)
        return acc_fail(err, ACCLLM_E_FORMAT, "\"%s\" is not the number of a choice, 0 to %zu", key, n - 1);
    *gold = (uint32_t)x;
    return ACCLLM_OK;
}

/* ---- HellaSwag ---- */

/* Replaces every `from` in s by `to`, which is not longer. */
static void replace(char *s, const char *from, const char *to)
{
    size_t nf = strlen(from), nt = strlen(to);
    char *w = s;
    for (const char *r = s; *r;) {
        if (strncmp(r, from, nf) == 0) {
            memcpy(w, to, nt);
            w += nt;
            r += nf;
        } else {
            *w++ = *r++;
        }
    }
    *w = '\0';
}

/* Drops each "[...]" up to the nearest closing bracket of its line. */
static void drop_brackets(char *s)
{
    char *w = s;
    const char *end = s; /* no closing bracket stands before it */
    for (const char *r = s; *r;) {
        if (*r == '[' && r >= end) end = r + strcspn(r, "]\n");
        if (*r == '[' && *end == ']')
            r = end + 1;
        else
            *w++ = *r++;
    }
    *w = '\0';
}

/* The harness's steps in its order. */
static void clean(char *s)
{
    size_t from = 0, n = trimmed(s);
    while (from < n && is_space(s[from])) from++;
    memmove(s, s + from, n - from);
    s[n - from] = '\0';
    replace(s, " [title]", ". ");
    drop_brackets(s);
    replace(s, "  ", " ");
}

/* First letter large, the others small. */
static void capitalize(char *s)
{
    for (size_t i = 0; s[i]; i++) {
        char c = s[i];
        if (i == 0 && c >= 'a' && c <= 'z') s[i] = (char)(c - 'a' + 'A');
        if (i > 0 && c >= 'A' && c <= 'Z') s[i] = (char)(c - 'A' + 'a');
    }
}

static accllm_status add_ending(acc_task_item *item, const char *context, const char *ending, accllm_error *err)
{
    char *copy;
    ACC_TRY(join(&copy, ending, strlen(ending), "", "", err));
    clean(copy);
    accllm_status s = add_pair(item, context, strlen(context), "", copy, err);
    free(copy);
    return s;
}

/* "LABEL: CTX_A Ctx_b", of which the harness capitalises the second part, the beginning of the endings' sentence. */
static accllm_status hellaswag_context(char **out, const json_t *object, accllm_error *err)
{
    const char *label = json_string_value(json_object_get(object, "activity_label"));
    const char *a = json_string_value(json_object_get(object, "ctx_a"));
    const char *b = json_string_value(json_object_get(object, "ctx_b"));
    char *head;
    if (!a || !b) ACC_TRY(text_field(object, "ctx", &a, err));
    label = label ? label : "";
    ACC_TRY(join(&head, label, strlen(label), *label ? ": " : "", a, err));
    accllm_status s = join(out, head, strlen(head), b ? " " : "", b ? b : "", err);
    if (s == ACCLLM_OK && b) capitalize(*out + strlen(head) + 1);
    free(head);
    if (s == ACCLLM_OK) clean(*out);
    return s;
}

static accllm_status from_hellaswag(acc_task_item *item, const json_t *object, accllm_error *err)
{
    const json_t *endings;
    char *context;
    ACC_TRY(list_field(object, "endings", &endings, err));
    ACC_TRY(gold_field(object, json_array_size(endings), &item->gold, err));
    ACC_TRY(hellaswag_context(&context, object, err));
    accllm_status s = ACCLLM_OK;
    for (size_t i = 0; i < json_array_size(endings) && s == ACCLLM_OK; i++)
        s = add_ending(item, context, json_string_value(json_array_get(endings, i)), err);
    free(context);
    return s;
}

/* The text form holds the two parts of the context as one: the second is what follows the last full stop. */
static void capitalize_last_part(char *s)
{
    size_t n = strlen(s);
    if (n == 0 || strchr(".!?", s[n - 1])) return;
    char *part = NULL;
    for (char *at = strstr(s, ". "); at; at = strstr(at + 1, ". ")) part = at + 2;
    if (part && *part >= 'a' && *part <= 'z') capitalize(part);
}

accllm_status acc_task_from_lines(acc_task_item *item, const char *context, uint32_t gold, char *const endings[4],
                                  accllm_error *err)
{
    char *copy;
    ACC_TRY(join(&copy, context, strlen(context), "", "", err));
    clean(copy);
    capitalize_last_part(copy);
    item->gold = gold;
    accllm_status s = ACCLLM_OK;
    for (int i = 0; i < 4 && s == ACCLLM_OK; i++) s = add_ending(item, copy, endings[i], err);
    free(copy);
    return s;
}

/* ---- the other forms ---- */

static accllm_status from_choices(acc_task_item *item, const json_t *object, bool question, accllm_error *err)
{
    const char *query;
    const json_t *choices;
    ACC_TRY(text_field(object, "query", &query, err));
    ACC_TRY(list_field(object, "choices", &choices, err));
    ACC_TRY(gold_field(object, json_array_size(choices), &item->gold, err));
    size_t n = question ? trimmed(query) : strlen(query);
    for (size_t i = 0; i < json_array_size(choices); i++)
        ACC_TRY(
            add_pair(item, query, n, question ? "\nAnswer:" : "", json_string_value(json_array_get(choices, i)), err));
    return ACCLLM_OK;
}

static accllm_status from_schema(acc_task_item *item, const json_t *object, accllm_error *err)
{
    const char *continuation;
    const json_t *options;
    ACC_TRY(list_field(object, "context_options", &options, err));
    ACC_TRY(text_field(object, "continuation", &continuation, err));
    ACC_TRY(gold_field(object, json_array_size(options), &item->gold, err));
    for (size_t i = 0; i < json_array_size(options); i++) {
        const char *context = json_string_value(json_array_get(options, i));
        ACC_TRY(add_pair(item, context, strlen(context), "", continuation, err));
    }
    return ACCLLM_OK;
}

/* {"context","continuation"}, or LAMBADA's own {"text"}, whose last word is the continuation. */
static accllm_status from_word(acc_task_item *item, const json_t *object, accllm_error *err)
{
    const char *text = json_string_value(json_object_get(object, "text")), *context, *continuation;
    if (text && !json_object_get(object, "context")) {
        const char *last = strrchr(text, ' ');
        if (!last) return acc_fail(err, ACCLLM_E_FORMAT, "\"text\" is a single word");
        return add_pair(item, text, (size_t)(last - text), "", last + 1, err);
    }
    ACC_TRY(text_field(object, "context", &context, err));
    ACC_TRY(text_field(object, "continuation", &continuation, err));
    return add_pair(item, context, strlen(context), "", continuation, err);
}

static acc_task_type type_of(const json_t *object)
{
    const char *query = json_string_value(json_object_get(object, "query"));
    if (json_object_get(object, "context_options")) return ACC_TASK_SCHEMA;
    if (json_object_get(object, "endings")) return ACC_TASK_HELLASWAG;
    if (json_object_get(object, "choices"))
        return query && strncmp(query, "Question:", 9) == 0 ? ACC_TASK_QUESTION : ACC_TASK_CHOICE;
    if (json_object_get(object, "continuation") || json_object_get(object, "text")) return ACC_TASK_WORD;
    return ACC_TASK_AUTO;
}

accllm_status acc_task_from_json(acc_task_item *item, acc_task_type *type, const json_t *object, accllm_error *err)
{
    if (!json_is_object(object)) return acc_fail(err, ACCLLM_E_FORMAT, "not a JSON object");
    if (*type == ACC_TASK_AUTO) *type = type_of(object);
    switch (*type) {
    case ACC_TASK_CHOICE:
    case ACC_TASK_QUESTION:
        return from_choices(item, object, *type == ACC_TASK_QUESTION, err);
    case ACC_TASK_HELLASWAG:
        return from_hellaswag(item, object, err);
    case ACC_TASK_SCHEMA:
        return from_schema(item, object, err);
    case ACC_TASK_WORD:
        return from_word(item, object, err);
    default:
        return acc_fail(err, ACCLLM_E_FORMAT,
                        "no known form of a task: neither \"choices\" nor \"endings\" nor \"context_options\" nor "
                        "\"continuation\"");
    }
}
