/*
 * Status codes and error messages.
 *
 * Every fallible function returns an accllm_status and, where it takes one, fills an accllm_error with one line that
 * says what failed and why. The error belongs to the caller and may be NULL.
 */
#ifndef ACCLLM_STATUS_H
#define ACCLLM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(ACCLLM_BUILDING) && defined(__GNUC__)
#define ACCLLM_API __attribute__((visibility("default")))
#else
#define ACCLLM_API
#endif

/* X(name, value, text): the values are stable. */
#define ACCLLM_STATUS_MAP(X)                                                  \
    X(OK, 0, "success")                                                       \
    X(E_NOMEM, -1, "out of memory")                                           \
    X(E_IO, -2, "file could not be read or written")                          \
    X(E_FORMAT, -3, "file is damaged or not of this format")                  \
    X(E_UNSUPPORTED, -4, "valid, but not supported by this build or machine") \
    X(E_LIMIT, -5, "a limit was reached")                                     \
    X(E_CANCELLED, -6, "cancelled")                                           \
    X(E_ARG, -7, "invalid argument")                                          \
    X(E_NUMERIC, -8, "a value is not a number or infinite")

typedef enum accllm_status {
#define ACCLLM_STATUS_ENUM(name, value, text) ACCLLM_##name = value,
    ACCLLM_STATUS_MAP(ACCLLM_STATUS_ENUM)
#undef ACCLLM_STATUS_ENUM
} accllm_status;

typedef struct accllm_error {
    accllm_status code;
    char text[256]; /* one line, no newline, always terminated */
} accllm_error;

/* The text of a status code, never NULL. */
ACCLLM_API const char *accllm_status_text(accllm_status s);

/* The library's version, "major.minor.patch". */
ACCLLM_API const char *accllm_version(void);

#ifdef __cplusplus
}
#endif
#endif
