/* The one option table: parsing, --help, suggestions, manual pages and completion are made from it. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes. Interrupted by Ctrl-C or SIGTERM is 130, as shells expect. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

enum {
    CLI_COMPRESS = 1 << 0,
    CLI_RUN = 1 << 1,
    CLI_CHAT = 1 << 2,
    CLI_PPL = 1 << 3,
    CLI_KL = 1 << 4,
    CLI_BENCH = 1 << 5,
    CLI_INSPECT = 1 << 6,
    CLI_TOKENIZE = 1 << 7,
    CLI_EXPORT = 1 << 8,
    CLI_TASKS = 1 << 9,
    CLI_LADDER = 1 << 10,
    CLI_SERVE = 1 << 11,
    CLI_ALL = (1 << 12) - 1,
    CLI_WINDOWS = CLI_PPL | CLI_KL | CLI_LADDER, /* over windows of a text */
    CLI_EVAL = CLI_WINDOWS | CLI_TASKS,
    CLI_GENERATE = CLI_RUN | CLI_CHAT,
    CLI_ENGINE = CLI_GENERATE | CLI_EVAL | CLI_BENCH | CLI_SERVE, /* commands that compute with a model */
    CLI_SAMPLE = CLI_GENERATE | CLI_SERVE,
};

enum { CLI_MAX_STOPS = 16, CLI_MAX_POSITIONAL = 16 };

typedef struct cli_texts {
    const char *item[CLI_MAX_STOPS];
    size_t n;
} cli_texts;

/* Every option's value. Absent texts are NULL; numbers start at the defaults that the help names. */
typedef struct cli_options {
    bool help, version, json;
    /* engine */
    const char *model, *isa, *numerics, *backend;
    int64_t threads;
    bool no_mmap;
    int64_t sinks, window, context, kv, kv_near, chunk; /* -1 or 0: by the file */
    bool full_attention, pin_system, force;
    /* text in and out */
    const char *prompt, *file, *system, *logits, *trace;
    const char *grammar, *grammar_file, *json_schema, *json_schema_file;
    bool chat, ignore_eos, bos, special;
    cli_texts stop;
    int64_t n_predict, seed;
    double temperature, top_p, min_p, repeat_penalty;
    int64_t top_k, repeat_last;
    /* compress */
    const char *weights, *method, *head, *calib, *recover, *recover_from;
    int64_t group, calib_tokens, page, recover_tokens, recover_length;
    double recover_rate, target_bpw, target_size;
    bool resume;
    /* eval, bench, inspect, export */
    const char *text, *ref, *shape, *type, *bos_at, *details, *w8;
    cli_texts task;
    int64_t ctx, stride, max_tokens, bucket, limit;
    int64_t n_prompt, n_gen, depth, reps, sessions;
    bool stream, whole_windows, verify;
    /* serve */
    const char *host, *model_name, *api_key_file, *state_dir;
    cli_texts api_key, cors;
    int64_t port, parallel, queue, answer, ping, drain, state_every;
    double memory_limit;
    const char *positional[CLI_MAX_POSITIONAL];
    int n_positional;
} cli_options;

typedef enum cli_option_kind {
    CLI_FLAG,
    CLI_TEXT,
    CLI_TEXTS, /* may be given several times */
    CLI_INT,
    CLI_REAL,
    CLI_CHOICE,        /* a text out of `choices` */
    CLI_NUMBER_CHOICE, /* a number out of them */
} cli_option_kind;

typedef struct cli_option {
    const char *name;     /* long name without dashes */
    char letter;          /* 0: none */
    const char *argument; /* as shown in the help; NULL: a flag */
    cli_option_kind kind;
    size_t offset;       /* in cli_options */
    double min, max;     /* CLI_INT, CLI_REAL */
    const char *choices; /* "a|b|c"; of a CLI_TEXT they are for completion alone */
    unsigned commands;
    const char *help;
} cli_option;

extern const cli_option cli_option_table[];
extern const size_t cli_option_count;

void cli_options_init(cli_options *o);
/* Parses argv[1..] as options of one command. Returns CLI_OK, or CLI_USAGE after printing what is wrong. */
int cli_options_parse(cli_options *o, unsigned command, const char *command_name, int argc, char **argv);

/* The edit distance of two words, for suggestions. */
unsigned cli_distance(const char *a, const char *b);

#endif
