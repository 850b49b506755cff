/* Between the files of the products. */
#ifndef ACC_GEMM_ONE_H
#define ACC_GEMM_ONE_H

#include "gemm/gemm.h"

/* libgomp, which oneDNN runs on; its header comes with gcc alone. The number is the calling thread's own. */
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int n);

/* Both operands of g to bfloat16, by the pool's threads; then pieces of it may be run. */
void acc_gemm_bf16_load(acc_pool *pool, const acc_gemm *g);
/* One piece of a loaded product, from row or column `at` on, by the calling thread. */
void acc_gemm_bf16_piece(const acc_gemm *whole, const acc_gemm *part, uint32_t worker);

#endif
