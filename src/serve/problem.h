/* What is wrong with a request, in the form that OpenAI's clients read: {"error": {message, type, param, code}}. */
#ifndef ACC_SERVE_PROBLEM_H
#define ACC_SERVE_PROBLEM_H

#include <jansson.h>
#include <stdbool.h>

typedef struct acc_problem {
    int status;       /* of HTTP; 0: nothing is wrong */
    const char *code; /* a static text, NULL: none */
    char param[48];   /* the field; "": none */
    char message[256];
    int retry_after; /* seconds; 0: not to be retried */
} acc_problem;

/* Fills p and returns false. param and code may be NULL. */
bool acc_refuse(acc_problem *p, int status, const char *code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* "out of memory", status 500. */
bool acc_refuse_memory(acc_problem *p);
/* The error object; NULL: out of memory. */
json_t *acc_problem_json(const acc_problem *p);

#endif
