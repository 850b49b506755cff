/* A conversation in a file, as OpenAI's API takes it: {"messages": [{"role": ..., "content": ...}, ...]}. */
#ifndef CLI_TRANSCRIPT_H
#define CLI_TRANSCRIPT_H

#include "dialogue.h"

/* Return exit codes, with a message on failure. */
int cli_transcript_save(const cli_dialogue *d, const char *path);
/* Goes on from the file's conversation instead of d's, which stays as it was on a failure. The file's messages: maybe a
 * system's, then a user's and an assistant's in turn. */
int cli_transcript_load(cli_dialogue *d, const char *path);

#endif
