#include "serve/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Texts from a client may be cut in the middle of a character, or quote what is not UTF-8. */
static void make_printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || (unsigned char)*s >= 0x7f) *s = '?';
}

bool acc_refuse(acc_problem *p, int status, const char *code, const char *param, const char *fmt, ...)
{
    va_list args;
    *p = (acc_problem){.status = status, .code = code};
    if (param) (void)snprintf(p->param, sizeof p->param, "%s", param);
    va_start(args, fmt);
    (void)vsnprintf(p->message, sizeof p->message, fmt, args);
    va_end(args);
    make_printable(p->message);
    make_printable(p->param);
    return false;
}

bool acc_refuse_memory(acc_problem *p)
{
    return acc_refuse(p, 500, NULL, NULL, "out of memory");
}

static const char *type_of(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_error";
    case 503:
        return "service_unavailable_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

json_t *acc_problem_json(const acc_problem *p)
{
    return json_pack("{s:{s:s,s:s,s:s?,s:s?}}", "error", "message", p->message, "type", type_of(p->status), "param",
                     *p->param ? p->param : NULL, "code", p->code);
}
