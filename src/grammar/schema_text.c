/* Pieces of a grammar's text. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/schema.h"

static bool room(acc_writing *w, size_t n)
{
    if (w->failed || n > ACC_GRAMMAR_TEXT || w->n + n + 1 > ACC_GRAMMAR_TEXT) {
        w->failed = true;
        return false;
    }
    if (w->n + n + 1 <= w->cap) return true;
    size_t cap = w->cap ? w->cap : 256;
    while (cap < w->n + n + 1) cap *= 2;
    char *p = realloc(w->data, cap);
    w->failed = !p;
    if (!p) return false;
    w->data = p;
    w->cap = cap;
    return true;
}

void acc_write(acc_writing *w, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0)
        w->failed = true;
    else if (room(w, (size_t)n))
        w->n += (size_t)vsnprintf(w->data + w->n, w->cap - w->n, fmt, again);
    va_end(again);
    va_end(args);
}

void acc_write_literal(acc_writing *w, const char *bytes, size_t n)
{
    acc_write(w, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\')
            acc_write(w, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            acc_write(w, "\\x%02x", c);
        else
            acc_write(w, "%c", c);
    }
    acc_write(w, "\"");
}

void acc_write_class_char(acc_writing *w, uint32_t cp)
{
    if ((cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') || cp == ' ')
        acc_write(w, "%c", (char)cp);
    else
        acc_write(w, "\\U%08x", (unsigned)cp);
}

/* The fewest digits that name the same numbers. */
bool acc_write_value(acc_writing *w, const json_t *value)
{
    char *text = NULL;
    for (size_t digits = 15; digits <= 17; digits++) {
        free(text);
        text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        json_t *same = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        bool equal = json_equal(value, same) == 1;
        json_decref(same);
        if (!text || equal) break;
    }
    if (text) acc_write_literal(w, text, strlen(text));
    free(text);
    return text != NULL;
}

void acc_write_counts(acc_writing *w, uint32_t min, uint32_t max)
{
    if (max == ACC_ENDLESS)
        acc_write(w, "{%u,}", min);
    else
        acc_write(w, "{%u,%u}", min, max);
}
