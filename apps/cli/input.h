/* Text input of the commands: an argument, a file or standard input. */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include <stddef.h>

/* Reads a whole file ("-": standard input), any bytes, up to 1 GiB. *text is malloc'ed and terminated. Returns the exit
 * code, with a message on failure. */
int cli_read_file(const char *path, char **text, size_t *len);
/* The text of -p TEXT or -f FILE, of which exactly one must be given. */
int cli_read_prompt(const char *command, const char *prompt, const char *file, char **text, size_t *len);

#endif
