/* Ctrl-C and SIGTERM: ask the work to stop at its next step, so that it ends with its results so far. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

#include "accllm/runtime.h"
#include "accllm/server.h"

/* From now on the first signal raises the flag and, unless soft, aborts what runs on rt; a second one while the flag is
 * up ends the program at once. */
void cli_interrupt_watch(accllm_runtime *rt);
/* A signal stops the server instead, and nothing else, and says so at a socket of notify.h (-1: none); NULL: no more.
 */
void cli_interrupt_serve(accllm_server *server, int notify_fd);
/* Back to the default; to be called before the runtime is freed. */
void cli_interrupt_unwatch(void);
bool cli_interrupted(void);
void cli_interrupt_clear(void); /* and the runtime's abort flag */
/* soft: a signal only raises the flag; used where the work looks at it between short steps. */
void cli_interrupt_set_soft(bool soft);
/* While on, the program waits for a line: a signal makes the read return, and a second one does not end the program,
 * for the terminal would be left as the editor set it. */
void cli_interrupt_set_reading(bool on);

/* A closed output is an error like others, not a silent death by SIGPIPE. */
void cli_interrupt_ignore_pipe(void);

#endif
