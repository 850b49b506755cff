/* How fast this machine multiplies now: what estimates of time stand on. */
#include "core/clock.h"
#include "core/memory.h"
#include "gemm/gemm.h"

#define SIDE 1024u
#define RUNS 5

static double best_rate(acc_pool *pool, const acc_gemm *g)
{
    double best = 0;
    for (int i = 0; i <= RUNS; i++) {
        const double begin = acc_seconds();
        acc_gemm_run(pool, g);
        const double rate = 2.0 * g->m * g->n * g->k / (acc_seconds() - begin);
        if (i > 0 && rate > best) best = rate; /* the first run compiles */
    }
    return best;
}

double acc_gemm_rate(acc_pool *pool, bool bf16)
{
    const size_t n = (size_t)SIDE * SIDE;
    float *x = acc_calloc(3 * n, sizeof *x);
    acc_gemm_bf16 *b = NULL;
    double rate = 0;
    if (x && (!bf16 || acc_gemm_bf16_create(&b, pool, n, NULL) == ACCLLM_OK)) {
        acc_gemm g = acc_gemm_dense(SIDE, SIDE, SIDE, x, false, x + n, true, x + 2 * n, false);
        g.bf16 = b;
        rate = best_rate(pool, &g);
    }
    acc_gemm_bf16_free(&b);
    acc_free(x);
    return rate;
}
