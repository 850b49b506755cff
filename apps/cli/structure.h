/* The grammar that the options ask for. */
#ifndef CLI_STRUCTURE_H
#define CLI_STRUCTURE_H

#include "engine.h"

typedef struct cli_structure {
    accllm_vocabulary *vocabulary;
    accllm_grammar *grammar;
    accllm_matcher *matcher; /* NULL: any text */
} cli_structure;

/* Returns the exit code. at_start: the text begins with the answer. */
int cli_structure_open(cli_structure *s, const cli_engine *e, const cli_options *o, bool at_start);
void cli_structure_close(cli_structure *s);

#endif
