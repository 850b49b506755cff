/* Files that a command writes beside its result. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdio.h>

/* Return exit codes, with a message on failure. A NULL path is no file: *f stays NULL. */
int cli_output_open(FILE **f, const char *path);
/* Fails where anything written was lost; closes the file in any case and clears *f. */
int cli_output_close(FILE **f, const char *path);

#endif
