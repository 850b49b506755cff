/* accllm eval ladder: from the float model to the packed one, a perplexity at every step. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "engine.h"
#include "input.h"
#include "progress.h"
#include "report.h"
#include "windows.h"

/* The 8-bit file: the user's, or one in a folder of its own that goes away again. */
typedef struct eight_bits {
    char *path, *folder; /* folder NULL: the file stays */
} eight_bits;

static void show_compress(void *user, const accllm_progress *p)
{
    (void)user;
    cli_progress_show("8-bit weights", p->stage, p->fraction, p->seconds_left);
}

static void show_eval(void *user, double fraction, double so_far, double seconds_left)
{
    char detail[48];
    (void)user;
    (void)snprintf(detail, sizeof detail, "perplexity %.4f", so_far);
    cli_progress_show("ladder", detail, fraction, seconds_left);
}

static char *joined(const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 1;
    char *s = malloc(n);
    if (s) (void)snprintf(s, n, "%s%s", a, b);
    return s;
}

static int name_file(const cli_options *o, eight_bits *w8)
{
    if (o->w8) {
        w8->path = strdup(o->w8);
        return w8->path ? CLI_OK : cli_out_of_memory("path");
    }
    const char *tmp = getenv("TMPDIR");
    w8->folder = joined(tmp && *tmp ? tmp : "/tmp", "/accllm-XXXXXX");
    if (!w8->folder) return cli_out_of_memory("path");
    if (!mkdtemp(w8->folder)) {
        cli_error("%s: %s", w8->folder, strerror(errno));
        free(w8->folder);
        w8->folder = NULL;
        return CLI_FAILED;
    }
    w8->path = joined(w8->folder, "/w8.gguf");
    return w8->path ? CLI_OK : cli_out_of_memory("path");
}

/* The source in W8 with the model's page, unless the user's file is there already. */
static int make_file(const cli_options *o, accllm_runtime *rt, const accllm_model_info *info, const eight_bits *w8)
{
    if (!w8->folder && access(w8->path, F_OK) == 0) return CLI_OK;
    accllm_error err = {0};
    accllm_compress_params p;
    accllm_compress_result r;
    accllm_compress_params_init(&p);
    p.weights = "w8";
    p.method = "rtn";
    p.page = info->page;
    p.kv_bits = info->default_kv_bits;
    p.use_mmap = !o->no_mmap;
    p.progress = show_compress;
    accllm_status s = accllm_compress(rt, o->ref, w8->path, &p, &r, &err);
    cli_progress_clear();
    return s == ACCLLM_OK ? CLI_OK : cli_fail(&err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* An interrupted compression leaves more than the file. */
static void remove_file(eight_bits *w8)
{
    if (w8->folder) (void)nftw(w8->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w8->path);
    free(w8->folder);
}

static int set_params(const cli_options *o, const accllm_model_info *info, accllm_ladder_params *p)
{
    accllm_ladder_params_init(p);
    int rc = cli_window_params(o, info, &p->ppl);
    p->ppl.progress = show_eval;
    if (o->sinks >= 0) p->sinks = (uint32_t)o->sinks;
    p->window = (uint32_t)o->window;
    p->kv_bits = (uint32_t)o->kv;
    p->chunk = (uint32_t)o->chunk;
    p->force = o->force;
    p->use_mmap = !o->no_mmap;
    return rc;
}

static int print_json(const accllm_ladder_params *p, const accllm_ladder_result *r)
{
    json_t *out = json_object(), *rows = json_array();
    for (size_t i = 0; i < r->n; i++) {
        const accllm_rung *g = &r->rung[i];
        json_t *row = json_object();
        (void)json_object_set_new(row, "name", json_string(g->name));
        (void)json_object_set_new(row, "what", json_string(g->what));
        cli_json_real(row, "ppl", g->ppl);
        cli_json_real(row, "ratio", g->ratio);
        cli_json_real(row, "step", g->step);
        cli_json_real(row, "nll", g->nll);
        cli_json_real(row, "nats_per_byte", g->nats_per_byte);
        cli_json_real(row, "seconds", g->seconds);
        (void)json_array_append_new(rows, row);
    }
    (void)json_object_set_new(out, "rows", rows);
    cli_json_u64(out, "tokens", r->rung[0].tokens);
    cli_json_u64(out, "windows", r->windows);
    cli_json_u64(out, "ctx", p->ppl.ctx);
    (void)json_object_set_new(out, "bos", json_string(cli_bos_name(r->bos)));
    cli_json_u64(out, "sinks", r->sinks);
    cli_json_u64(out, "window", r->window);
    cli_json_u64(out, "kv_bits", r->kv_bits);
    return cli_json_print(out);
}

static int print_table(const accllm_ladder_params *p, const accllm_ladder_result *r)
{
    (void)printf("%-6s %12s %8s %8s  %s\n", "rung", "perplexity", "to FP", "step", "what it computes");
    for (size_t i = 0; i < r->n; i++) {
        const accllm_rung *g = &r->rung[i];
        int shown = 0; /* columns of the name: a letter may take two bytes */
        for (const char *c = g->name; *c; c++) shown += ((unsigned char)*c & 0xc0) != 0x80;
        (void)printf("%s%*s %12.4f %8.4f %8.4f  %s\n", g->name, shown < 6 ? 6 - shown : 0, "", g->ppl, g->ratio,
                     g->step, g->what);
    }
    (void)printf("%" PRIu64 " tokens in %" PRIu64 " windows of %" PRIu32 ", beginning-of-text token: %s\n",
                 r->rung[0].tokens, r->windows, p->ppl.ctx, cli_bos_name(r->bos));
    return cli_finish_output();
}

static int climb(const cli_options *o, accllm_runtime *rt, const char *path, const accllm_model_info *info,
                 const char *text, size_t len)
{
    accllm_error err = {0};
    accllm_ladder_params p;
    accllm_ladder_result r = {0};
    eight_bits w8 = {0};
    int rc = set_params(o, info, &p);
    if (rc == CLI_OK) rc = name_file(o, &w8);
    if (rc == CLI_OK) rc = make_file(o, rt, info, &w8);
    if (rc == CLI_OK) {
        accllm_status s = accllm_eval_ladder(rt, path, o->ref, w8.path, text, len, &p, &r, &err);
        cli_progress_clear();
        if (s != ACCLLM_OK) rc = cli_fail(&err);
    }
    remove_file(&w8);
    if (rc == CLI_INTERRUPTED && r.n > 0) { /* the rungs that were done: they may have taken hours */
        int printed = o->json ? print_json(&p, &r) : print_table(&p, &r);
        return printed == CLI_OK ? rc : printed;
    }
    if (rc != CLI_OK) return rc;
    if (r.sinks + (uint64_t)r.window >= p.ppl.ctx)
        cli_error("note: sinks and window hold all %" PRIu32 " tokens of a window of text: attention loses nothing; "
                  "--window N below --ctx shows what it costs",
                  p.ppl.ctx);
    return o->json ? print_json(&p, &r) : print_table(&p, &r);
}

int cmd_eval_ladder(const cli_options *o)
{
    const char *path;
    char *text = NULL;
    size_t len = 0;
    accllm_runtime *rt = NULL;
    accllm_inspection *x = NULL;
    accllm_error err = {0};
    int rc = cli_model_path(o, "eval ladder", 0, &path);
    if (rc == CLI_OK && (!o->ref || !o->text)) {
        cli_error("eval ladder: needs --ref SRC and --text FILE");
        rc = CLI_USAGE;
    }
    if (rc == CLI_OK) rc = cli_read_file(o->text, &text, &len);
    if (rc == CLI_OK && accllm_inspect(&x, path, false, &err) != ACCLLM_OK) rc = cli_fail(&err);
    const accllm_model_info *info = rc == CLI_OK ? accllm_inspection_info(x) : NULL;
    if (info && !info->packed) {
        cli_error("%s: is not compressed; the ladder ends at an AccLLM file", path);
        rc = CLI_FAILED;
    }
    if (rc == CLI_OK) rc = cli_runtime_open(o, &rt);
    if (rc == CLI_OK) rc = climb(o, rt, path, info, text, len);
    cli_runtime_close(&rt);
    accllm_inspection_free(&x);
    free(text);
    return rc;
}
