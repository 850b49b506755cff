/* Tokens of a prompt, plain or through the chat template; the sampler that the options ask for. */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H

#include "engine.h"

/* A chat's messages need the model's template. Returns the exit code; ids is malloc'ed. */
int cli_prompt_plain(const cli_engine *e, const char *text, size_t len, int32_t **ids, size_t *n);
int cli_prompt_chat(const cli_engine *e, const accllm_chat_message *messages, size_t n_messages, bool generate,
                    char **text, int32_t **ids, size_t *n);
/* Sinks of the size of the system message, and a window that fits beside them. */
int cli_pin_system(const cli_engine *e, const cli_options *o, const char *system, accllm_session_params *sp);
/* The seed of the options, or one from the system's generator. */
uint64_t cli_seed(const cli_options *o);
int cli_sampler_open(accllm_sampler **s, const cli_engine *e, const cli_options *o, uint64_t seed);
/* Warns where the prompt's middle will have left the window before the answer begins. */
void cli_warn_eviction(const accllm_session *s, const cli_options *o, uint64_t n_prompt);

#endif
