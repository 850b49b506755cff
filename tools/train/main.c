/* Trains a small model from scratch: options, texts, the loop of src/train, the file. */
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/runtime.h"
#include "train.h"

/* A signal handler can only reach the process's own state. */
static _Atomic(accllm_runtime *) watched;

static void on_signal(int number)
{
    (void)number;
    accllm_runtime *rt = atomic_load(&watched);
    if (!rt || accllm_runtime_aborted(rt)) _exit(TRAIN_INTERRUPTED);
    accllm_runtime_abort(rt);
}

static void watch(accllm_runtime *rt)
{
    struct sigaction a = {.sa_handler = on_signal};
    (void)sigemptyset(&a.sa_mask);
    atomic_store(&watched, rt);
    (void)sigaction(SIGINT, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
}

typedef struct job {
    train_options o;
    accllm_runtime *rt;
    train_vocab vocab;
    accllm_tokenizer *tok;
    train_text text, held_out;
    acc_source *source;
    acc_train_model model;
    train_progress progress;
    char *checkpoint;
    bool had_checkpoint;
} job;

static accllm_status prepare_text(job *j, accllm_error *err)
{
    j->text.seq_len = j->held_out.seq_len = (uint32_t)j->o.context;
    for (int i = 0; i < j->o.n_texts; i++) ACC_TRY(train_text_add(&j->text, j->tok, j->o.text[i], err));
    ACC_TRY(train_text_add(&j->held_out, j->tok, j->o.held_out, err));
    train_text_close(&j->text, j->tok, UINT32_MAX);
    const size_t whole = j->held_out.used / j->held_out.seq_len;
    train_text_close(&j->held_out, j->tok, (uint32_t)(whole - whole % (size_t)j->o.batch));
    if (j->text.n_seqs == 0) return acc_fail(err, ACCLLM_E_ARG, "the texts do not fill one sequence");
    if (j->held_out.n_seqs == 0)
        return acc_fail(err, ACCLLM_E_ARG, "%s does not fill one batch of %lld sequences", j->o.held_out,
                        (long long)j->o.batch);
    return ACCLLM_OK;
}

/* Matrices learn at one rate, norms at another. */
static void set_rates(job *j)
{
    for (uint32_t i = 0; i < j->model.n_tensors; i++) {
        acc_train_tensor *t = &j->model.tensors[i];
        t->rate = (float)(t->shape.rows == 1 ? j->o.norm_rate : j->o.rate);
    }
}

static accllm_status prepare(job *j, accllm_error *err)
{
    accllm_runtime_params rp;
    accllm_runtime_params_init(&rp);
    rp.n_threads = (uint32_t)j->o.threads;
    if (asprintf(&j->checkpoint, "%s.checkpoint", j->o.out) < 0) {
        j->checkpoint = NULL;
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory");
    }
    j->had_checkpoint = access(j->checkpoint, F_OK) == 0;
    if (j->had_checkpoint && !j->o.resume)
        return acc_fail(err, ACCLLM_E_ARG, "%s is there: --resume goes on from it; remove it to start anew",
                        j->checkpoint);
    ACC_TRY(train_vocab_read(&j->vocab, j->o.vocab, err));
    ACC_TRY(train_vocab_tokenizer(&j->vocab, &j->tok, err));
    ACC_TRY(prepare_text(j, err));
    ACC_TRY(train_source_create(&j->source, &j->o, j->vocab.n, err));
    ACC_TRY(acc_train_model_create(&j->model, j->source, NULL, NULL, NULL, true, err));
    ACC_TRY(acc_train_model_load(&j->model, j->source, err));
    set_rates(j);
    return accllm_runtime_create(&j->rt, &rp, err);
}

/* Of all that the weights depend on. */
static uint64_t config_hash(const job *j, uint64_t steps)
{
    const train_options *o = &j->o;
    const int64_t whole[] = {o->dim,    o->layers, o->heads, o->kv_heads,    o->head_dim,
                             o->ff,     o->batch,  o->seed,  (int64_t)steps, accllm_runtime_threads(j->rt),
                             o->context};
    const double real[] = {o->rate, o->norm_rate, o->spread};
    uint64_t h = acc_fnv1a(ACC_FNV_START, whole, sizeof whole);
    h = acc_fnv1a(h, real, sizeof real);
    h = acc_fnv1a(h, accllm_version(), strlen(accllm_version()));
    h = acc_fnv1a(h, &j->vocab.n, sizeof j->vocab.n);
    h = acc_fnv1a(h, j->text.ids, (size_t)j->text.n_seqs * j->text.seq_len * sizeof *j->text.ids);
    return acc_fnv1a(h, j->held_out.ids, (size_t)j->held_out.n_seqs * j->held_out.seq_len * sizeof *j->held_out.ids);
}

static void on_step(void *user, uint64_t step, double loss, double held_out)
{
    train_progress_step(&((job *)user)->progress, step, loss, held_out);
}

static accllm_status on_best(void *user, uint64_t step, double held_out, accllm_error *err)
{
    job *j = user;
    (void)held_out;
    if (step == 0 && j->had_checkpoint)
        return acc_fail(err, ACCLLM_E_ARG,
                        "%s is damaged or belongs to other options or texts; remove it to start anew", j->checkpoint);
    return train_model_write(&j->model, &j->vocab, &j->o, err);
}

static void announce(const job *j, uint64_t steps)
{
    uint64_t params = 0;
    for (uint32_t i = 0; i < j->model.n_tensors; i++) params += acc_train_size(&j->model.tensors[i]);
    const uint64_t scratch = acc_trainer_bytes(&j->model.hp, (uint32_t)j->o.batch, (uint32_t)j->o.context, true, true,
                                               accllm_runtime_threads(j->rt));
    (void)fprintf(stderr,
                  "train: %llu parameters, %llu steps of %lld x %lld tokens, %u sequences of text, %u held out; "
                  "about %llu MB\n",
                  (unsigned long long)params, (unsigned long long)steps, (long long)j->o.batch, (long long)j->o.context,
                  j->text.n_seqs, j->held_out.n_seqs,
                  (unsigned long long)((scratch + params * 16 + j->text.cap * sizeof *j->text.ids) >> 20));
}

static accllm_status train(job *j, acc_train_result *r, accllm_error *err)
{
    const uint64_t step = (uint64_t)(j->o.batch * j->o.context);
    const uint64_t steps = ((uint64_t)j->o.tokens + step - 1) / step;
    acc_train_params p = {.ids = j->text.ids,
                          .n_seqs = j->text.n_seqs,
                          .seq_len = j->text.seq_len,
                          .held_out = j->held_out.ids,
                          .n_held_out = j->held_out.n_seqs,
                          .batch = (uint32_t)j->o.batch,
                          .steps = steps,
                          .keep_all = true,
                          .bf16 = true,
                          .rules = {.window = (uint32_t)j->o.context},
                          .seed = (uint64_t)j->o.seed,
                          .checkpoint = j->checkpoint,
                          .config_hash = config_hash(j, steps),
                          .checkpoint_seconds = 60.0 * (double)j->o.minutes,
                          .best = on_best,
                          .progress = on_step,
                          .user = j};
    const double predicted = (double)j->held_out.n_seqs * (j->held_out.seq_len - 1);
    j->progress = (train_progress){.terminal = isatty(STDERR_FILENO) == 1,
                                   .steps = steps,
                                   .tokens_per_step = step,
                                   .bytes_per_token = (double)j->held_out.bytes / predicted,
                                   .held_out = -1};
    announce(j, steps);
    return acc_train_run(j->rt, &j->model, &p, r, err);
}

static int report(job *j, const acc_train_result *r)
{
    if (access(j->o.out, R_OK) != 0) {
        (void)fprintf(stderr, "train: %s, written at step %llu, is gone\n", j->o.out, (unsigned long long)r->best_step);
        return TRAIN_FAILED;
    }
    (void)printf("%s: step %llu of %llu, held-out loss %.4f, perplexity %.3f, %.4f nats per byte\n", j->o.out,
                 (unsigned long long)r->best_step, (unsigned long long)r->steps, r->best.nll, exp(r->best.nll),
                 r->best.nll / j->progress.bytes_per_token);
    (void)unlink(j->checkpoint);
    return fflush(stdout) == 0 ? TRAIN_OK : TRAIN_FAILED;
}

static void release(job *j)
{
    atomic_store(&watched, NULL);
    train_vocab_free(&j->vocab);
    accllm_tokenizer_free(&j->tok);
    train_text_free(&j->text);
    train_text_free(&j->held_out);
    acc_train_model_free(&j->model);
    if (j->source) j->source->close(j->source);
    accllm_runtime_free(&j->rt);
    free(j->checkpoint);
}

int main(int argc, char **argv)
{
    job j = {0};
    acc_train_result r = {0};
    accllm_error err = {0};
    int rc = train_options_parse(&j.o, argc, argv);
    if (rc != TRAIN_OK) return rc;
    if (j.o.help) {
        train_help();
        return fflush(stdout) == 0 ? TRAIN_OK : TRAIN_FAILED;
    }
    accllm_status s = prepare(&j, &err);
    if (s == ACCLLM_OK) {
        watch(j.rt);
        s = train(&j, &r, &err);
    }
    if (s == ACCLLM_E_CANCELLED) {
        (void)fprintf(stderr, "\ntrain: interrupted at step %llu; the same command with --resume goes on\n",
                      (unsigned long long)r.steps);
        rc = TRAIN_INTERRUPTED;
    } else if (s != ACCLLM_OK) {
        (void)fprintf(stderr, "train: %s\n", err.text);
        rc = TRAIN_FAILED;
    } else {
        rc = report(&j, &r);
    }
    acc_free(r.history);
    release(&j);
    return rc;
}
