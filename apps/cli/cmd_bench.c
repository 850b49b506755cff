/* accllm bench: speed of a model or of a built-in shape. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "engine.h"
#include "report.h"

static int open_subject(cli_engine *e, const cli_options *o)
{
    const char *path;
    if (!o->shape) {
        int rc = cli_model_path(o, "bench", 0, &path);
        if (rc == CLI_OK && (o->weights || o->head)) {
            cli_error("bench: --weights and --head go with --shape; a model file has its own");
            rc = CLI_USAGE;
        }
        return rc == CLI_OK ? cli_engine_open(e, o, path) : rc;
    }
    if (o->n_positional > 0 || o->model) {
        cli_error("bench: needs a model file or --shape NAME, not both");
        return CLI_USAGE;
    }
    accllm_error err = {0};
    int rc = cli_runtime_open(o, &e->rt);
    if (rc != CLI_OK) return rc;
    if (accllm_model_random(&e->model, e->rt, o->shape, o->weights ? o->weights : "w2s", o->head ? o->head : "w8",
                            &err) != ACCLLM_OK)
        return cli_fail(&err);
    e->info = accllm_model_get_info(e->model);
    return CLI_OK;
}

static void print_table(const cli_options *o, const cli_engine *e, const accllm_bench_result *r)
{
    char size[16], name[CLI_NAME];
    (void)printf("model      %s, %s, %" PRIu32 " threads\n", cli_name(o->shape ? o->shape : e->info->name, name),
                 accllm_runtime_isa(e->rt), accllm_runtime_threads(e->rt));
    if (o->n_prompt > 0)
        (void)printf("prefill    %10.2f token/s   (%" PRId64 " tokens)\n", r->prefill_tok_s, o->n_prompt);
    (void)printf("decode     %10.2f token/s   (best %.2f, worst %.2f of %" PRId64 " x %" PRId64 " tokens at %" PRId64
                 ")\n",
                 r->decode_tok_s, r->decode_tok_s_max, r->decode_tok_s_min, o->reps, o->n_gen, o->depth);
    const uint64_t cache = (uint64_t)o->sessions * r->kv_bytes_per_token;
    if (o->sessions > 1)
        (void)printf("each       %10.2f token/s   (%" PRId64 " sessions together)\n",
                     r->decode_tok_s / (double)o->sessions, o->sessions);
    (void)printf("reads      %10.2f MB/step   (weights %.2f, output layer %.2f, cache %.2f)\n",
                 (double)(r->weight_bytes_per_token + r->lm_head_bytes + cache) / 1e6,
                 (double)r->weight_bytes_per_token / 1e6, (double)r->lm_head_bytes / 1e6, (double)cache / 1e6);
    (void)printf("bandwidth  %10.2f GB/s      (plain reads reach %.2f", r->decode_gb_s, r->stream_gb_s);
    if (r->roofline_ratio >= 0)
        (void)printf(", ratio %.2f)\n", r->roofline_ratio);
    else
        (void)puts("; no ratio, the weights are near the size of the caches)");
    (void)printf("memory     %10s peak        (", cli_size_text(r->peak_rss_bytes, size));
    (void)printf("%s a session, ", cli_size_text(r->session_bytes, size));
    (void)printf("%s to work in)\n", cli_size_text(r->batch_bytes, size));
}

static int print_json(const cli_options *o, const cli_engine *e, const accllm_bench_result *r)
{
    json_t *out = json_object();
    cli_json_real(out, "decode_tok_s", r->decode_tok_s);
    cli_json_real(out, "decode_tok_s_min", r->decode_tok_s_min);
    cli_json_real(out, "decode_tok_s_max", r->decode_tok_s_max);
    cli_json_real(out, "prefill_tok_s", r->prefill_tok_s);
    cli_json_u64(out, "weight_bytes_per_token", r->weight_bytes_per_token);
    cli_json_u64(out, "lm_head_bytes", r->lm_head_bytes);
    cli_json_u64(out, "kv_bytes_per_token", r->kv_bytes_per_token);
    cli_json_real(out, "decode_gb_s", r->decode_gb_s);
    cli_json_real(out, "stream_gb_s", r->stream_gb_s);
    (void)json_object_set_new(out, "roofline_ratio",
                              r->roofline_ratio < 0 ? json_null() : json_real(r->roofline_ratio));
    cli_json_u64(out, "threads", accllm_runtime_threads(e->rt));
    (void)json_object_set_new(out, "isa", json_string(accllm_runtime_isa(e->rt)));
    cli_json_u64(out, "reps", (uint64_t)o->reps);
    cli_json_u64(out, "batch", (uint64_t)o->sessions);
    cli_json_u64(out, "depth", (uint64_t)o->depth);
    cli_json_u64(out, "n_prompt", (uint64_t)o->n_prompt);
    cli_json_u64(out, "n_gen", (uint64_t)o->n_gen);
    cli_json_u64(out, "session_bytes", r->session_bytes);
    cli_json_u64(out, "batch_bytes", r->batch_bytes);
    cli_json_u64(out, "peak_rss_bytes", r->peak_rss_bytes);
    cli_json_real(out, "bits_per_weight", e->info->bits_per_weight);
    const char *name = o->shape ? o->shape : e->info->name;
    cli_json_text(out, "shape", name, strlen(name));
    return cli_json_print(out);
}

int cmd_bench(const cli_options *o)
{
    cli_engine e = {0};
    accllm_error err = {0};
    accllm_bench_result r = {0};
    int rc = open_subject(&e, o);
    if (rc == CLI_OK) {
        accllm_session_params sp;
        accllm_bench_params p;
        cli_session_params(o, &sp);
        accllm_bench_params_init(&p);
        p.n_prompt = (uint32_t)o->n_prompt;
        p.n_gen = (uint32_t)o->n_gen;
        p.depth = (uint64_t)o->depth;
        p.reps = (uint32_t)o->reps;
        p.n_sessions = (uint32_t)o->sessions;
        if (accllm_bench(e.model, &sp, &p, &r, &err) != ACCLLM_OK) rc = cli_fail_usage(&err);
    }
    if (rc == CLI_OK && o->json) rc = print_json(o, &e, &r);
    if (rc == CLI_OK && !o->json) {
        print_table(o, &e, &r);
        rc = cli_finish_output();
    }
    cli_engine_close(&e);
    return rc;
}
