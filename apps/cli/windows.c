#include "windows.h"

#include <inttypes.h>
#include <string.h>

#include "report.h"

enum { DEFAULT_CTX = 2048 };

static const char *const bos_names[] = {"auto", "none", "once", "window"}; /* by accllm_bos */

const char *cli_bos_name(accllm_bos b)
{
    return bos_names[b];
}

int cli_window_params(const cli_options *o, const accllm_model_info *info, accllm_ppl_params *p)
{
    accllm_ppl_params_init(p);
    uint32_t usual = info->n_ctx_train > 1 && info->n_ctx_train < DEFAULT_CTX ? info->n_ctx_train : DEFAULT_CTX;
    p->ctx = o->ctx ? (uint32_t)o->ctx : usual;
    p->stride = (uint32_t)o->stride;
    p->stream = o->stream;
    p->max_tokens = (uint64_t)o->max_tokens;
    p->whole_windows = o->whole_windows;
    for (unsigned i = 0; o->bos_at && i < sizeof bos_names / sizeof *bos_names; i++)
        if (strcmp(o->bos_at, bos_names[i]) == 0) p->bos = (accllm_bos)i;
    if (o->bucket) p->bucket = (uint32_t)o->bucket;
    if (p->stream || p->stride <= p->ctx) return CLI_OK;
    cli_error("--stride %" PRIu32 ": more than the %" PRIu32 " tokens of a window (--ctx)", p->stride, p->ctx);
    return CLI_USAGE;
}
