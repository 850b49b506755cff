/* accllm export: a plain llama-architecture GGUF, for other engines. */
#include <string.h>

#include "accllm/accllm.h"
#include "clock.h"
#include "commands.h"
#include "engine.h"
#include "report.h"

int cmd_export(const cli_options *o)
{
    const char *path;
    int rc = cli_model_path(o, "export", 1, &path);
    if (rc != CLI_OK) return rc;
    int at = o->model ? 0 : 1;
    if (o->n_positional <= at) {
        cli_error("export: needs the file to write; see accllm export --help");
        return CLI_USAGE;
    }
    const char *out_path = o->positional[at];
    accllm_runtime *rt = NULL;
    accllm_error err = {0};
    rc = cli_runtime_open(o, &rt);
    if (rc != CLI_OK) return rc;
    double start = cli_seconds();
    if (accllm_export(rt, path, out_path, o->type ? o->type : "f16", &err) != ACCLLM_OK) rc = cli_fail(&err);
    cli_runtime_close(&rt);
    if (rc != CLI_OK) return rc;
    cli_error("wrote %s in %.1f s", out_path, cli_seconds() - start);
    if (!o->json) return CLI_OK;
    json_t *out = json_object();
    cli_json_path(out, "output", out_path);
    cli_json_real(out, "seconds", cli_seconds() - start);
    cli_json_u64(out, "peak_rss_bytes", accllm_peak_rss_bytes());
    return cli_json_print(out);
}
