/* What a run says: plans, warnings, progress. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "compress/mix.h"
#include "core/clock.h"
#include "gemm/gemm.h"

/* Measured on a 2-core AVX2 machine: float GEMM and the rest of a calibration pass, per thread. */
#define FLOPS_PER_THREAD 40e9
#define OTHER_WORK 1e-11 /* seconds of a thread for each weight and token of recovery */
/* Of a trained weight: itself and Adam's two moments as floats, in the old checkpoint and in the one being written. */
#define CHECKPOINT_BYTES 24

void acc_run_note(const acc_run *r, const char *fmt, ...)
{
    if (!r->p->note) return;
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    r->p->note(r->p->user, line);
}

void acc_run_note_layers(const acc_run *r)
{
    const double *t = r->layer_seconds;
    double least = t[0], most = t[0], sum = 0;
    for (uint32_t i = 0; i < r->hp->n_layers; i++) {
        least = t[i] < least ? t[i] : least;
        most = t[i] > most ? t[i] : most;
        sum += t[i];
    }
    acc_run_note(r, "a layer took %.1f s on average, %.1f to %.1f s", sum / r->hp->n_layers, least, most);
}

void acc_run_progress(acc_run *r, double fraction, const char *fmt, ...)
{
    r->fraction = fraction;
    if (!r->p->progress) return;
    char stage[96];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(stage, sizeof stage, fmt, ap);
    va_end(ap);
    double done = fraction - r->fraction_start, elapsed = acc_seconds() - r->eta_start;
    accllm_progress p = {stage, fraction, -1};
    if (done > 0.005 || (done > 0 && elapsed > 5)) p.seconds_left = elapsed / done * (1 - fraction);
    r->p->progress(r->p->user, &p);
}

/* What the solver's loops and products reach together. */
static double flops_per_second(const acc_run *r)
{
    return FLOPS_PER_THREAD * acc_pool_size(r->rt->pool);
}

typedef struct estimate {
    double hidden, layer, hessians, solver, work_folder, output, seconds;
    double head, head_seconds;   /* after the layers: embedding and lm_head */
    double sense, sense_seconds; /* the sensitivities of mixed formats */
} estimate;

static double square(double x)
{
    return x * x;
}

/* Linear layers, embedding and output. */
static double trained_weights(const acc_run *r)
{
    return acc_run_linear_weights(r) + (double)r->hp->n_vocab * r->hp->n_embd * (r->hp->tied ? 1 : 2);
}

static double head_solver_flops(const acc_run *r)
{
    return r->hp->n_vocab * square(r->hp->n_embd) * 9;
}

/* Both packed matrices, and what the solver takes. */
static void estimate_head(const acc_run *r, estimate *e)
{
    const acc_layer_data d = acc_run_head_sizes(r);
    const double packed = (double)(d.bytes[0] + d.bytes[1]);
    const bool open = acc_run_chooses_head(r) && !r->mixed; /* then it may be solved */
    const bool solved = acc_run_solves_head(r, open ? ACC_FMT_W4 : r->head);
    e->head = packed + (solved ? square(r->hp->n_embd) * 32 : 0);
    e->head_seconds = solved && !r->head_done ? head_solver_flops(r) / flops_per_second(r) : 0;
    e->output += packed;
}

static estimate estimate_run(const acc_run *r)
{
    const acc_hparams *hp = r->hp;
    const double tokens = (double)r->cal.n_seqs * r->cal.seq_len, params = acc_run_linear_weights(r) / hp->n_layers;
    const double inputs[4] = {hp->n_embd, (double)hp->n_heads * hp->head_dim, hp->n_embd, hp->n_ff};
    const double seq = (double)r->cal.seq_len * 4;
    estimate e = {.hidden = tokens * hp->n_embd * 4, .layer = params * 4};
    double flops, widest = 0, hessian_flops = 0, solver_flops = 0;
    for (int i = 0; i < 4; i++) {
        e.hessians += square(inputs[i]) * 12;
        hessian_flops += square(inputs[i]) * tokens;
        widest = inputs[i] > widest ? inputs[i] : widest;
    }
    e.hessians += seq * (widest + 2 * hp->n_embd);
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        const acc_weight *w = &r->plan.linear[i];
        double solver = (double)w->rows * w->cols * 12 + (r->obs ? square(w->cols) * 20 : 0);
        e.solver = solver > e.solver ? solver : e.solver;
        solver_flops += r->obs ? (double)w->rows * square(w->cols) * 9 : 0;
        e.output += (double)acc_weight_bytes(w) * hp->n_layers;
    }
    flops = tokens * (2 * params + 2 * (double)r->cal.seq_len * hp->n_heads * hp->head_dim) * 2;
    e.seconds = (flops + hessian_flops + solver_flops) * hp->n_layers / flops_per_second(r);
    estimate_head(r, &e);
    if (r->start_file) { /* its states are passed through, if at all */
        const bool kept = acc_run_keeps_head(r) || r->head_done;
        e.seconds = kept ? 0 : flops / 2 * hp->n_layers / flops_per_second(r);
        e.head_seconds = kept ? 0 : e.head_seconds;
    }
    if (acc_run_has_target(r) && !r->mixed) {
        e.sense = acc_run_sense_bytes(r);
        /* All options but W8, which is rounded, are solved. */
        e.sense_seconds =
            (acc_run_sense_flops(r) + (ACC_MIX_OPTIONS - 1) * solver_flops * hp->n_layers) / flops_per_second(r);
        if (acc_run_chooses_head(r)) e.sense_seconds += head_solver_flops(r) / flops_per_second(r);
    }
    e.work_folder = e.output + e.hidden;
    if (r->p->recover_tokens) e.work_folder += e.output + CHECKPOINT_BYTES * trained_weights(r);
    return e;
}

/* Teacher forward, student forward and backward: 8 operations for each weight and token, the head included; and all
 * that is not a product, measured (docs/quality.md, "Recovery"). */
static double recover_seconds(const acc_run *r, double rate)
{
    const acc_hparams *hp = r->hp;
    const double weights =
        acc_run_linear_weights(r) + (double)hp->n_vocab * hp->n_embd; /* an embedding multiplies nothing */
    const double per_token = rate > 0 ? 8 * weights / rate : 0, rest = OTHER_WORK / acc_pool_size(r->rt->pool);
    return (double)r->p->recover_tokens * (per_token + weights * rest);
}

static void warn_disk(const acc_run *r, double need)
{
    struct statvfs v;
    if (statvfs(r->work.dir, &v) != 0) return;
    need -= (double)acc_work_bytes(&r->work); /* an interrupted run's */
    double have = (double)v.f_bavail * (double)v.f_frsize;
    if (have < need)
        acc_run_note(r, "warning: %.0f MB are free where the output goes; about %.0f MB will be needed", have / 1e6,
                     need / 1e6);
}

const char *acc_run_method(const acc_run *r)
{
    if (r->start_file) return r->p->start_path;
    return r->obs ? "obs" : "rtn";
}

void acc_run_announce(acc_run *r)
{
    estimate e = estimate_run(r);
    const double rate = r->p->recover_tokens ? acc_gemm_rate(r->rt->pool, true) : 0,
                 recovery = recover_seconds(r, rate);
    const double rest = r->start_file ? 1 : 1 - (double)r->resumed / r->hp->n_layers;
    const double total = e.sense_seconds + e.seconds + e.head_seconds + recovery;
    r->layers_begin = 0.98 * e.sense_seconds / total;
    r->layers_end = 0.98 * (e.sense_seconds + e.seconds) / total;
    r->head_end = 0.98 * (e.sense_seconds + e.seconds + e.head_seconds) / total;
    const bool mixed = acc_run_has_target(r) || r->mixed;
    char groups[32] = "";
    if (!mixed) (void)snprintf(groups, sizeof groups, ", groups of %u", r->plan.linear[0].group);
    acc_run_note(r, "%s: %u layers, %.1f M linear weights -> %s (%s%s), embedding and head %s", r->hp->name,
                 r->hp->n_layers, acc_run_linear_weights(r) / 1e6,
                 mixed ? "mixed formats" : acc_format_name(r->weights), acc_run_method(r), groups,
                 acc_run_chooses_head(r) && !r->mixed ? "by size" : acc_format_name(r->head));
    acc_run_note(r, "calibration: %u sequences of %u tokens (%s, %llu tokens in all)", r->cal.n_seqs, r->cal.seq_len,
                 r->p->calib_path ? r->p->calib_path : "built-in text", (unsigned long long)r->cal.text_tokens);
    const double layer = e.layer + e.hessians + e.solver;
    acc_run_note(
        r,
        "memory: about %.0f MB%s (tokens' states %.0f; a layer's weights %.0f, Hessians %.0f, solver %.0f; behind "
        "the layers embedding and lm_head %.0f)",
        (e.hidden + fmax(layer, e.head)) / 1e6 + 50, r->p->use_mmap ? "" : " besides the source file", e.hidden / 1e6,
        e.layer / 1e6, e.hessians / 1e6, e.solver / 1e6, e.head / 1e6);
    if (e.sense > 0) acc_run_note(r, "memory: about %.0f MB while the sensitivities are measured", e.sense / 1e6 + 50);
    acc_run_note(r, "disk: output %.1f MB, work folder up to %.1f MB while it runs; time: very roughly %.0f s",
                 e.output / 1e6, e.work_folder / 1e6, e.sense_seconds + e.seconds * rest + e.head_seconds + 1);
    if (r->p->recover_tokens)
        acc_run_note(r,
                     "recovery: %llu tokens of distillation, about %.0f MB of memory; time: very roughly %.1f h, with "
                     "products in %s at %.0f GFLOP/s",
                     (unsigned long long)r->p->recover_tokens, (double)acc_run_recover_bytes(r) / 1e6, recovery / 3600,
                     acc_gemm_kind(), rate / 1e9);
    if (r->resumed) acc_run_note(r, "resuming: %u of %u layers are done", r->resumed, r->hp->n_layers);
    if ((uint64_t)r->cal.n_seqs * r->cal.seq_len < r->calib_tokens * 3ull / 4)
        acc_run_note(r, "warning: the calibration text gives fewer tokens than the %u asked for", r->calib_tokens);
    if ((r->weights == ACC_FMT_W2S || r->weights == ACC_FMT_W2) && !r->p->recover_tokens)
        acc_run_note(r, "warning: one-shot %s does not give usable text; use w4, or --recover full",
                     acc_format_name(r->weights));
    warn_disk(r, e.output + e.work_folder);
}
