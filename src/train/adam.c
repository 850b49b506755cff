/* Adam over latent weights and log scales (Kingma and Ba 2015). */
#include <math.h>

#include "core/clones.h"
#include "reference/internal.h"
#include "train/internal.h"

acc_adam acc_adam_at(uint64_t step, float rate_factor, float scale_rate)
{
    return (acc_adam){.rate_factor = rate_factor,
                      .scale_rate = scale_rate,
                      .correct1 = (float)(1 / (1 - pow(ACC_ADAM_BETA1, (double)step))),
                      .correct2 = (float)(1 / (1 - pow(ACC_ADAM_BETA2, (double)step)))};
}

typedef struct adam_job {
    const acc_adam *a;
    acc_train_tensor *t;
    const float *g;
} adam_job;

/* In units of whole vectors, so that the compiler can use them. */
ACC_CLONES static void update(const acc_adam *a, float rate, float *w, float *mean, float *square, const float *g,
                              size_t n)
{
    const float b1 = (float)ACC_ADAM_BETA1, b2 = (float)ACC_ADAM_BETA2, c1 = rate * a->correct1, c2 = a->correct2;
    for (size_t i = 0; i < n; i++) {
        mean[i] = b1 * mean[i] + (1 - b1) * g[i];
        square[i] = b2 * square[i] + (1 - b2) * g[i] * g[i];
        w[i] -= c1 * mean[i] / (sqrtf(square[i] * c2) + ACC_ADAM_EPS);
    }
}

/* dL / d log s of a group is the sum of gradient times value: the value is s times an integer. */
static void update_scales(const acc_adam *a, acc_train_tensor *t, const float *g, uint32_t row)
{
    const acc_weight *s = &t->shape;
    for (uint32_t k = 0; k < s->col_groups; k++) {
        const size_t at = (size_t)row * s->cols + (size_t)k * s->group, to = (size_t)row * s->col_groups + k;
        const float sum = acc_ref_dot(g + at, t->value + at, acc_train_group(s, k));
        update(a, a->scale_rate * a->rate_factor, t->log_scale + to, t->scale_mean + to, t->scale_square + to, &sum, 1);
    }
}

static void adam_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    adam_job *j = ctx;
    acc_train_tensor *t = j->t;
    uint32_t begin, end;
    if (t->shape.rows == 1) {
        if (worker == 0) update(j->a, t->rate * j->a->rate_factor, t->latent, t->mean, t->square, j->g, t->shape.cols);
        return;
    }
    acc_share(t->shape.rows, worker, n_workers, &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const size_t at = (size_t)r * t->shape.cols;
        if (t->log_scale) update_scales(j->a, t, j->g, r);
        update(j->a, t->rate * j->a->rate_factor, t->latent + at, t->mean + at, t->square + at, j->g + at,
               t->shape.cols);
    }
}

void acc_adam_step(acc_pool *pool, const acc_adam *a, acc_train_tensor *t, const float *g)
{
    adam_job j = {a, t, g};
    acc_pool_run(pool, adam_worker, &j);
}
