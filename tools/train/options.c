/* Options of the trainer program: one table for parsing, defaults and help. */
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train.h"

typedef enum kind { FLAG, TEXT, WHOLE, REAL } kind;

typedef struct option_row {
    const char *name;
    char letter;
    const char *argument;
    kind kind;
    size_t at;
    double min, max;
    const char *help;
} option_row;

#define AT(field) offsetof(train_options, field)

static const option_row rows[] = {
    {"vocab", 'v', "FILE", TEXT, AT(vocab), 0, 0, "SentencePiece's .vocab: a piece, a tab and its score a line"},
    {"held-out", 0, "FILE", TEXT, AT(held_out), 0, 0, "plain text to judge by; never trained on"},
    {"out", 'o', "FILE", TEXT, AT(out), 0, 0, "the model (GGUF); OUT.checkpoint stands beside it meanwhile"},
    {"dim", 0, "N", WHOLE, AT(dim), 2, 16384, "width (256)"},
    {"layers", 0, "N", WHOLE, AT(layers), 1, 256, "blocks (4)"},
    {"heads", 0, "N", WHOLE, AT(heads), 1, 256, "query heads (4)"},
    {"kv-heads", 0, "N", WHOLE, AT(kv_heads), 1, 256, "key and value heads (2)"},
    {"head-dim", 0, "N", WHOLE, AT(head_dim), 2, 256, "dimensions of a head (dim / heads)"},
    {"ff", 0, "N", WHOLE, AT(ff), 1, 65536, "width of the feed-forward layer (640)"},
    {"context", 'c', "N", WHOLE, AT(context), 2, 65536, "tokens of a sequence; the model's trained context (512)"},
    {"batch", 'b', "N", WHOLE, AT(batch), 1, 4096, "sequences of a step (8)"},
    {"tokens", 'n', "N", WHOLE, AT(tokens), 1, 1e12, "tokens to train on, the texts again if need be (5000000)"},
    {"rate", 'r', "X", REAL, AT(rate), 1e-8, 1, "Adam's learning rate of matrices at its peak (0.0012)"},
    {"norm-rate", 0, "X", REAL, AT(norm_rate), 1e-8, 1, "the same of norms (as --rate)"},
    {"spread", 0, "X", REAL, AT(spread), 1e-6, 1, "standard deviation of the first weights (0.02)"},
    {"seed", 's', "N", WHOLE, AT(seed), 0, 1e15, "first weights and the order of the text (1)"},
    {"threads", 't', "N", WHOLE, AT(threads), 1, 256, "threads (all cores); another number gives another model"},
    {"checkpoint-minutes", 0, "N", WHOLE, AT(minutes), 0, 1e6, "minutes between two checkpoints (5)"},
    {"resume", 0, NULL, FLAG, AT(resume), 0, 0, "go on from OUT.checkpoint"},
    {"f32", 0, NULL, FLAG, AT(f32), 0, 0, "matrices in F32 (F16)"},
    {"name", 0, "TEXT", TEXT, AT(name), 0, 0, "general.name of the file (tiny)"},
    {"license", 0, "TEXT", TEXT, AT(license), 0, 0, "general.license of the file"},
    {"help", 'h', NULL, FLAG, AT(help), 0, 0, "this text"},
};

enum { N_ROWS = sizeof rows / sizeof *rows, FIRST = 256 };

void train_help(void)
{
    (void)puts(
        "Trains a small Llama-family model from scratch and writes it as GGUF.\n\n"
        "usage: train --vocab FILE --held-out FILE --out FILE [options] TEXT...\n\n"
        "TEXT: UTF-8; documents end with a line \"<|endoftext|>\" or with the file. The model written is the one\n"
        "with the lowest loss on the held-out text so far. Ctrl-C and SIGTERM leave a checkpoint. The same\n"
        "options, texts and machine give the same bytes, interrupted or not.\n");
    for (int i = 0; i < N_ROWS; i++) {
        char left[48], letter[8] = "    ";
        if (rows[i].letter) (void)snprintf(letter, sizeof letter, "-%c, ", rows[i].letter);
        (void)snprintf(left, sizeof left, "%s--%s %s", letter, rows[i].name, rows[i].argument ? rows[i].argument : "");
        (void)printf("  %-30s %s\n", left, rows[i].help);
    }
}

static int bad(const char *name, const char *value, const char *why)
{
    (void)fprintf(stderr, "train: --%s %s: %s\n", name, value, why);
    return TRAIN_USAGE;
}

static int set_number(const option_row *r, void *field, const char *value)
{
    char *end, why[80];
    long long whole = 0;
    errno = 0;
    const double x = r->kind == WHOLE ? (double)(whole = strtoll(value, &end, 10)) : strtod(value, &end);
    if (end == value || *end) return bad(r->name, value, r->kind == WHOLE ? "not a whole number" : "not a number");
    if (errno == ERANGE || !(x >= r->min && x <= r->max)) {
        (void)snprintf(why, sizeof why, "must be %.10g to %.10g", r->min, r->max);
        return bad(r->name, value, why);
    }
    if (r->kind == WHOLE)
        *(int64_t *)field = whole;
    else
        *(double *)field = x;
    return TRAIN_OK;
}

static int set(train_options *o, const option_row *r, const char *value)
{
    void *field = (char *)o + r->at;
    switch (r->kind) {
    case FLAG:
        *(bool *)field = true;
        return TRAIN_OK;
    case TEXT:
        if (!*value) return bad(r->name, "''", "must not be empty");
        *(const char **)field = value;
        return TRAIN_OK;
    default:
        return set_number(r, field, value);
    }
}

static int usage(const char *what)
{
    (void)fprintf(stderr, "train: %s; see train --help\n", what);
    return TRAIN_USAGE;
}

static int check(train_options *o)
{
    if (!o->vocab) return usage("needs --vocab");
    if (!o->held_out) return usage("needs --held-out");
    if (!o->out) return usage("needs --out");
    if (o->n_texts == 0) return usage("needs a text to train on");
    if (o->heads % o->kv_heads != 0) return usage("--heads must be a multiple of --kv-heads");
    if (o->head_dim == 0) {
        if (o->dim % o->heads != 0) return usage("--dim must be a multiple of --heads, or --head-dim given");
        o->head_dim = o->dim / o->heads;
    }
    if (o->batch * o->context > 1 << 24) return usage("--batch times --context is more than 16777216 tokens");
    if (o->norm_rate == 0) o->norm_rate = o->rate;
    return TRAIN_OK;
}

static int parse(train_options *o, int argc, char **argv, const struct option *longs, const char *shorts)
{
    opterr = 0;
    for (;;) {
        const int at = optind, c = getopt_long(argc, argv, shorts, longs, NULL);
        if (c == -1) break;
        const char *word = argv[optind > at ? optind - 1 : at];
        if (c == ':' || c == '?') {
            (void)fprintf(stderr, "train: %s: %s; see train --help\n", word,
                          c == ':' ? "needs a value" : "unknown option");
            return TRAIN_USAGE;
        }
        for (int i = 0; i < N_ROWS; i++) {
            if (c != FIRST + i && !(rows[i].letter && c == rows[i].letter)) continue;
            const int rc = set(o, &rows[i], optarg);
            if (rc != TRAIN_OK) return rc;
            break;
        }
    }
    if (o->help) return TRAIN_OK;
    for (int i = optind; i < argc; i++) {
        if (o->n_texts == TRAIN_MAX_TEXTS) return usage("too many texts");
        o->text[o->n_texts++] = argv[i];
    }
    return check(o);
}

int train_options_parse(train_options *o, int argc, char **argv)
{
    struct option longs[N_ROWS + 1] = {0};
    char shorts[2 * N_ROWS + 2] = ":";
    size_t used = 1;
    *o = (train_options){.dim = 256,
                         .layers = 4,
                         .heads = 4,
                         .kv_heads = 2,
                         .ff = 640,
                         .context = 512,
                         .batch = 8,
                         .tokens = 5000000,
                         .rate = 0.0012,
                         .spread = 0.02,
                         .seed = 1,
                         .minutes = 5,
                         .name = "tiny"};
    for (int i = 0; i < N_ROWS; i++) {
        longs[i] = (struct option){rows[i].name, rows[i].argument ? required_argument : no_argument, NULL, FIRST + i};
        if (!rows[i].letter) continue;
        shorts[used++] = rows[i].letter;
        if (rows[i].argument) shorts[used++] = ':';
    }
    return parse(o, argc, argv, longs, shorts);
}
