/* What every computing command opens: a runtime, a model, parameters for sessions. */
#ifndef CLI_ENGINE_H
#define CLI_ENGINE_H

#include "accllm/accllm.h"
#include "options.h"

typedef struct cli_engine {
    accllm_runtime *rt;
    accllm_model *model;
    const accllm_model_info *info;
    const accllm_tokenizer *tok; /* NULL: the model has none */
} cli_engine;

/* The model's path: -m or the first argument. `extra` more arguments are allowed. CLI_USAGE with a message otherwise.
 */
int cli_model_path(const cli_options *o, const char *command, int extra, const char **path);
/* The runtime, watched by the signal handlers. All functions return exit codes and print what failed. */
int cli_runtime_open(const cli_options *o, accllm_runtime **rt);
void cli_runtime_close(accllm_runtime **rt);
int cli_engine_open(cli_engine *e, const cli_options *o, const char *path);
void cli_engine_close(cli_engine *e);
int cli_open_model(accllm_model **m, accllm_runtime *rt, const cli_options *o, const char *path);
uint32_t cli_chunk(const cli_options *o); /* prompt tokens computed together */
void cli_session_params(const cli_options *o, accllm_session_params *p);
/* Fails for a model without a tokenizer. */
int cli_need_tokenizer(const cli_engine *e, const char *path);

#endif
