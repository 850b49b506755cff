#include "input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "report.h"

enum { FIRST_CAPACITY = 64 * 1024 };
#define MOST_BYTES ((size_t)1 << 30)

/* Reads f to its end; NULL with errno set on failure. */
static char *read_all(FILE *f, size_t *len)
{
    size_t cap = FIRST_CAPACITY, n = 0;
    char *text = malloc(cap);
    while (text) {
        n += fread(text + n, 1, cap - n - 1, f);
        if (ferror(f)) break;
        if (n < cap - 1) {
            text[n] = '\0';
            *len = n;
            return text;
        }
        if (cap >= MOST_BYTES) {
            errno = EFBIG;
            break;
        }
        cap *= 2;
        char *more = realloc(text, cap);
        if (!more) break;
        text = more;
    }
    free(text);
    return NULL;
}

int cli_read_file(const char *path, char **text, size_t *len)
{
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    FILE *f = standard ? stdin : fopen(path, "re");
    *text = NULL;
    if (!f) {
        cli_error("%s: %s", name, strerror(errno));
        return CLI_FAILED;
    }
    errno = 0;
    *text = read_all(f, len);
    int why = errno;
    if (!standard) (void)fclose(f);
    if (*text) return CLI_OK;
    cli_error("%s: %s", name, strerror(why ? why : EIO));
    return CLI_FAILED;
}

int cli_read_prompt(const char *command, const char *prompt, const char *file, char **text, size_t *len)
{
    *text = NULL;
    if (!prompt == !file) {
        cli_error("%s: needs %s", command, prompt ? "either -p TEXT or -f FILE, not both" : "-p TEXT or -f FILE");
        return CLI_USAGE;
    }
    if (file) return cli_read_file(file, text, len);
    *len = strlen(prompt);
    *text = strdup(prompt);
    return *text ? CLI_OK : cli_out_of_memory("prompt");
}
