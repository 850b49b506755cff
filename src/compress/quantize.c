/* One matrix from floats to codes: scales, round-to-nearest or the sweep, refit, loss. */
#include <math.h>
#include <string.h>

#include "compress/solver.h"
#include "core/clock.h"
#include "core/memory.h"

/* Round-to-nearest with plain scales: what the sweep is measured against. Leaves other codes in c. */
static accllm_status measure_rtn(acc_pool *pool, acc_codes *c, const float *w, const float *wt, const acc_factor *f,
                                 double *error, accllm_error *err)
{
    acc_loss loss;
    acc_choose_scales(pool, c, wt, NULL);
    ACC_TRY(acc_solve_rtn(pool, c, wt, NULL, err));
    ACC_TRY(acc_codes_loss(pool, c, w, f->h, false, &loss, err));
    *error = loss.error;
    return ACCLLM_OK;
}

static accllm_status solve(acc_pool *pool, const acc_quantize_params *p, acc_codes *c, const float *w, float *wt,
                           const acc_factor *f, acc_quantize_stats *stats, accllm_error *err)
{
    const float *d = p->obs && f ? f->d : NULL;
    stats->rtn_error = -1;
    if (f && !p->no_rtn) ACC_TRY(measure_rtn(pool, c, w, wt, f, &stats->rtn_error, err));
    if (p->choose_levels && c->format == ACC_FMT_W2S) acc_choose_levels(pool, c, wt, d);
    acc_choose_scales(pool, c, wt, d);
    if (!p->obs) return acc_solve_rtn(pool, c, wt, NULL, err);
    ACC_TRY(acc_solve_obs(pool, c, wt, f, err));
    if (p->descent == 0) return ACCLLM_OK;
    ACC_TRY(acc_transpose_weights(pool, w, c->rows, c->cols, wt, c->rows_pad, "weights", err));
    return acc_solve_descent(pool, c, wt, f, p->descent, err);
}

accllm_status acc_quantize(acc_pool *pool, const acc_quantize_params *p, acc_weight *shape, const float *w,
                           const acc_factor *f, acc_codes *c, acc_quantize_stats *stats, const char *what,
                           accllm_error *err)
{
    double start = acc_seconds();
    void *wt;
    *stats = (acc_quantize_stats){.rtn_error = -1};
    if (p->obs && !f) return acc_fail(err, ACCLLM_E_ARG, "%s: the method needs calibration", what);
    uint32_t n = (uint32_t)acc_round_up(c->cols, c->unit);
    ACC_TRY(acc_alloc(&wt, (size_t)n * c->rows_pad, sizeof(float), "transposed weights", err));
    accllm_status s = acc_transpose_weights(pool, w, c->rows, c->cols, wt, c->rows_pad, what, err);
    if (s == ACCLLM_OK) s = solve(pool, p, c, w, wt, f, stats, err);
    acc_free(wt);
    ACC_TRY(s);
    shape->level1 = (uint8_t)c->level1;
    shape->level2 = (uint8_t)c->level2;
    if (f) {
        acc_loss loss;
        ACC_TRY(acc_codes_loss(pool, c, w, f->h, p->obs, &loss, err));
        stats->error = loss.error;
        stats->signal = loss.signal;
        if (!isfinite(loss.error)) return acc_fail(err, ACCLLM_E_NUMERIC, "%s: the loss is not finite", what);
    }
    stats->seconds = acc_seconds() - start;
    return ACCLLM_OK;
}
