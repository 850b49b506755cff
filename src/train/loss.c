/* The loss at the head: Kullback-Leibler divergence from a teacher (Hinton et al. 2015, at temperature 1), or cross
 * entropy; logits are made and used in blocks of positions. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "gemm/gemm.h"
#include "reference/internal.h"
#include "train/internal.h"

accllm_status acc_loss_work_create(acc_loss_work *w, const acc_hparams *hp, accllm_error *err)
{
    *w = (acc_loss_work){0};
    const size_t logits = (size_t)hp->n_vocab * sizeof(float);
    accllm_status s = acc_alloc((void **)&w->student, ACC_LOSS_ROWS, logits, "logits", err);
    if (s == ACCLLM_OK) s = acc_alloc((void **)&w->teacher, ACC_LOSS_ROWS, logits, "logits", err);
    if (s == ACCLLM_OK) s = acc_alloc((void **)&w->row_loss, ACC_LOSS_ROWS, sizeof *w->row_loss, "losses", err);
    if (s == ACCLLM_OK)
        s = acc_alloc((void **)&w->grad, hp->n_vocab, sizeof(float) * hp->n_embd, "the head's gradient", err);
    if (s != ACCLLM_OK) acc_loss_work_free(w);
    return s;
}

void acc_loss_work_free(acc_loss_work *w)
{
    acc_free(w->student);
    acc_free(w->teacher);
    acc_free(w->grad);
    acc_free(w->row_loss);
    *w = (acc_loss_work){0};
}

typedef struct rows_job {
    acc_loss_work *w;
    const int32_t *targets;
    uint32_t n, n_vocab;
    float weight; /* of one position in the mean */
} rows_job;

/* p = softmax(p); returns log of the sum of exp(p). */
static double softmax(float *p, uint32_t n)
{
    const float max = acc_ref_max(p, n, -INFINITY), sum = acc_ref_exp_row(p, n, max), inverse = 1 / sum;
    for (uint32_t i = 0; i < n; i++) p[i] *= inverse;
    return (double)max + log((double)sum);
}

#define PART 512 /* values of one short float sum */

/* sum p (log p - log q): with the logits a of p and b of q that is sum p (a - b) - log Z_a + log Z_b. student becomes
 * the gradient by its logits, teacher is consumed. */
static double kl_row(float *student, float *teacher, uint32_t n, float weight)
{
    const float max = acc_ref_max(teacher, n, -INFINITY);
    float difference[PART];
    double sum = 0, gap = 0;
    for (uint32_t at = 0; at < n; at += PART) {
        const uint32_t here = n - at < PART ? n - at : PART;
        float *p = teacher + at, part = 0;
        for (uint32_t i = 0; i < here; i++) difference[i] = p[i] - student[at + i];
        sum += (double)acc_ref_exp_row(p, here, max);
        for (uint32_t i = 0; i < here; i++) part += p[i] * difference[i];
        gap += (double)part;
    }
    const double log_student = softmax(student, n);
    const float inverse = (float)(1 / sum);
    for (uint32_t i = 0; i < n; i++) student[i] = (student[i] - teacher[i] * inverse) * weight;
    return gap / sum - ((double)max + log(sum)) + log_student;
}

static double target_row(float *student, int32_t target, uint32_t n, float weight)
{
    const float logit = student[target];
    const double log_sum = softmax(student, n);
    for (uint32_t i = 0; i < n; i++) student[i] *= weight;
    student[target] -= weight;
    return log_sum - (double)logit;
}

static void loss_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    rows_job *j = ctx;
    uint32_t begin, end;
    acc_share(j->n, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        float *student = j->w->student + (size_t)i * j->n_vocab;
        if (j->targets && j->targets[i] < 0) {
            memset(student, 0, j->n_vocab * sizeof *student);
            j->w->row_loss[i] = 0;
        } else if (j->targets) {
            j->w->row_loss[i] = target_row(student, j->targets[i], j->n_vocab, j->weight);
        } else {
            j->w->row_loss[i] = kl_row(student, j->w->teacher + (size_t)i * j->n_vocab, j->n_vocab, j->weight);
        }
    }
}

static void logits(accllm_runtime *rt, const acc_hparams *hp, const float *h, const float *head, uint32_t n, float *out)
{
    const acc_gemm g = {.trans_b = true,
                        .m = n,
                        .n = hp->n_vocab,
                        .k = hp->n_embd,
                        .alpha = 1,
                        .a = h,
                        .b = head,
                        .c = out,
                        .lda = hp->n_embd,
                        .ldb = hp->n_embd,
                        .ldc = hp->n_vocab};
    acc_gemm_run(rt->pool, &g);
}

/* Gradients of one block of rows: by the inputs, and added up by the head. */
static void block_back(accllm_runtime *rt, const acc_hparams *hp, acc_loss_work *w, const acc_head_batch *b,
                       uint32_t row, uint32_t n)
{
    const uint32_t d = hp->n_embd;
    acc_gemm_run(rt->pool, &(acc_gemm){.m = n,
                                       .n = d,
                                       .k = hp->n_vocab,
                                       .alpha = 1,
                                       .a = w->student,
                                       .b = b->head,
                                       .c = b->dh + (size_t)row * d,
                                       .lda = hp->n_vocab,
                                       .ldb = d,
                                       .ldc = d});
    acc_gemm_run(rt->pool, &(acc_gemm){.trans_a = true,
                                       .m = hp->n_vocab,
                                       .n = d,
                                       .k = n,
                                       .alpha = 1,
                                       .beta = row ? 1.0f : 0.0f,
                                       .a = w->student,
                                       .b = b->h + (size_t)row * d,
                                       .c = w->grad,
                                       .lda = hp->n_vocab,
                                       .ldb = d,
                                       .ldc = d});
}

double acc_head_loss(accllm_runtime *rt, const acc_hparams *hp, acc_loss_work *w, const acc_head_batch *b)
{
    uint32_t counted = b->n;
    double sum = 0;
    for (uint32_t i = 0; b->targets && i < b->n; i++) counted -= b->targets[i] < 0;
    if (counted == 0) counted = 1;
    for (uint32_t row = 0; row < b->n; row += ACC_LOSS_ROWS) {
        const uint32_t n = b->n - row < ACC_LOSS_ROWS ? b->n - row : ACC_LOSS_ROWS;
        const size_t at = (size_t)row * hp->n_embd;
        rows_job j = {.w = w, .n = n, .n_vocab = hp->n_vocab, .weight = 1 / (float)counted};
        if (b->targets) j.targets = b->targets + row;
        logits(rt, hp, b->h + at, b->head, n, w->student);
        if (!b->targets) logits(rt, hp, b->teacher_h + at, b->teacher_head, n, w->teacher);
        acc_pool_run(rt->pool, loss_worker, &j);
        for (uint32_t i = 0; i < n; i++) sum += w->row_loss[i];
        if (b->dh) block_back(rt, hp, w, b, row, n);
    }
    return sum / counted;
}
