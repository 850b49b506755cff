/* Reading lines from a person (libedit, with history) or from a pipe. */
#ifndef CLI_LINE_H
#define CLI_LINE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_line cli_line;

typedef enum cli_line_result {
    CLI_LINE_TEXT,        /* *text holds a line without its newline */
    CLI_LINE_END,         /* end of input */
    CLI_LINE_INTERRUPTED, /* Ctrl-C before the line was entered; after it, only cli_interrupted() says so */
    CLI_LINE_FAILED,      /* a message was printed */
} cli_line_result;

/* On a terminal: prompts on standard output, line editing, history in $XDG_STATE_HOME/accllm/history (or
 * ~/.local/state/accllm/history); without a place for it there is no history. NULL: out of memory, with a message. */
cli_line *cli_line_open(void);
/* A line that ends in \ goes on in the next. The text belongs to l and is valid until the next call. */
cli_line_result cli_line_read(cli_line *l, const char **text, size_t *len);
bool cli_line_is_terminal(const cli_line *l);
void cli_line_close(cli_line **l); /* saves the history */

#endif
