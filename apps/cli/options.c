/* Parsing of a command's options from the table, with getopt_long. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum { MAX_OPTIONS = 96, FIRST_VALUE = 256, MAX_WORD = 64 };

void cli_options_init(cli_options *o)
{
    *o = (cli_options){
        .sinks = -1,
        .kv_near = -1,
        .n_predict = 256,
        .seed = -1,
        .temperature = 0.7,
        .top_p = 0.95,
        .repeat_penalty = 1,
        .repeat_last = 64,
        .n_prompt = 512,
        .n_gen = 128,
        .reps = 5,
        .sessions = 1,
        .port = 8080,
    };
}

unsigned cli_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned row[MAX_WORD + 1];
    if (n > MAX_WORD || m > MAX_WORD) return MAX_WORD;
    for (size_t j = 0; j <= m; j++) row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            unsigned best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[m];
}

static bool in_choices(const char *choices, const char *value)
{
    size_t len = strlen(value);
    while (choices) {
        const char *end = strchr(choices, '|');
        size_t n = end ? (size_t)(end - choices) : strlen(choices);
        if (n == len && memcmp(choices, value, n) == 0) return true;
        choices = end ? end + 1 : NULL;
    }
    return false;
}

static int bad_value(const cli_option *opt, const char *value, const char *why)
{
    cli_error("--%s %s: %s", opt->name, value, why);
    return CLI_USAGE;
}

static int set_number(const cli_option *opt, void *field, const char *value)
{
    char *end, why[96];
    bool whole = opt->kind == CLI_INT;
    long long i = 0;
    errno = 0;
    double x = whole ? (double)(i = strtoll(value, &end, 10)) : strtod(value, &end);
    if (end == value || *end != '\0') return bad_value(opt, value, whole ? "not a whole number" : "not a number");
    if (errno == ERANGE || !(x >= opt->min && x <= opt->max)) {
        (void)snprintf(why, sizeof why, "must be %.10g to %.10g", opt->min, opt->max);
        return bad_value(opt, value, why);
    }
    if (whole)
        *(int64_t *)field = i;
    else
        *(double *)field = x;
    return CLI_OK;
}

static int set_choice(const cli_option *opt, void *field, const char *value)
{
    char why[160];
    if (!in_choices(opt->choices, value)) {
        (void)snprintf(why, sizeof why, "must be one of %s", opt->choices);
        return bad_value(opt, value, why);
    }
    if (opt->kind == CLI_NUMBER_CHOICE)
        *(int64_t *)field = strtol(value, NULL, 10);
    else
        *(const char **)field = value;
    return CLI_OK;
}

static int set_option(cli_options *o, const cli_option *opt, const char *value)
{
    void *field = (char *)o + opt->offset;
    switch (opt->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return CLI_OK;
    case CLI_TEXT:
        *(const char **)field = value;
        return CLI_OK;
    case CLI_TEXTS: {
        cli_texts *list = field;
        if (*value == '\0') return bad_value(opt, "''", "must not be empty");
        if (list->n == CLI_MAX_STOPS) return bad_value(opt, value, "given too often");
        list->item[list->n++] = value;
        return CLI_OK;
    }
    case CLI_CHOICE:
    case CLI_NUMBER_CHOICE:
        return set_choice(opt, field, value);
    default:
        return set_number(opt, field, value);
    }
}

/* An option that the command lacks: is it another command's, or misspelt? */
static int unknown_option(unsigned command, const char *command_name, const char *word)
{
    char name[MAX_WORD + 1];
    size_t len = strcspn(word, "=");
    (void)snprintf(name, sizeof name, "%.*s", (int)(len < MAX_WORD ? len : MAX_WORD), word);
    const char *bare = name + strspn(name, "-");
    const cli_option *best = NULL;
    unsigned best_distance = 3;
    bool elsewhere = false;
    for (size_t i = 0; i < cli_option_count; i++) {
        const cli_option *opt = &cli_option_table[i];
        elsewhere |= !(opt->commands & command) && strcmp(opt->name, bare) == 0;
        unsigned d = cli_distance(opt->name, bare);
        if ((opt->commands & command) && d < best_distance && d < strlen(opt->name)) {
            best = opt;
            best_distance = d;
        }
    }
    if (best && !elsewhere)
        cli_error("%s: unknown option %s; did you mean --%s?", command_name, name, best->name);
    else
        cli_error("%s: %s option %s; see accllm %s --help", command_name, elsewhere ? "has no" : "unknown", name,
                  command_name);
    return CLI_USAGE;
}

static int take_positional(cli_options *o, const char *command_name, int argc, char **argv)
{
    for (int i = optind; i < argc; i++) {
        if (o->n_positional == CLI_MAX_POSITIONAL) {
            cli_error("%s: unexpected argument %s", command_name, argv[i]);
            return CLI_USAGE;
        }
        o->positional[o->n_positional++] = argv[i];
    }
    return CLI_OK;
}

int cli_options_parse(cli_options *o, unsigned command, const char *command_name, int argc, char **argv)
{
    struct option longs[MAX_OPTIONS + 1] = {0};
    char shorts[2 * MAX_OPTIONS + 2] = ":";
    size_t n = 0, n_shorts = 1;
    for (size_t i = 0; i < cli_option_count && n < MAX_OPTIONS; i++) {
        const cli_option *opt = &cli_option_table[i];
        if (!(opt->commands & command)) continue;
        longs[n++] =
            (struct option){opt->name, opt->argument ? required_argument : no_argument, NULL, FIRST_VALUE + (int)i};
        if (opt->letter) {
            shorts[n_shorts++] = opt->letter;
            if (opt->argument) shorts[n_shorts++] = ':';
        }
    }
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind, c = getopt_long(argc, argv, shorts, longs, NULL);
        if (c == -1) break;
        const char *word = argv[optind > at ? optind - 1 : at];
        if (c == ':') {
            cli_error("%s: %s needs a value", command_name, word);
            return CLI_USAGE;
        }
        if (c == '?' && optopt >= FIRST_VALUE) {
            cli_error("%s: --%s takes no value", command_name, cli_option_table[optopt - FIRST_VALUE].name);
            return CLI_USAGE;
        }
        if (c == '?' && optopt > 0 && strncmp(word, "--", 2) != 0) {
            cli_error("%s: unknown option -%c; see accllm %s --help", command_name, optopt, command_name);
            return CLI_USAGE;
        }
        if (c == '?') return unknown_option(command, command_name, word);
        const cli_option *opt = NULL;
        for (size_t i = 0; i < cli_option_count && !opt; i++) {
            const cli_option *x = &cli_option_table[i];
            if ((x->commands & command) && (c == FIRST_VALUE + (int)i || (x->letter && c == x->letter))) opt = x;
        }
        int rc = opt ? set_option(o, opt, optarg) : CLI_USAGE;
        if (rc != CLI_OK) return rc;
    }
    return take_positional(o, command_name, argc, argv);
}
