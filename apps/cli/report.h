/* Messages on standard error, text and JSON on standard output. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accllm/status.h"

/* One line "accllm: ..." on standard error. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The library's message; returns CLI_FAILED, or CLI_INTERRUPTED for work that was cancelled. */
int cli_fail(const accllm_error *err);
/* The same where options made the library refuse: an argument or a limit is then bad usage. */
int cli_fail_usage(const accllm_error *err);
/* "out of memory: WHAT"; returns CLI_FAILED. */
int cli_out_of_memory(const char *what);
/* A log callback for the library: notes and warnings on standard error. */
void cli_log(void *user, const char *line);

/* Length of the character that s[0..n) begins with if it is whole UTF-8 and no control character; else 0. n >= 1. */
size_t cli_printable(const char *s, size_t n);
enum { CLI_NAME = 256 };
/* A name out of a file as it may be printed: harmless for a terminal, cut behind a character where it is very long. */
const char *cli_name(const char *text, char out[CLI_NAME]);

/* Text for people. False once standard output does not take it any more. */
bool cli_write(const char *bytes, size_t n);
/* Flushes standard output; CLI_FAILED with a message if anything written was lost. */
int cli_finish_output(void);

/* Values that JSON cannot hold become null. */
void cli_json_real(json_t *object, const char *key, double x);
void cli_json_u64(json_t *object, const char *key, uint64_t x);
void cli_json_text(json_t *object, const char *key, const char *bytes, size_t n);
/* '?' for each byte that belongs to no character, as the compressor's report has it. */
void cli_json_path(json_t *object, const char *key, const char *path);
void cli_json_ids(json_t *object, const char *key, const int32_t *ids, size_t n);
/* Prints the object as one line, frees it (NULL: out of memory) and flushes. Returns the exit code. */
int cli_json_print(json_t *object);

/* "1.2 GB", "345 MB", "12 kB" (decimal) in a buffer of at least 16 bytes. */
const char *cli_size_text(uint64_t bytes, char out[16]);

#endif
