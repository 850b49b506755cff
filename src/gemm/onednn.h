/* How oneDNN is called. */
#ifndef ACC_GEMM_ONEDNN_H
#define ACC_GEMM_ONEDNN_H

#include <signal.h>

#include "gemm/gemm.h"

/* libgomp, which oneDNN runs on; its header comes with gcc alone. The number is the calling thread's own. */
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int n);

/* What the calling thread had before it went into oneDNN. */
typedef struct acc_onednn_scope {
    int threads;
    sigset_t signals;
} acc_onednn_scope;

/* One thread, and no signals: oneDNN's float kernels for AVX2 and AVX-512 use the stack pointer for a buffer on the
 * heap, so a handler's frame would overwrite what stands in front of it (its issue 4845; Debian 12 has 2.6). */
static inline acc_onednn_scope acc_onednn_enter(void)
{
    acc_onednn_scope s = {.threads = omp_get_max_threads()};
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &s.signals);
    omp_set_num_threads(1);
    return s;
}

static inline void acc_onednn_leave(const acc_onednn_scope *s)
{
    omp_set_num_threads(s->threads);
    (void)pthread_sigmask(SIG_SETMASK, &s->signals, NULL);
}

/* One piece of a product that was loaded as bfloat16. */
void acc_onednn_bf16_piece(const acc_gemm *whole, const acc_gemm *part, uint32_t worker);
/* Both operands of g to bfloat16. */
void acc_onednn_bf16_load(acc_pool *pool, const acc_gemm *g);

#endif
