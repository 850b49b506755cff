#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "interrupt.h"
#include "report.h"

int cli_model_path(const cli_options *o, const char *command, int extra, const char **path)
{
    int given = o->n_positional + (o->model != NULL);
    if (given < 1) {
        cli_error("%s: needs a model file; see accllm %s --help", command, command);
        return CLI_USAGE;
    }
    if (given > 1 + extra) {
        cli_error("%s: unexpected argument %s", command, o->positional[o->n_positional - 1]);
        return CLI_USAGE;
    }
    *path = o->model ? o->model : o->positional[0];
    return CLI_OK;
}

int cli_runtime_open(const cli_options *o, accllm_runtime **rt)
{
    accllm_error err = {0};
    accllm_runtime_params p;
    accllm_runtime_params_init(&p);
    p.n_threads = (uint32_t)o->threads;
    p.isa = o->isa ? o->isa : getenv("ACCLLM_ISA");
    if (p.isa && *p.isa == '\0') p.isa = NULL;
    p.log = cli_log;
    accllm_status status = accllm_runtime_create(rt, &p, &err);
    if (status != ACCLLM_OK) {
        int rc = cli_fail(&err);
        return status == ACCLLM_E_UNSUPPORTED ? CLI_USAGE : rc; /* an instruction set that is not there */
    }
    cli_interrupt_watch(*rt);
    return CLI_OK;
}

void cli_runtime_close(accllm_runtime **rt)
{
    cli_interrupt_unwatch();
    accllm_runtime_free(rt);
}

int cli_open_model(accllm_model **m, accllm_runtime *rt, const cli_options *o, const char *path)
{
    accllm_error err = {0};
    accllm_model_params p;
    accllm_model_params_init(&p);
    p.use_mmap = !o->no_mmap;
    if (o->numerics) p.numerics = strcmp(o->numerics, "float") == 0 ? ACCLLM_NUMERICS_FLOAT : ACCLLM_NUMERICS_CONTRACT;
    return accllm_model_open(m, rt, path, &p, &err) == ACCLLM_OK ? CLI_OK : cli_fail(&err);
}

int cli_engine_open(cli_engine *e, const cli_options *o, const char *path)
{
    *e = (cli_engine){0};
    if (o->context && !o->full_attention) {
        cli_error("--ctx: goes with --full-attention; --window sets how many tokens are kept otherwise");
        return CLI_USAGE;
    }
    int rc = cli_runtime_open(o, &e->rt);
    if (rc != CLI_OK) return rc;
    rc = cli_open_model(&e->model, e->rt, o, path);
    if (rc != CLI_OK) {
        cli_engine_close(e);
        return rc;
    }
    e->info = accllm_model_get_info(e->model);
    e->tok = accllm_model_tokenizer(e->model);
    return CLI_OK;
}

void cli_engine_close(cli_engine *e)
{
    accllm_model_free(&e->model);
    cli_runtime_close(&e->rt);
}

uint32_t cli_chunk(const cli_options *o)
{
    return o->chunk ? (uint32_t)o->chunk : 128;
}

void cli_session_params(const cli_options *o, accllm_session_params *p)
{
    accllm_session_params_init(p);
    if (o->sinks >= 0) p->sinks = (uint32_t)o->sinks;
    p->window = (uint32_t)o->window;
    p->full_attention = o->full_attention;
    p->n_ctx = (uint32_t)o->context;
    p->kv_bits = (uint32_t)o->kv;
    if (o->kv_near >= 0) p->kv_near = (uint32_t)o->kv_near;
    p->chunk = cli_chunk(o);
    p->force = o->force;
    if (o->backend && strcmp(o->backend, "device") == 0) p->backend = ACCLLM_BACKEND_DEVICE;
    if (o->backend && strcmp(o->backend, "rtl") == 0) p->backend = ACCLLM_BACKEND_RTL;
}

int cli_need_tokenizer(const cli_engine *e, const char *path)
{
    if (e->tok) return CLI_OK;
    cli_error("%s: has no tokenizer", path);
    return CLI_FAILED;
}
