/* The commands. Each takes its parsed options and returns the exit code. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "options.h"

typedef int cli_command_run(const cli_options *o);

typedef struct cli_command {
    const char *name; /* "run", "eval ppl" */
    unsigned bit;
    cli_command_run *run; /* NULL: belongs to a later version, not in the help */
    const char *arguments, *summary;
    const char *details;  /* paragraphs, one a line; a line that begins with a blank stays as it is */
    const char *examples; /* one per line */
} cli_command;

#define CLI_SUMMARY "long-context language models in small, fixed memory"
#define CLI_FIRST_STEPS                                            \
    "accllm compress SmolLM2-135M-Instruct.Q4_1.gguf small.gguf\n" \
    "accllm run small.gguf --chat -p 'Why is the sky blue?'\n"     \
    "accllm chat small.gguf"

extern const cli_command cli_commands[];
extern const size_t cli_command_count;

cli_command_run cmd_compress, cmd_run, cmd_chat, cmd_eval_ppl, cmd_eval_kl, cmd_eval_tasks, cmd_eval_ladder, cmd_bench,
    cmd_inspect, cmd_tokenize, cmd_export, cmd_serve;

/* NULL: none of that name. */
const cli_command *cli_command_find(const char *name);
/* Whether an option is the command's and in its help. */
bool cli_command_takes(const cli_command *c, const cli_option *opt);

/* help.c: texts on standard output. */
void cli_help_all(void);
void cli_help_command(const cli_command *c);
/* manual.c: manual pages, as roff. */
void cli_manual_main(void);
void cli_manual_command(const cli_command *c);
/* completion.c: a script for "bash", "zsh" or "fish"; false: another shell. */
bool cli_completion(const char *shell);
/* A usage error that suggests the nearest command. */
int cli_unknown_command(const char *name);

#endif
