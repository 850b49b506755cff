/* accllm inspect: what is in a model file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/accllm.h"
#include "commands.h"
#include "engine.h"
#include "report.h"

enum { LATEST_GROUPS = 64 };

/* Tensors that differ only in their block's number stand on one line. */
typedef struct group {
    char name[96];
    const accllm_tensor_info *first;
    uint64_t count, bytes;
} group;

static void group_name(const char *name, char *out, size_t cap)
{
    size_t digits = strncmp(name, "blk.", 4) == 0 ? strspn(name + 4, "0123456789") : 0;
    if (digits > 0)
        (void)snprintf(out, cap, "blk.*%s", name + 4 + digits);
    else
        (void)snprintf(out, cap, "%s", name);
}

/* Blocks repeat a few names, so a tensor's group is among the latest; a search through all would be slow in a hostile
 * file of a million names. */
static size_t group_tensors(const accllm_tensor_info *t, size_t n, group *groups)
{
    size_t n_groups = 0;
    for (size_t i = 0; i < n; i++) {
        char name[sizeof groups->name];
        group_name(t[i].name, name, sizeof name);
        size_t j = n_groups > LATEST_GROUPS ? n_groups - LATEST_GROUPS : 0;
        for (; j < n_groups; j++) {
            const accllm_tensor_info *f = groups[j].first;
            if (strcmp(groups[j].name, name) == 0 && strcmp(f->format, t[i].format) == 0 && f->rows == t[i].rows &&
                f->cols == t[i].cols && f->group == t[i].group)
                break;
        }
        if (j == n_groups) {
            groups[n_groups++] = (group){.first = &t[i]};
            memcpy(groups[j].name, name, sizeof name);
        }
        groups[j].count++;
        groups[j].bytes += t[i].bytes;
    }
    return n_groups;
}

static void print_model(const accllm_model_info *m, uint32_t version)
{
    char a[16], b[16], c[16], name[CLI_NAME], architecture[CLI_NAME];
    (void)printf("%s: ", cli_name(m->name, name));
    if (version > 0) (void)printf("AccLLM file, format %" PRIu32 ", ", version);
    (void)printf("architecture %s\n", cli_name(m->architecture, architecture));
    (void)printf("  layers %" PRIu32 ", width %" PRIu32 ", feed-forward %" PRIu32 ", heads %" PRIu32
                 " of dimension %" PRIu32 " with %" PRIu32 " key/value heads\n",
                 m->n_layers, m->n_embd, m->n_ff, m->n_heads, m->head_dim, m->n_kv_heads);
    (void)printf("  vocabulary %" PRIu32 ", trained context %" PRIu32 "\n", m->n_vocab, m->n_ctx_train);
    if (version > 0)
        (void)printf("  sinks %" PRIu32 ", window %" PRIu32 ", cache %" PRIu32 " bits, page %" PRIu32 "\n",
                     m->default_sinks, m->default_window, m->default_kv_bits, m->page);
    (void)printf("  parameters %.2f million, of them %.2f in linear layers\n", (double)m->n_params / 1e6,
                 (double)m->n_linear_params / 1e6);
    (void)printf("  bits per weight %.4f in linear layers, %.4f over all\n", m->bits_per_weight,
                 m->bits_per_weight_total);
    (void)printf("  linear layers %s, output layer %s, file %s\n\n", cli_size_text(m->linear_bytes, a),
                 cli_size_text(m->head_bytes, b), cli_size_text(m->file_bytes, c));
}

static int print_table(const accllm_inspection *x)
{
    const accllm_tensor_info *t;
    size_t n = accllm_inspection_tensors(x, &t);
    group *groups = calloc(n + 1, sizeof *groups);
    if (!groups) return cli_out_of_memory("tensor table");
    print_model(accllm_inspection_info(x), accllm_inspection_format_version(x));
    size_t n_groups = group_tensors(t, n, groups);
    (void)printf("%-32s %-6s %8s x %-8s %5s %6s %12s %9s\n", "tensor", "format", "rows", "cols", "group", "count",
                 "bytes", "bit/weight");
    for (size_t i = 0; i < n_groups; i++) {
        const accllm_tensor_info *f = groups[i].first;
        double weights = (double)f->rows * (double)f->cols * (double)groups[i].count;
        char name[CLI_NAME];
        (void)printf("%-32s %-6s %8" PRIu64 " x %-8" PRIu64 " ", cli_name(groups[i].name, name), f->format, f->rows,
                     f->cols);
        (void)printf(f->group ? "%5" PRIu32 : "%5.0" PRIu32, f->group);
        (void)printf(" %6" PRIu64 " %12" PRIu64 " %9.3f\n", groups[i].count, groups[i].bytes,
                     weights > 0 ? 8 * (double)groups[i].bytes / weights : 0);
    }
    free(groups);
    return cli_finish_output();
}

static json_t *tensors_json(const accllm_inspection *x)
{
    const accllm_tensor_info *t;
    size_t n = accllm_inspection_tensors(x, &t);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        cli_json_text(o, "name", t[i].name, strlen(t[i].name));
        cli_json_text(o, "format", t[i].format, strlen(t[i].format));
        cli_json_u64(o, "rows", t[i].rows);
        cli_json_u64(o, "cols", t[i].cols);
        cli_json_u64(o, "bytes", t[i].bytes);
        cli_json_u64(o, "group", t[i].group);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static int print_json(const cli_options *o, const accllm_inspection *x)
{
    const accllm_model_info *m = accllm_inspection_info(x);
    json_t *out = json_object();
    cli_json_text(out, "name", m->name, strlen(m->name));
    cli_json_text(out, "architecture", m->architecture, strlen(m->architecture));
    cli_json_u64(out, "format_version", accllm_inspection_format_version(x));
    cli_json_real(out, "bits_per_weight", m->bits_per_weight);
    cli_json_real(out, "bits_per_weight_total", m->bits_per_weight_total);
    cli_json_u64(out, "linear_bytes", m->linear_bytes);
    cli_json_u64(out, "head_bytes", m->head_bytes);
    cli_json_u64(out, "file_bytes", m->file_bytes);
    const struct {
        const char *key;
        uint64_t value;
    } figures[] = {
        {"n_layers", m->n_layers},
        {"n_embd", m->n_embd},
        {"n_ff", m->n_ff},
        {"n_heads", m->n_heads},
        {"n_kv_heads", m->n_kv_heads},
        {"head_dim", m->head_dim},
        {"n_vocab", m->n_vocab},
        {"n_ctx_train", m->n_ctx_train},
        {"sinks", m->default_sinks},
        {"window", m->default_window},
        {"kv_bits", m->default_kv_bits},
        {"page", m->page},
        {"n_params", m->n_params},
        {"n_linear_params", m->n_linear_params},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) cli_json_u64(out, figures[i].key, figures[i].value);
    if (o->verify) (void)json_object_set_new(out, "verified", json_true());
    (void)json_object_set_new(out, "tensors", tensors_json(x));
    return cli_json_print(out);
}

int cmd_inspect(const cli_options *o)
{
    const char *path;
    int rc = cli_model_path(o, "inspect", 0, &path);
    if (rc != CLI_OK) return rc;
    accllm_inspection *x = NULL;
    accllm_error err = {0};
    if (accllm_inspect(&x, path, o->verify, &err) != ACCLLM_OK) return cli_fail(&err);
    if (o->verify && accllm_inspection_format_version(x) == 0) {
        cli_error("%s: is not compressed: there are no codes to verify", path);
        rc = CLI_FAILED;
    }
    if (rc == CLI_OK) rc = o->json ? print_json(o, x) : print_table(x);
    if (rc == CLI_OK && o->verify) cli_error("%s: every code and scale is valid", path);
    accllm_inspection_free(&x);
    return rc;
}
