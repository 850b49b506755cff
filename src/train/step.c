/* One batch: embedding, blocks, head, and the way back. */
#include <string.h>

#include "core/memory.h"
#include "train/internal.h"

struct acc_trainer {
    accllm_runtime *rt;
    acc_hparams hp;
    uint32_t n_seqs, seq_len, n;
    acc_gemm_bf16 *bf16;
    acc_tape *tape;
    acc_loss_work loss;
    float *x, *h, *teacher_h, *dh, *dx; /* [n][n_embd] */
    float *gain, *inverse;              /* [n_embd], [n] */
    int32_t *targets;                   /* [n] */
};

/* Floats of the largest operand of a product. */
static size_t operand(const acc_hparams *hp, uint32_t n)
{
    const size_t rows = n < ACC_LOSS_ROWS ? n : ACC_LOSS_ROWS, wide = rows > hp->n_embd ? rows : hp->n_embd;
    const size_t head = hp->n_vocab * wide, tape = acc_tape_operand(hp, n);
    return head > tape ? head : tape;
}

static accllm_status take_all(acc_trainer *t, bool keep_all, bool bf16, accllm_error *err)
{
    const size_t row = t->hp.n_embd * sizeof(float);
    float **const rows[] = {&t->x, &t->h, &t->teacher_h, &t->dh, &t->dx};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ACC_TRY(acc_alloc((void **)rows[i], t->n, row, "a batch's states", err));
    ACC_TRY(acc_alloc((void **)&t->gain, t->hp.n_embd, sizeof *t->gain, "a batch's states", err));
    ACC_TRY(acc_alloc((void **)&t->inverse, t->n, sizeof *t->inverse, "a batch's states", err));
    ACC_TRY(acc_alloc((void **)&t->targets, t->n, sizeof *t->targets, "a batch's targets", err));
    if (bf16) ACC_TRY(acc_gemm_bf16_create(&t->bf16, t->rt->pool, operand(&t->hp, t->n), err));
    ACC_TRY(acc_loss_work_create(&t->loss, &t->hp, t->bf16, err));
    return acc_tape_create(&t->tape, t->rt, &t->hp, t->n_seqs, t->seq_len, keep_all, t->bf16, err);
}

accllm_status acc_trainer_create(acc_trainer **out, accllm_runtime *rt, const acc_hparams *hp, uint32_t n_seqs,
                                 uint32_t seq_len, bool keep_all, bool bf16, accllm_error *err)
{
    *out = NULL;
    acc_trainer *t = acc_calloc(1, sizeof *t);
    if (!t) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: training");
    *t = (acc_trainer){.rt = rt, .hp = *hp, .n_seqs = n_seqs, .seq_len = seq_len, .n = n_seqs * seq_len};
    accllm_status s = take_all(t, keep_all, bf16, err);
    if (s != ACCLLM_OK)
        acc_trainer_free(&t);
    else
        *out = t;
    return s;
}

void acc_trainer_free(acc_trainer **trainer)
{
    acc_trainer *t = *trainer;
    if (!t) return;
    void *all[] = {t->x, t->h, t->teacher_h, t->dh, t->dx, t->gain, t->inverse, t->targets};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) acc_free(all[i]);
    acc_loss_work_free(&t->loss);
    acc_tape_free(&t->tape);
    acc_gemm_bf16_free(&t->bf16);
    acc_free(t);
    *trainer = NULL;
}

uint64_t acc_trainer_bytes(const acc_hparams *hp, uint32_t n_seqs, uint32_t seq_len, bool keep_all, bool bf16,
                           uint32_t n_threads)
{
    const uint64_t head = (uint64_t)hp->n_vocab * hp->n_embd * 4, logits = 8ull * ACC_LOSS_ROWS * hp->n_vocab;
    const uint64_t operands = bf16 ? acc_gemm_bf16_bytes(operand(hp, n_seqs * seq_len)) : 0;
    return head + logits + operands + acc_tape_bytes(hp, n_seqs, seq_len, keep_all, n_threads);
}

static const float *value(const acc_train_model *m, acc_tensor_id id)
{
    return acc_train_find(m, id, 0)->value;
}

static const float *head(const acc_train_model *m)
{
    return value(m, m->hp.tied ? ACC_T_TOKEN_EMBD : ACC_T_OUTPUT);
}

/* States after all layers in t->x, inputs of the head in h. */
static accllm_status forward(acc_trainer *t, const acc_train_model *m, const acc_tape_rules *rules, const int32_t *ids,
                             bool keep, float *h, accllm_error *err)
{
    const size_t d = t->hp.n_embd;
    const float *embd = value(m, ACC_T_TOKEN_EMBD);
    for (uint32_t i = 0; i < t->n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= t->hp.n_vocab)
            return acc_fail(err, ACCLLM_E_ARG, "token %d: the vocabulary has %u", ids[i], t->hp.n_vocab);
        const float *row = embd + (size_t)ids[i] * d;
        for (size_t c = 0; c < d; c++) t->x[i * d + c] = row[c] * m->embd_scale[c];
    }
    ACC_TRY(acc_tape_forward(t->tape, m->layers, rules, t->x, keep, err));
    if (!acc_tape_norm(t->rt, t->x, value(m, ACC_T_OUTPUT_NORM), t->n, t->hp.n_embd, t->hp.norm_eps, rules->a8, h))
        return acc_fail(err, ACCLLM_E_NUMERIC, "the residual is not a number or infinite");
    return ACCLLM_OK;
}

typedef struct scatter_job {
    const acc_trainer *t;
    const int32_t *ids;
    const float *scale;
    float *grad;
} scatter_job;

/* Threads share the columns, so that rows used twice add up in one order. */
static void scatter_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    scatter_job *j = ctx;
    const size_t d = j->t->hp.n_embd;
    uint32_t begin, end;
    acc_share((uint32_t)d, worker, n_workers, &begin, &end);
    for (uint32_t i = 0; i < j->t->n; i++) {
        float *g = j->grad + (size_t)j->ids[i] * d;
        for (uint32_t c = begin; c < end; c++) g[c] += j->t->dx[i * d + c] * j->scale[c];
    }
}

/* From the head's inputs to the first layer's; t->gain: that by the output norm. */
static accllm_status backward_layers(acc_trainer *t, const acc_train_model *m, const acc_tape_rules *rules,
                                     const acc_tape_sink *sink, accllm_error *err)
{
    const acc_hparams *hp = &t->hp;
    memset(t->dx, 0, (size_t)t->n * hp->n_embd * sizeof *t->dx);
    acc_tape_norm_back(t->rt, t->x, value(m, ACC_T_OUTPUT_NORM), t->dh, t->n, hp->n_embd, hp->norm_eps, t->dx, t->gain,
                       t->inverse);
    if (sink->gradient) sink->gradient(sink->user, ACC_T_OUTPUT_NORM, 0, t->gain);
    return acc_tape_backward(t->tape, m->layers, rules, t->dx, sink, err);
}

static accllm_status backward(acc_trainer *t, const acc_train_model *m, const acc_tape_rules *rules, const int32_t *ids,
                              acc_tape_gradient *sink, void *user, accllm_error *err)
{
    const acc_hparams *hp = &t->hp;
    ACC_TRY(backward_layers(t, m, rules, &(acc_tape_sink){.gradient = sink, .user = user}, err));
    if (!hp->tied) {
        sink(user, ACC_T_OUTPUT, 0, t->loss.grad);
        memset(t->loss.grad, 0, (size_t)hp->n_vocab * hp->n_embd * sizeof *t->loss.grad);
    }
    scatter_job j = {t, ids, m->embd_scale, t->loss.grad};
    acc_pool_run(t->rt->pool, scatter_worker, &j);
    sink(user, ACC_T_TOKEN_EMBD, 0, t->loss.grad);
    return ACCLLM_OK;
}

accllm_status acc_trainer_batch(acc_trainer *t, const acc_train_model *student, const acc_tape_rules *rules,
                                const acc_train_model *teacher, const int32_t *ids, acc_head_result *result,
                                acc_tape_gradient *sink, void *user, accllm_error *err)
{
    acc_head_batch b = {.n = t->n, .h = t->h, .head = head(student), .dh = sink ? t->dh : NULL};
    if (teacher) {
        const acc_tape_rules plain = {.sinks = rules->sinks, .window = rules->window};
        ACC_TRY(forward(t, teacher, &plain, ids, false, t->teacher_h, err));
        b.teacher_h = t->teacher_h;
        b.teacher_head = head(teacher);
    }
    for (uint32_t i = 0; i < t->n; i++) t->targets[i] = (i + 1) % t->seq_len ? ids[i + 1] : -1;
    b.targets = t->targets;
    ACC_TRY(forward(t, student, rules, ids, sink != NULL, t->h, err));
    *result = acc_head_loss(t->rt, &t->hp, &t->loss, &b);
    return sink ? backward(t, student, rules, ids, sink, user, err) : ACCLLM_OK;
}

accllm_status acc_trainer_fisher(acc_trainer *t, const acc_train_model *m, const acc_tape_rules *rules,
                                 const int32_t *ids, uint64_t seed, acc_tape_output *sink, void *user,
                                 accllm_error *err)
{
    const acc_head_batch b = {.n = t->n, .h = t->h, .head = head(m), .dh = t->dh, .fisher = true, .seed = seed};
    ACC_TRY(forward(t, m, rules, ids, true, t->h, err));
    (void)acc_head_loss(t->rt, &t->hp, &t->loss, &b);
    return backward_layers(t, m, rules, &(acc_tape_sink){.output = sink, .user = user}, err);
}
