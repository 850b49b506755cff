#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "progress.h"

/* Length of the whole UTF-8 character that s[0..n) begins with; 0: it begins with none. n >= 1. */
static size_t whole_char(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80) return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (s[0] > 0xf4 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || beyond ? 0 : len;
}

size_t cli_printable(const char *s, size_t n)
{
    const unsigned char *c = (const unsigned char *)s;
    const bool control = c[0] < ' ' || c[0] == 0x7f || (c[0] == 0xc2 && n > 1 && c[1] < 0xa0);
    return control ? 0 : whole_char(c, n);
}

/* '?' for each byte of what is not printable; ends at a whole character. out may be text. */
static void copy_printable(char *out, size_t cap, const char *text)
{
    const size_t n = strlen(text);
    size_t i = 0;
    for (size_t len; i < n; i += len) {
        const bool good = (len = cli_printable(text + i, n - i)) > 0;
        if (!good) len = 1;
        if (i + len >= cap) break;
        for (size_t k = i; k < i + len; k++) out[k] = good ? text[k] : '?';
    }
    out[i] = '\0';
}

const char *cli_name(const char *text, char out[CLI_NAME])
{
    copy_printable(out, CLI_NAME, text);
    return out;
}

void cli_error(const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    copy_printable(line, sizeof line, line);
    cli_progress_clear();
    (void)fprintf(stderr, "accllm: %s\n", line);
}

int cli_fail(const accllm_error *err)
{
    cli_error("%s", err->text);
    return err->code == ACCLLM_E_CANCELLED ? CLI_INTERRUPTED : CLI_FAILED;
}

int cli_fail_usage(const accllm_error *err)
{
    int rc = cli_fail(err);
    return err->code == ACCLLM_E_ARG || err->code == ACCLLM_E_LIMIT ? CLI_USAGE : rc;
}

int cli_out_of_memory(const char *what)
{
    cli_error("out of memory: %s", what);
    return CLI_FAILED;
}

void cli_log(void *user, const char *line)
{
    (void)user;
    cli_error("%s", line);
}

/* Why standard output failed: a failed flush drops what it held, so a later one cannot tell. */
static int output_errno;

bool cli_write(const char *bytes, size_t n)
{
    errno = 0;
    if (fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0) return true;
    output_errno = errno;
    return false;
}

int cli_finish_output(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_OK;
    int why = output_errno ? output_errno : errno;
    cli_error("standard output: %s", why ? strerror(why) : "could not be written");
    return CLI_FAILED;
}

void cli_json_real(json_t *object, const char *key, double x)
{
    (void)json_object_set_new(object, key, isfinite(x) ? json_real(x) : json_null());
}

void cli_json_u64(json_t *object, const char *key, uint64_t x)
{
    (void)json_object_set_new(object, key, x <= INT64_MAX ? json_integer((json_int_t)x) : json_null());
}

void cli_json_text(json_t *object, const char *key, const char *bytes, size_t n)
{
    json_t *text = json_stringn(bytes, n); /* NULL if it is not UTF-8 */
    (void)json_object_set_new(object, key, text ? text : json_null());
}

void cli_json_path(json_t *object, const char *key, const char *path)
{
    char *copy = strdup(path);
    const size_t n = strlen(path);
    for (size_t i = 0, len; copy && i < n; i += len ? len : 1)
        if ((len = whole_char((const unsigned char *)path + i, n - i)) == 0) copy[i] = '?';
    json_t *text = json_string(copy);
    free(copy);
    (void)json_object_set_new(object, key, text ? text : json_null());
}

void cli_json_ids(json_t *object, const char *key, const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) (void)json_array_append_new(list, json_integer(ids[i]));
    (void)json_object_set_new(object, key, list);
}

int cli_json_print(json_t *object)
{
    if (!object) return cli_out_of_memory("JSON output");
    bool whole = json_dumpf(object, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(object);
    int rc = cli_finish_output();
    if (rc != CLI_OK || whole) return rc;
    return cli_out_of_memory("JSON output");
}

const char *cli_size_text(uint64_t bytes, char out[16])
{
    double x = (double)bytes;
    const char *unit = x >= 1e9 ? "GB" : x >= 1e6 ? "MB" : "kB";
    x /= x >= 1e9 ? 1e9 : x >= 1e6 ? 1e6 : 1e3;
    (void)snprintf(out, 16, x < 100 ? "%.1f %s" : "%.0f %s", x, unit);
    return out;
}
