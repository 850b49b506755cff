/* Tokens of a prompt, plain or through the chat template; the sampler that the options ask for. */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H

#include "engine.h"

/* All return exit codes; *ids is malloc'ed. A plain text may name special tokens, which become those tokens; it begins
 * with BOS where the metadata says so. */
int cli_prompt_plain(const cli_engine *e, const char *text, size_t len, int32_t **ids, size_t *n);
/* The same for messages, in the model's chat template; their content stays plain text, whatever it spells. */
int cli_prompt_chat(const cli_engine *e, const accllm_chat_message *messages, size_t n_messages, bool generate,
                    int32_t **ids, size_t *n);
/* What follows the assistant's answer up to the next one: the answer's end and the user's next message. */
int cli_prompt_turn(const cli_engine *e, const char *message, int32_t **ids, size_t *n);
/* Sinks of the size of the system message. */
int cli_pin_system(const cli_engine *e, const cli_options *o, const char *system, accllm_session_params *sp);
/* The seed of the options, or one from the system's generator. */
uint64_t cli_seed(const cli_options *o);
int cli_sampler_open(accllm_sampler **s, const cli_engine *e, const cli_options *o, uint64_t seed);
/* Warns where the prompt's middle will have left the window before the answer begins. */
void cli_warn_eviction(const accllm_session *s, const cli_options *o, uint64_t n_prompt);

#endif
