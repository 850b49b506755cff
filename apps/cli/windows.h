/* What the commands that walk windows of a text share. */
#ifndef CLI_WINDOWS_H
#define CLI_WINDOWS_H

#include "accllm/accllm.h"
#include "options.h"

/* Windows, BOS and buckets by the options; no progress. CLI_USAGE with a message: they do not fit each other. */
int cli_window_params(const cli_options *o, const accllm_model_info *info, accllm_ppl_params *p);
const char *cli_bos_name(accllm_bos b);

#endif
