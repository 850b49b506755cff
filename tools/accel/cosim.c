/*
 * Co-simulation: greedy decoding of a prompt on the CPU, on the device model and on the Verilated RTL, which must give
 * the same tokens and trace hash; with --trace the RTL runs in lockstep with the model. Prints the RTL's cycles.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fpmode.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "lockstep.h"

#define USAGE                                                                                                 \
    "usage: cosim MODEL [-p PROMPT] [-n N] [--trace] [--kv 4|8] [--window W] [--depth D] [--latency CYCLES] " \
    "[--bursts N]"                                                                                            \
    " [--stall 0..7] [--seed S]\n"

typedef struct cosim {
    const char *path, *prompt;
    uint32_t n, window, kv;
    uint64_t depth; /* positions that the cache holds before the prompt, of made-up codes */
    bool trace;
    acc_rtl_timing timing;
    accllm_runtime *rt;
    accllm_model *model;
    int32_t *ids; /* of the prompt */
    size_t n_ids;
    acc_device device; /* a copy of the session's: the RTL, or the pair */
} cosim;

typedef struct outcome {
    int32_t *ids; /* [n] */
    uint64_t hash;
} outcome;

/* ---- decoding ---- */

static const acc_device *rtl_of(const cosim *c)
{
    return c->trace ? lockstep_rtl(&c->device) : &c->device;
}

static int32_t best_of(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* Token by token; `rtl`: says what each took. */
static accllm_status decode(cosim *c, void *self, const acc_session_ops *ops, bool rtl, outcome *out, accllm_error *err)
{
    const uint32_t n_vocab = c->model->info.n_vocab;
    accllm_status status = ACCLLM_OK;
    float *logits;
    ACC_TRY(acc_alloc((void **)&logits, n_vocab, sizeof *logits, "logits", err));
    if (c->depth) status = ops->fill(self, c->depth, err);
    for (size_t i = 0; i < c->n_ids + c->n - 1 && status == ACCLLM_OK; i++) {
        const int32_t id = i < c->n_ids ? c->ids[i] : out->ids[i - c->n_ids];
        const bool wanted = i + 1 >= c->n_ids;
        const uint64_t before = rtl ? acc_rtl_cycles(rtl_of(c)) : 0;
        status = ops->step(self, &id, 1, wanted, wanted ? logits : NULL, err);
        if (status != ACCLLM_OK) break;
        if (wanted) out->ids[i + 1 - c->n_ids] = best_of(logits, n_vocab);
        if (rtl)
            (void)printf("position %" PRIu64 ": token %d%s, %" PRIu64 " cycles\n", c->depth + i, id,
                         wanted ? " with logits" : "", acc_rtl_cycles(rtl_of(c)) - before);
        (void)fflush(stdout);
    }
    acc_free(logits);
    out->hash = ops->trace_hash(self);
    return status;
}

/* ---- the three ---- */

static accllm_session_params params_of(const cosim *c, accllm_backend backend)
{
    accllm_session_params p;
    accllm_session_params_init(&p);
    p.backend = backend;
    p.window = c->window;
    p.kv_bits = c->kv;
    p.trace = true;
    return p;
}

static accllm_status run_library(cosim *c, accllm_backend backend, outcome *out, accllm_error *err)
{
    accllm_session *s;
    const accllm_session_params p = params_of(c, backend);
    ACC_TRY(accllm_session_create(&s, c->model, &p, err));
    const accllm_status status = decode(c, s->self, s->ops, false, out, err);
    accllm_session_free(&s);
    return status;
}

static cosim *opening; /* an acc_device_open has no argument for it */

static accllm_status open_rtl(acc_device *d, const acc_image_header *h, accllm_runtime *rt, accllm_error *err)
{
    ACC_TRY((opening->trace ? lockstep_open : acc_rtl_open_timed)(d, h, rt, &opening->timing, err));
    opening->device = *d;
    return ACCLLM_OK;
}

static accllm_status run_rtl(cosim *c, outcome *out, accllm_error *err)
{
    accllm_session *cpu;
    const accllm_session_params wanted = params_of(c, ACCLLM_BACKEND_CPU);
    void *self;
    const acc_session_ops *ops;
    uint32_t channels;
    ACC_TRY(acc_rtl_channels(&channels, err));
    ACC_TRY(accllm_session_create(&cpu, c->model, &wanted, err));
    const accllm_session_params resolved = cpu->params;
    accllm_session_free(&cpu);
    opening = c;
    ACC_TRY(acc_accel_session_create(&self, &ops, c->model->packed, c->rt, &resolved, channels, open_rtl, err));
    const accllm_status status = decode(c, self, ops, true, out, err);
    (void)printf("rtl: %u channels, %" PRIu64 " cycles\n", channels, acc_rtl_cycles(rtl_of(c)));
    if (c->trace) {
        const lockstep_counts counts = lockstep_count(&c->device);
        (void)printf("lockstep: %" PRIu64 " instructions, %" PRIu64 " of their ends compared\n", counts.instructions,
                     counts.compared);
    }
    ops->free(self);
    return status;
}

static void print(const cosim *c, const char *name, const outcome *o)
{
    (void)printf("%-6s %016" PRIx64, name, o->hash);
    for (uint32_t i = 0; i < c->n; i++) (void)printf(" %d", o->ids[i]);
    (void)printf("\n");
    (void)fflush(stdout);
}

static accllm_status run_all(cosim *c, bool *same, accllm_error *err)
{
    enum { CPU, DEVICE, RTL, COUNT };
    static const char *const names[COUNT] = {"cpu", "device", "rtl"};
    outcome o[COUNT] = {0};
    accllm_status status = ACCLLM_OK;
    *same = true;
    for (int i = 0; i < COUNT && status == ACCLLM_OK; i++) {
        status = acc_alloc((void **)&o[i].ids, c->n, sizeof *o[i].ids, "tokens", err);
        if (status == ACCLLM_OK)
            status = i == RTL ? run_rtl(c, &o[i], err)
                              : run_library(c, i == CPU ? ACCLLM_BACKEND_CPU : ACCLLM_BACKEND_DEVICE, &o[i], err);
        if (status != ACCLLM_OK) break;
        print(c, names[i], &o[i]);
        *same = *same && o[i].hash == o[CPU].hash && memcmp(o[i].ids, o[CPU].ids, c->n * sizeof *o[i].ids) == 0;
    }
    for (int i = 0; i < COUNT; i++) acc_free(o[i].ids);
    return status;
}

/* ---- the command ---- */

static accllm_status open_all(cosim *c, accllm_error *err)
{
    ACC_TRY(accllm_runtime_create(&c->rt, NULL, err));
    ACC_TRY(accllm_model_open(&c->model, c->rt, c->path, NULL, err));
    if (!c->model->packed || !c->model->tokenizer)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s: no AccLLM file with a tokenizer", c->path);
    const unsigned flags = accllm_tokenizer_adds_bos(c->model->tokenizer) ? ACCLLM_TOKENIZE_BOS : 0;
    ACC_TRY(accllm_tokenize(c->model->tokenizer, c->prompt, strlen(c->prompt), flags, &c->ids, &c->n_ids, err));
    return c->n_ids ? ACCLLM_OK : acc_fail(err, ACCLLM_E_ARG, "the prompt has no token");
}

static bool number(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;
    const unsigned long long x = strtoull(text, &end, 10);
    *out = x;
    return *text >= '0' && *text <= '9' && *end == '\0' && x >= low && x <= high;
}

static bool parse(cosim *c, int argc, char **argv)
{
    static const struct option options[] = {{"trace", no_argument, NULL, 't'},
                                            {"kv", required_argument, NULL, 'k'},
                                            {"window", required_argument, NULL, 'w'},
                                            {"depth", required_argument, NULL, 'd'},
                                            {"latency", required_argument, NULL, 'l'},
                                            {"bursts", required_argument, NULL, 'b'},
                                            {"stall", required_argument, NULL, 's'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    for (int o; (o = getopt_long(argc, argv, "p:n:", options, NULL)) != -1;) {
        uint64_t x = 0;
        bool ok = true;
        switch (o) {
        case 'p':
            c->prompt = optarg;
            break;
        case 't':
            c->trace = true;
            break;
        case 'n':
            ok = number(optarg, 1, 1000000, &x), c->n = (uint32_t)x;
            break;
        case 'k':
            ok = number(optarg, 4, 8, &x), c->kv = (uint32_t)x;
            break;
        case 'w':
            ok = number(optarg, 1, ACC_ISA_RING_MAX, &x), c->window = (uint32_t)x;
            break;
        case 'd':
            ok = number(optarg, 1, UINT64_MAX / 2, &c->depth);
            break;
        case 'l':
            ok = number(optarg, 1, 10000, &x), c->timing.latency = (uint32_t)x;
            break;
        case 'b':
            ok = number(optarg, 1, 64, &x), c->timing.bursts = (uint32_t)x;
            break;
        case 's':
            ok = number(optarg, 0, 7, &x), c->timing.stall = (uint32_t)x;
            break;
        case 'r':
            ok = number(optarg, 0, UINT64_MAX, &c->timing.seed);
            break;
        default:
            ok = false;
        }
        if (!ok) return false;
    }
    if (optind + 1 != argc) return false;
    c->path = argv[optind];
    return true;
}

int main(int argc, char **argv)
{
    accllm_error err = {0};
    cosim c = {.prompt = "Once upon a time", .n = 2, .timing = acc_rtl_default_timing};
    bool same = false;
    if (!parse(&c, argc, argv)) {
        (void)fputs(USAGE, stderr);
        return 2;
    }
    const uint64_t mode = acc_fp_enter();
    accllm_status status = open_all(&c, &err);
    if (status == ACCLLM_OK) status = run_all(&c, &same, &err);
    acc_fp_leave(mode);
    free(c.ids);
    accllm_model_free(&c.model);
    accllm_runtime_free(&c.rt);
    if (status != ACCLLM_OK)
        (void)fprintf(stderr, "cosim: %s\n", err.text);
    else
        (void)puts(same ? "cosim: the same tokens and trace hash" : "cosim: DIFFERENT");
    return status == ACCLLM_OK && same && fflush(stdout) == 0 ? 0 : 1;
}
