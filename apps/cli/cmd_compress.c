/* accllm compress: from a checkpoint to a packed model file. */
#include <stdio.h>
#include <string.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "engine.h"
#include "progress.h"
#include "report.h"

static void show_progress(void *user, const accllm_progress *p)
{
    (void)user;
    cli_progress_show("compress", p->stage, p->fraction, p->seconds_left);
}

static int check_usage(const cli_options *o)
{
    if (o->n_positional < 2) {
        cli_error("compress: needs the source and the file to write; see accllm compress --help");
        return CLI_USAGE;
    }
    if (o->n_positional > 2) {
        cli_error("compress: unexpected argument %s", o->positional[2]);
        return CLI_USAGE;
    }
    if (o->recover_tokens && (!o->recover || strcmp(o->recover, "full") != 0)) {
        cli_error("--recover-tokens: needs --recover full");
        return CLI_USAGE;
    }
    if (o->recover_from && (!o->recover || strcmp(o->recover, "full") != 0)) {
        cli_error("--recover-from: needs --recover full");
        return CLI_USAGE;
    }
    const bool target = o->target_bpw > 0 || o->target_size > 0;
    if (target && o->weights) {
        cli_error("--weights: --target-bpw and --target-size choose the formats themselves");
        return CLI_USAGE;
    }
    if (target && o->method && strcmp(o->method, "rtn") == 0) {
        cli_error("--method rtn: --target-bpw and --target-size need obs");
        return CLI_USAGE;
    }
    if (o->recover_from && (target || o->weights || o->group)) {
        cli_error("--recover-from: the file's formats are kept; leave %s out", o->weights ? "--weights"
                                                                               : o->group
                                                                                   ? "--group"
                                                                                   : "--target-bpw and --target-size");
        return CLI_USAGE;
    }
    if (o->page & (o->page - 1)) {
        cli_error("--page %d: must be a power of two", (int)o->page);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static void set_params(const cli_options *o, accllm_compress_params *p)
{
    accllm_compress_params_init(p);
    if (o->weights) p->weights = o->weights;
    if (o->method) p->method = o->method;
    if (o->head) p->head = o->head;
    p->group = (uint32_t)o->group;
    p->calib_path = o->calib;
    p->calib_tokens = (uint32_t)o->calib_tokens;
    p->page = (uint32_t)o->page;
    if (o->recover && strcmp(o->recover, "full") == 0)
        p->recover_tokens = o->recover_tokens ? (uint64_t)o->recover_tokens : 1000000;
    p->recover_length = (uint32_t)o->recover_length;
    p->recover_rate = o->recover_rate;
    p->start_path = o->recover_from;
    p->target_bpw = o->target_bpw;
    p->target_bytes = (uint64_t)(o->target_size * 1e6);
    p->kv_bits = (uint32_t)o->kv;
    p->resume = o->resume;
    p->use_mmap = !o->no_mmap;
    p->progress = show_progress;
    p->note = cli_log;
}

static int report(const cli_options *o, const char *out_path, const accllm_compress_result *r)
{
    char size[16], memory[16];
    cli_error("wrote %s: %s, %.3f bits per linear weight, %.3f over all; %.1f s, %s of memory", out_path,
              cli_size_text(r->file_bytes, size), r->bits_per_weight, r->bits_per_weight_total, r->seconds,
              cli_size_text(r->peak_rss_bytes, memory));
    if (!o->json) return CLI_OK;
    json_t *out = json_object();
    cli_json_path(out, "output", out_path);
    cli_json_real(out, "bits_per_weight", r->bits_per_weight);
    cli_json_real(out, "bits_per_weight_total", r->bits_per_weight_total);
    cli_json_real(out, "seconds", r->seconds);
    cli_json_u64(out, "file_bytes", r->file_bytes);
    cli_json_u64(out, "peak_rss_bytes", r->peak_rss_bytes);
    cli_json_u64(out, "resumed_layers", r->resumed_layers);
    return cli_json_print(out);
}

int cmd_compress(const cli_options *o)
{
    int rc = check_usage(o);
    if (rc != CLI_OK) return rc;
    const char *src = o->positional[0], *out_path = o->positional[1];
    accllm_runtime *rt = NULL;
    accllm_error err = {0};
    accllm_compress_params p;
    accllm_compress_result r = {0};
    set_params(o, &p);
    rc = cli_runtime_open(o, &rt);
    if (rc != CLI_OK) return rc;
    accllm_status status = accllm_compress(rt, src, out_path, &p, &r, &err);
    cli_progress_clear();
    cli_runtime_close(&rt);
    if (status == ACCLLM_E_CANCELLED) {
        cli_error("interrupted: what is finished is kept in %s.work; the same command with --resume goes on", out_path);
        return CLI_INTERRUPTED;
    }
    return status == ACCLLM_OK ? report(o, out_path, &r) : cli_fail(&err);
}
