/* The loss at the head: Kullback-Leibler divergence from a teacher (Hinton et al. 2015, at temperature 1), or cross
 * entropy; logits are made and used in blocks of positions. */
#include <math.h>
#include <string.h>

#include "core/clones.h"
#include "core/hash.h"
#include "core/memory.h"
#include "gemm/gemm.h"
#include "reference/internal.h"
#include "train/internal.h"

accllm_status acc_loss_work_create(acc_loss_work *w, const acc_hparams *hp, acc_gemm_bf16 *bf16, accllm_error *err)
{
    *w = (acc_loss_work){.bf16 = bf16};
    const size_t logits = (size_t)hp->n_vocab * sizeof(float);
    accllm_status s = acc_alloc((void **)&w->student, ACC_LOSS_ROWS, logits, "logits", err);
    if (s == ACCLLM_OK) s = acc_alloc((void **)&w->teacher, ACC_LOSS_ROWS, logits, "logits", err);
    if (s == ACCLLM_OK) s = acc_alloc((void **)&w->row, ACC_LOSS_ROWS, sizeof *w->row, "losses", err);
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
    acc_free(w->row);
    *w = (acc_loss_work){0};
}

typedef struct rows_job {
    acc_loss_work *w;
    const acc_head_batch *b;
    uint32_t row, n, n_vocab; /* the block's first row, and rows */
    float weight;             /* of one position in the mean */
} rows_job;

/* inverse times p is to be the softmax of p as it was; returns log of the sum of exp(p). */
static double exponentials(float *p, uint32_t n, float *inverse)
{
    const float max = acc_ref_max(p, n, -INFINITY), sum = acc_ref_exp_row(p, n, max);
    *inverse = 1 / sum;
    return (double)max + log((double)sum);
}

#define PART 512 /* values of one short float sum */

/* sum p (log p - log q): with the logits a of p and b of q that is sum p (a - b) - log Z_a + log Z_b. student becomes
 * the gradient by its logits, teacher is consumed. target < 0: unknown. */
ACC_CLONES static acc_head_result kl_row(float *student, float *teacher, uint32_t n, int32_t target, float weight)
{
    const float max = acc_ref_max(teacher, n, -INFINITY);
    float difference[PART];
    acc_head_result r = {0};
    double sum = 0, gap = 0;
    if (target >= 0) r = (acc_head_result){.nll = -(double)student[target], .teacher_nll = -(double)teacher[target]};
    for (uint32_t at = 0; at < n; at += PART) {
        const uint32_t here = n - at < PART ? n - at : PART;
        float *p = teacher + at;
        for (uint32_t i = 0; i < here; i++) difference[i] = p[i] - student[at + i];
        sum += (double)acc_ref_exp_row(p, here, max);
        gap += (double)acc_ref_dot(p, difference, here);
    }
    float scale;
    const double log_teacher = (double)max + log(sum), log_student = exponentials(student, n, &scale);
    const float teacher_scale = (float)(1 / sum) * weight;
    scale *= weight;
    for (uint32_t i = 0; i < n; i++) student[i] = student[i] * scale - teacher[i] * teacher_scale;
    r.loss = gap / sum - log_teacher + log_student;
    if (target >= 0) {
        r.nll += log_student;
        r.teacher_nll += log_teacher;
    }
    return r;
}

ACC_CLONES static acc_head_result target_row(float *student, int32_t target, uint32_t n, float weight)
{
    if (target < 0) { /* does not count */
        memset(student, 0, n * sizeof *student);
        return (acc_head_result){0};
    }
    const float logit = student[target];
    float scale;
    const double nll = exponentials(student, n, &scale) - (double)logit;
    scale *= weight;
    for (uint32_t i = 0; i < n; i++) student[i] *= scale;
    student[target] -= weight;
    return (acc_head_result){.loss = nll, .nll = nll};
}

/* With p = softmax(student) and signs z at even odds: sqrt(p) z - p sum(sqrt(p) z), whose mean square is diag(p) - p
 * p^T. The gradient of a token drawn from p has the same, but is mostly nothing and now and then large. root [n]:
 * scratch. */
ACC_CLONES static void fisher_row(float *student, float *root, uint32_t n, uint64_t key)
{
    double sum = 0;
    float scale;
    (void)exponentials(student, n, &scale);
    for (uint32_t i = 0; i < n; i++) {
        student[i] *= scale;
        root[i] = sqrtf(student[i]);
    }
    for (uint32_t at = 0; at < n; at += 64) {
        const uint64_t signs = acc_random(key, at);
        for (uint32_t i = at; i < n && i < at + 64; i++) {
            if (signs >> (i - at) & 1) root[i] = -root[i];
            sum += (double)root[i];
        }
    }
    for (uint32_t i = 0; i < n; i++) student[i] = root[i] - student[i] * (float)sum;
}

static void loss_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    rows_job *j = ctx;
    const acc_head_batch *b = j->b;
    uint32_t begin, end;
    acc_share(j->n, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t row = j->row + i, n = j->n_vocab;
        float *student = j->w->student + (size_t)i * n, *teacher = j->w->teacher + (size_t)i * n;
        j->w->row[i] = (acc_head_result){0};
        if (b->fisher)
            fisher_row(student, teacher, n, acc_random(b->seed, row));
        else if (b->teacher_h)
            j->w->row[i] = kl_row(student, teacher, n, b->targets[row], j->weight);
        else
            j->w->row[i] = target_row(student, b->targets[row], n, j->weight);
    }
}

static void logits(accllm_runtime *rt, const acc_hparams *hp, acc_gemm_bf16 *bf16, const float *h, const float *head,
                   uint32_t n, float *out)
{
    acc_gemm g = acc_gemm_dense(n, hp->n_vocab, hp->n_embd, h, false, head, true, out, false);
    g.bf16 = bf16;
    acc_gemm_run(rt->pool, &g);
}

/* Gradients of one block of rows: by the inputs, and added up by the head. */
static void block_back(accllm_runtime *rt, const acc_hparams *hp, acc_loss_work *w, const acc_head_batch *b,
                       uint32_t row, uint32_t n)
{
    const uint32_t d = hp->n_embd, vocab = hp->n_vocab;
    const size_t at = (size_t)row * d;
    acc_gemm by_h = acc_gemm_dense(n, d, vocab, w->student, false, b->head, false, b->dh + at, false);
    acc_gemm by_head = acc_gemm_dense(vocab, d, n, w->student, true, b->h + at, false, w->grad, row > 0);
    by_h.bf16 = by_head.bf16 = w->bf16;
    acc_gemm_run(rt->pool, &by_h);
    if (!b->fisher) acc_gemm_run(rt->pool, &by_head);
}

acc_head_result acc_head_loss(accllm_runtime *rt, const acc_hparams *hp, acc_loss_work *w, const acc_head_batch *b)
{
    uint32_t known = 0;
    acc_head_result sum = {0};
    for (uint32_t i = 0; b->targets && i < b->n; i++) known += b->targets[i] >= 0;
    if (known == 0) known = 1;
    const uint32_t counted = b->teacher_h ? b->n : known;
    for (uint32_t row = 0; row < b->n; row += ACC_LOSS_ROWS) {
        const uint32_t n = b->n - row < ACC_LOSS_ROWS ? b->n - row : ACC_LOSS_ROWS;
        const size_t at = (size_t)row * hp->n_embd;
        rows_job j = {w, b, row, n, hp->n_vocab, 1 / (float)counted};
        logits(rt, hp, w->bf16, b->h + at, b->head, n, w->student);
        if (b->teacher_h) logits(rt, hp, w->bf16, b->teacher_h + at, b->teacher_head, n, w->teacher);
        acc_pool_run(rt->pool, loss_worker, &j);
        for (uint32_t i = 0; i < n; i++) {
            sum.loss += w->row[i].loss;
            sum.nll += w->row[i].nll;
            sum.teacher_nll += w->row[i].teacher_nll;
        }
        if (b->dh) block_back(rt, hp, w, b, row, n);
    }
    return (acc_head_result){sum.loss / counted, sum.nll / known, sum.teacher_nll / known};
}
