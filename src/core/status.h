/* Internal helpers around accllm_status: filling errors, forwarding them, must-check. */
#ifndef ACC_CORE_STATUS_H
#define ACC_CORE_STATUS_H

#include "accllm/status.h"

#define ACC_MUST_CHECK __attribute__((warn_unused_result))

/* Fills err (may be NULL) with a formatted line and returns code. Control characters become '?'. */
accllm_status acc_fail(accllm_error *err, accllm_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the line already in err; returns err's code (or code where err is NULL). */
accllm_status acc_prefix(accllm_error *err, accllm_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Forwards a failure to the caller. */
#define ACC_TRY(expr)                                           \
    do {                                                        \
        accllm_status acc_try_status = (expr);                  \
        if (acc_try_status != ACCLLM_OK) return acc_try_status; \
    } while (0)

/* Forwards a failure through the function's cleanup label; needs `accllm_status status` and `fail:`. */
#define ACC_TRY_GOTO(expr)                  \
    do {                                    \
        status = (expr);                    \
        if (status != ACCLLM_OK) goto fail; \
    } while (0)

#endif
