/*
 * Prefill by products of bytes: tile by tile a row block's weights are expanded once to bytes, for as many tokens as
 * there are; 16 rows times a few tokens then live in registers.
 */
#ifndef ACC_KERNELS_AVX2_MATMUL_H
#define ACC_KERNELS_AVX2_MATMUL_H

#include "kernels/avx2/linear.h"

typedef struct acc_matmul acc_matmul;

/* y [n][64] += the tile's products with n tokens. dense: what expand() left; a [n][group] codes; start [n][parts]:
 * acc_start() of them; m [64], NULL: ones. */
typedef void acc_block_fn(const acc_matmul *e, const uint8_t *dense, const int8_t *a, const int32_t *start,
                          const uint8_t *m, int32_t *y);

/* Expands tile (cg, rb); returns the 64 m in row order, NULL: the format has none. */
typedef const uint8_t *acc_expand_fn(const acc_matmul *e, uint32_t cg, uint32_t rb, uint8_t *dense);

struct acc_matmul {
    const acc_weight *w;
    acc_expand_fn *expand;
    acc_block_fn *const *blocks; /* by the number of tokens, 1 to `tokens` */
    const void *tables;          /* of a format */
    uint32_t tokens;
    uint32_t parts;      /* of a group, that are summed one after the other */
    uint32_t rows_bytes; /* of 16 expanded rows */
    int32_t offset;      /* of the dense formats' bytes; 0: no starts */
    uint8_t flip;        /* what a token's codes are exclusive-or-ed with */
};

/* Fewer tokens than this are cheaper one by one. */
#define ACC_FEW_TOKENS 4

static inline void acc_one_by_one(acc_matvec_fn *matvec, const acc_weight *w, const int8_t *a, size_t lda,
                                  uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                                  void *scratch)
{
    for (uint32_t t = 0; t < n_tokens; t++) matvec(w, a + t * lda, isum + t * ldi, rb0, rb1, scratch);
}

/* As acc_pack_fn and acc_matmul_fn, which see. */
void ACC_AVX2(pack)(const acc_matmul *e, const int8_t *a, size_t lda, uint32_t n_tokens, uint8_t *scratch);
void ACC_AVX2(matmul)(const acc_matmul *e, uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                      uint8_t *scratch);

#endif
