#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *accllm_status_text(accllm_status s)
{
    switch (s) {
#define STATUS_CASE(name, value, text) \
    case ACCLLM_##name:                \
        return text;
        ACCLLM_STATUS_MAP(STATUS_CASE)
#undef STATUS_CASE
    }
    return "unknown status";
}

const char *accllm_version(void)
{
    return ACCLLM_VERSION;
}

/* Messages quote names out of files: keep them on one line and harmless for a terminal. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

accllm_status acc_fail(accllm_error *err, accllm_status code, const char *fmt, ...)
{
    if (!err) return code;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    make_printable(err->text);
    err->code = code;
    return code;
}

accllm_status acc_prefix(accllm_error *err, accllm_status code, const char *fmt, ...)
{
    if (!err) return code;
    char line[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    (void)snprintf(line + used, sizeof line - used, ": %s", err->text);
    memcpy(err->text, line, sizeof line);
    make_printable(err->text);
    err->code = code;
    return code;
}
