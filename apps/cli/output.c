#include "output.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "options.h"
#include "report.h"

int cli_output_open(FILE **f, const char *path)
{
    if (!path) return CLI_OK;
    *f = fopen(path, "wbe");
    if (*f) return CLI_OK;
    cli_error("%s: %s", path, strerror(errno));
    return CLI_FAILED;
}

int cli_output_close(FILE **f, const char *path)
{
    if (!*f) return CLI_OK;
    bool bad = ferror(*f) != 0;
    errno = 0;
    bad |= fclose(*f) != 0;
    *f = NULL;
    if (!bad) return CLI_OK;
    cli_error("%s: %s", path, errno ? strerror(errno) : "could not be written");
    return CLI_FAILED;
}
