/* accllm eval tasks: accuracy on multiple choice and last words. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "engine.h"
#include "input.h"
#include "output.h"
#include "progress.h"
#include "report.h"

enum { MAX_FILES = CLI_MAX_STOPS + CLI_MAX_POSITIONAL };

typedef struct task_run {
    const char *name; /* of the present file, without its folders */
    const char *path;
    FILE *details;
} task_run;

typedef struct task_file {
    const char *path;
    accllm_tasks_result r;
} task_file;

static void show_progress(void *user, double fraction, double so_far, double seconds_left)
{
    const task_run *run = user;
    char detail[160];
    (void)snprintf(detail, sizeof detail, "accuracy %.2f %%", 100 * so_far);
    cli_progress_show(run->name, detail, fraction, seconds_left);
}

static void write_item(void *user, const accllm_task_item *it)
{
    const task_run *run = user;
    if (!run->details) return;
    json_t *o = json_object(), *list = json_array();
    cli_json_path(o, "file", run->path);
    cli_json_u64(o, "line", it->line);
    cli_json_u64(o, "gold", it->gold);
    for (uint32_t i = 0; i < it->n_choices; i++) (void)json_array_append_new(list, json_real(it->logprob[i]));
    (void)json_object_set_new(o, "logprob", list);
    (void)json_object_set_new(o, "correct", json_boolean(it->correct));
    (void)json_object_set_new(o, "correct_norm", json_boolean(it->correct_norm));
    (void)json_dumpf(o, run->details, JSON_COMPACT);
    (void)fputc('\n', run->details);
    json_decref(o);
}

/* --task, and the arguments behind the model. */
static int find_files(const cli_options *o, const char **model, task_file *files, size_t *n)
{
    int first = o->model ? 0 : 1;
    *n = 0;
    for (size_t i = 0; i < o->task.n; i++) files[(*n)++].path = o->task.item[i];
    for (int i = first; i < o->n_positional; i++) files[(*n)++].path = o->positional[i];
    if (!o->model && o->n_positional == 0) return cli_model_path(o, "eval tasks", 0, model);
    *model = o->model ? o->model : o->positional[0];
    if (*n > 0) return CLI_OK;
    cli_error("eval tasks: needs --task FILE; see accllm eval tasks --help");
    return CLI_USAGE;
}

static int run_file(const cli_options *o, const cli_engine *e, task_run *run, task_file *f)
{
    char *text = NULL;
    size_t len = 0;
    int rc = cli_read_file(f->path, &text, &len);
    if (rc != CLI_OK) return rc;
    accllm_session_params sp;
    accllm_tasks_params p;
    accllm_error err = {0};
    const char *slash = strrchr(f->path, '/');
    run->path = f->path;
    run->name = slash ? slash + 1 : f->path;
    cli_session_params(o, &sp);
    accllm_tasks_params_init(&p);
    p.type = o->type;
    p.limit = (uint64_t)o->limit;
    p.progress = show_progress;
    p.item = write_item;
    p.user = run;
    accllm_status status = accllm_eval_tasks(e->model, &sp, text, len, &p, &f->r, &err);
    cli_progress_clear();
    free(text);
    if (status == ACCLLM_OK) return CLI_OK;
    if (status == ACCLLM_E_CANCELLED) return cli_fail(&err);
    cli_error("%s: %s", f->path, err.text);
    return CLI_FAILED;
}

static void set_optional(json_t *o, const char *key, double x)
{
    if (x < 0)
        (void)json_object_set_new(o, key, json_null());
    else
        cli_json_real(o, key, x);
}

static json_t *file_json(const task_file *f)
{
    json_t *o = json_object();
    cli_json_path(o, "file", f->path);
    (void)json_object_set_new(o, "type", json_string(f->r.type));
    cli_json_u64(o, "n", f->r.n);
    cli_json_real(o, "accuracy", f->r.accuracy);
    cli_json_real(o, "accuracy_stderr", f->r.accuracy_stderr);
    set_optional(o, "accuracy_norm", f->r.accuracy_norm);
    set_optional(o, "accuracy_norm_stderr", f->r.accuracy_norm_stderr);
    set_optional(o, "perplexity", f->r.perplexity);
    cli_json_u64(o, "tokens", f->r.tokens);
    cli_json_u64(o, "truncated", f->r.truncated);
    cli_json_real(o, "seconds", f->r.seconds);
    return o;
}

/* Means over the files; where a file has no normalised accuracy its plain one counts, as in published averages. */
static int print_json(const task_file *f, size_t n)
{
    json_t *out = json_object(), *list = json_array();
    double accuracy = 0, norm = 0;
    uint64_t items = 0;
    for (size_t i = 0; i < n; i++) {
        accuracy += f[i].r.accuracy / (double)n;
        norm += (f[i].r.accuracy_norm < 0 ? f[i].r.accuracy : f[i].r.accuracy_norm) / (double)n;
        items += f[i].r.n;
        (void)json_array_append_new(list, file_json(&f[i]));
    }
    cli_json_real(out, "accuracy", accuracy);
    cli_json_real(out, "accuracy_norm", norm);
    cli_json_u64(out, "n", items);
    (void)json_object_set_new(out, "tasks", list);
    return cli_json_print(out);
}

static int print_table(const task_file *f, size_t n)
{
    (void)printf("%-28s %-9s %6s %18s %18s %12s\n", "file", "type", "items", "accuracy", "by length", "perplexity");
    for (size_t i = 0; i < n; i++) {
        const accllm_tasks_result *r = &f[i].r;
        const char *slash = strrchr(f[i].path, '/');
        (void)printf("%-28s %-9s %6" PRIu64 " %9.2f %% +-%5.2f ", slash ? slash + 1 : f[i].path, r->type, r->n,
                     100 * r->accuracy, 100 * r->accuracy_stderr);
        if (r->accuracy_norm < 0)
            (void)printf("%18s ", "-");
        else
            (void)printf("%9.2f %% +-%5.2f ", 100 * r->accuracy_norm, 100 * r->accuracy_norm_stderr);
        if (r->perplexity < 0)
            (void)printf("%12s\n", "-");
        else
            (void)printf("%12.3f\n", r->perplexity);
        if (r->truncated)
            (void)printf("  %" PRIu64 " items were longer than the context: cut at the front\n", r->truncated);
    }
    return cli_finish_output();
}

int cmd_eval_tasks(const cli_options *o)
{
    const char *path;
    task_file files[MAX_FILES] = {0};
    size_t n = 0;
    cli_engine e = {0};
    task_run run = {0};
    int rc = find_files(o, &path, files, &n);
    if (rc == CLI_OK) rc = cli_output_open(&run.details, o->details);
    if (rc == CLI_OK) rc = cli_engine_open(&e, o, path);
    if (rc == CLI_OK) rc = cli_need_tokenizer(&e, path);
    for (size_t i = 0; i < n && rc == CLI_OK; i++) rc = run_file(o, &e, &run, &files[i]);
    int closed = cli_output_close(&run.details, o->details);
    if (rc == CLI_OK) rc = closed;
    if (rc == CLI_OK) rc = o->json ? print_json(files, n) : print_table(files, n);
    cli_engine_close(&e);
    return rc;
}
