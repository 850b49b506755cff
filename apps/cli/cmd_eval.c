/* accllm eval ppl, accllm eval kl. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "engine.h"
#include "input.h"
#include "progress.h"
#include "report.h"
#include "windows.h"

static void show_progress(void *user, double fraction, double so_far, double seconds_left)
{
    char detail[48];
    (void)snprintf(detail, sizeof detail, "%s %.4f", (const char *)user, so_far);
    cli_progress_show("eval", detail, fraction, seconds_left);
}

static int set_params(const cli_options *o, const accllm_model_info *info, const char *figure, accllm_ppl_params *p)
{
    int rc = cli_window_params(o, info, p);
    p->progress = show_progress;
    p->user = (void *)(uintptr_t)figure;
    return rc;
}

static int need_text(const cli_options *o, const char *command, char **text, size_t *len)
{
    if (o->text) return cli_read_file(o->text, text, len);
    cli_error("%s: needs --text FILE", command);
    return CLI_USAGE;
}

static json_t *buckets_json(const accllm_ppl_result *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_buckets; i++) {
        json_t *b = json_object();
        cli_json_u64(b, "from", r->buckets[i].from);
        cli_json_u64(b, "to", r->buckets[i].to);
        cli_json_real(b, "ppl", r->buckets[i].ppl);
        cli_json_u64(b, "rss_bytes", r->buckets[i].rss_bytes);
        (void)json_array_append_new(list, b);
    }
    return list;
}

static int report_ppl(const cli_options *o, const accllm_model_info *info, const accllm_ppl_params *p,
                      const accllm_ppl_result *r)
{
    if (o->json) {
        json_t *out = json_object();
        cli_json_real(out, "ppl", r->ppl);
        cli_json_real(out, "nll", r->nll);
        cli_json_real(out, "nats_per_byte", r->nats_per_byte);
        cli_json_u64(out, "tokens", r->tokens);
        cli_json_u64(out, "windows", r->windows);
        (void)json_object_set_new(out, "ctx", p->stream ? json_null() : json_integer(p->ctx));
        (void)json_object_set_new(out, "bos", json_string(cli_bos_name(r->bos)));
        cli_json_real(out, "bits_per_weight", info->bits_per_weight);
        cli_json_real(out, "seconds", r->seconds);
        cli_json_u64(out, "peak_rss_bytes", accllm_peak_rss_bytes());
        if (r->n_buckets > 0) (void)json_object_set_new(out, "buckets", buckets_json(r));
        return cli_json_print(out);
    }
    for (size_t i = 0; i < r->n_buckets; i++)
        (void)printf("%10" PRIu64 " to %10" PRIu64 "  perplexity %.4f\n", r->buckets[i].from, r->buckets[i].to,
                     r->buckets[i].ppl);
    (void)printf("perplexity %.4f per token, %.5f nats per token, %.5f nats per byte\n", r->ppl, r->nll,
                 r->nats_per_byte);
    if (p->stream)
        (void)printf("one stream");
    else
        (void)printf("%" PRIu64 " windows of %" PRIu32 " tokens", r->windows, p->ctx);
    (void)printf(", beginning-of-text token: %s; %" PRIu64 " tokens scored in %.1f s\n", cli_bos_name(r->bos),
                 r->tokens, r->seconds);
    return cli_finish_output();
}

int cmd_eval_ppl(const cli_options *o)
{
    const char *path;
    char *text = NULL;
    size_t len = 0;
    cli_engine e = {0};
    accllm_error err = {0};
    accllm_ppl_result r = {0};
    accllm_ppl_params p = {0};
    int rc = cli_model_path(o, "eval ppl", 0, &path);
    if (rc == CLI_OK) rc = need_text(o, "eval ppl", &text, &len);
    if (rc == CLI_OK) rc = cli_engine_open(&e, o, path);
    if (rc == CLI_OK) rc = cli_need_tokenizer(&e, path);
    if (rc == CLI_OK) {
        accllm_session_params sp;
        cli_session_params(o, &sp);
        rc = set_params(o, e.info, "perplexity", &p);
        if (rc == CLI_OK && accllm_eval_ppl(e.model, &sp, text, len, &p, &r, &err) != ACCLLM_OK)
            rc = err.code == ACCLLM_E_LIMIT ? cli_fail_usage(&err) : cli_fail(&err);
        cli_progress_clear();
    }
    if (rc == CLI_OK) rc = report_ppl(o, e.info, &p, &r);
    accllm_ppl_result_free(&r);
    cli_engine_close(&e);
    free(text);
    return rc;
}

static int report_kl(const cli_options *o, const accllm_kl_result *r)
{
    if (o->json) {
        json_t *out = json_object();
        cli_json_real(out, "kl_mean", r->kl_mean);
        cli_json_real(out, "top1_agreement", r->top1_agreement);
        cli_json_u64(out, "tokens", r->tokens);
        return cli_json_print(out);
    }
    (void)printf("divergence %.6f nats per token, same likeliest token %.2f %%  (%" PRIu64 " tokens)\n", r->kl_mean,
                 100 * r->top1_agreement, r->tokens);
    return cli_finish_output();
}

/* The reference sees each window whole, with its own cache: it is what the model is measured against. */
static void reference_params(const accllm_model *ref, const accllm_ppl_params *p, accllm_session_params *sp)
{
    accllm_session_params_init(sp);
    sp->full_attention = true;
    sp->n_ctx = p->ctx;
    sp->force = p->ctx > accllm_model_get_info(ref)->n_ctx_train;
}

int cmd_eval_kl(const cli_options *o)
{
    const char *path;
    char *text = NULL;
    size_t len = 0;
    cli_engine e = {0};
    accllm_model *ref = NULL;
    accllm_error err = {0};
    accllm_kl_result r = {0};
    int rc = cli_model_path(o, "eval kl", 0, &path);
    if (rc == CLI_OK && !o->ref) {
        cli_error("eval kl: needs --ref MODEL2");
        rc = CLI_USAGE;
    }
    if (rc == CLI_OK) rc = need_text(o, "eval kl", &text, &len);
    if (rc == CLI_OK) rc = cli_engine_open(&e, o, path);
    if (rc == CLI_OK) rc = cli_need_tokenizer(&e, path);
    cli_options by_file = *o; /* --numerics speaks of the model, not of its reference */
    by_file.numerics = NULL;
    if (rc == CLI_OK) rc = cli_open_model(&ref, e.rt, &by_file, o->ref);
    if (rc == CLI_OK) {
        accllm_session_params sp, ref_sp;
        accllm_ppl_params p;
        cli_session_params(o, &sp);
        rc = set_params(o, e.info, "divergence", &p);
        reference_params(ref, &p, &ref_sp);
        if (rc == CLI_OK && accllm_eval_kl(e.model, ref, &sp, &ref_sp, text, len, &p, &r, &err) != ACCLLM_OK)
            rc = err.code == ACCLLM_E_LIMIT ? cli_fail_usage(&err) : cli_fail(&err);
        cli_progress_clear();
    }
    if (rc == CLI_OK) rc = report_kl(o, &r);
    accllm_model_free(&ref);
    cli_engine_close(&e);
    free(text);
    return rc;
}
