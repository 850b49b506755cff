/* Task files: lines of JSON, or HellaSwag's text form of six lines per task. Every fault is named with its line. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "eval/task.h"

static const char *const type_names[ACC_TASK_TYPES] = {"auto", "choice", "question", "hellaswag", "schema", "word"};

const char *acc_task_type_name(acc_task_type t)
{
    return type_names[t];
}

int acc_task_type_parse(const char *name)
{
    for (int i = 0; i < ACC_TASK_TYPES; i++)
        if (strcmp(name, type_names[i]) == 0) return i;
    return -1;
}

void acc_task_item_clear(acc_task_item *item)
{
    for (uint32_t i = 0; i < ACC_TASK_MAX_CHOICES; i++) {
        free(item->pair[i].context);
        free(item->pair[i].continuation);
    }
    *item = (acc_task_item){0};
}

accllm_status acc_task_open(acc_task_reader *r, const char *text, size_t len, const char *type, accllm_error *err)
{
    int t = acc_task_type_parse(type ? type : "auto");
    if (t < 0) return acc_fail(err, ACCLLM_E_ARG, "unknown type of task %s", type);
    if ((len >= 3 && memcmp(text, "BZh", 3) == 0) || (len >= 2 && memcmp(text, "\x1f\x8b", 2) == 0))
        return acc_fail(err, ACCLLM_E_FORMAT, "the file is compressed: unpack it first");
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, len -= 3;
    size_t blank = 0;
    while (blank < len && memchr(" \t\r\n", text[blank], 4)) blank++;
    *r = (acc_task_reader){.at = text, .end = text + len, .line = 1, .type = (acc_task_type)t};
    r->json = blank < len && (text[blank] == '{' || text[blank] == '[');
    return ACCLLM_OK;
}

/* The next line without its end; false at the end of the file. */
static bool next_line(acc_task_reader *r, const char **line, size_t *n)
{
    if (r->at == r->end) return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    *line = r->at;
    *n = (size_t)((stop ? stop : r->end) - r->at);
    r->at = stop ? stop + 1 : r->end;
    r->line++;
    if (*n > 0 && (*line)[*n - 1] == '\r') --*n;
    return true;
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!memchr(" \t\r", line[i], 3)) return false;
    return true;
}

/* The next line that is not blank, within the size that an item may have. *found is false at the end. */
static accllm_status next_text(acc_task_reader *r, const char **line, size_t *n, bool *found, accllm_error *err)
{
    do *found = next_line(r, line, n);
    while (*found && is_blank(*line, *n));
    if (!*found) return ACCLLM_OK;
    if (*n > ACC_TASK_MAX_LINE)
        return acc_fail(err, ACCLLM_E_FORMAT, "line %" PRIu64 ": %zu bytes are too long for one item", r->line - 1, *n);
    if (memchr(*line, '\0', *n))
        return acc_fail(err, ACCLLM_E_FORMAT, "line %" PRIu64 ": a zero byte, this is no text", r->line - 1);
    return ACCLLM_OK;
}

static accllm_status read_json(acc_task_reader *r, acc_task_item *item, accllm_error *err)
{
    const char *line;
    size_t n;
    bool found;
    ACC_TRY(next_text(r, &line, &n, &found, err));
    if (!found) return ACCLLM_OK;
    item->line = r->line - 1;
    json_error_t why;
    json_t *object = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
    if (!object) {
        if (json_error_code(&why) == json_error_out_of_memory)
            return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: task item");
        return acc_fail(err, ACCLLM_E_FORMAT, "line %" PRIu64 ", column %d: %s", item->line, why.column, why.text);
    }
    accllm_status s = acc_task_from_json(item, &r->type, object, err);
    json_decref(object);
    return s == ACCLLM_OK ? s : acc_prefix(err, s, "line %" PRIu64, item->line);
}

/* Context, number of the right ending, four endings. */
static accllm_status read_lines(acc_task_reader *r, acc_task_item *item, char *copy[6], accllm_error *err)
{
    for (int i = 0; i < 6; i++) {
        const char *line;
        size_t n;
        bool found;
        ACC_TRY(next_text(r, &line, &n, &found, err));
        if (!found && i == 0) return ACCLLM_OK;
        if (!found)
            return acc_fail(err, ACCLLM_E_FORMAT, "line %" PRIu64 ": the file ends inside a task of six lines",
                            r->line - 1);
        if (i == 0) item->line = r->line - 1;
        copy[i] = strndup(line, n);
        if (!copy[i]) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: task item");
        if (i == 1 && (n != 1 || *line < '0' || *line > '3'))
            return acc_fail(err, ACCLLM_E_FORMAT,
                            "line %" PRIu64 ": not the number of an ending, 0 to 3 (a task has six lines: context, "
                            "number, four endings; other tasks are lines of JSON)",
                            r->line - 1);
    }
    accllm_status s = acc_task_from_lines(item, copy[0], (uint32_t)(copy[1][0] - '0'), copy + 2, err);
    return s == ACCLLM_OK ? s : acc_prefix(err, s, "line %" PRIu64, item->line);
}

accllm_status acc_task_next(acc_task_reader *r, acc_task_item *item, accllm_error *err)
{
    acc_task_item_clear(item);
    accllm_status s;
    if (r->json) {
        s = read_json(r, item, err);
    } else if (r->type != ACC_TASK_AUTO && r->type != ACC_TASK_HELLASWAG) {
        s = acc_fail(err, ACCLLM_E_FORMAT, "line %" PRIu64 ": items of type %s are lines of JSON", r->line,
                     acc_task_type_name(r->type));
    } else {
        char *copy[6] = {0};
        r->type = ACC_TASK_HELLASWAG;
        s = read_lines(r, item, copy, err);
        for (int i = 0; i < 6; i++) free(copy[i]);
    }
    if (s != ACCLLM_OK) acc_task_item_clear(item);
    return s;
}
