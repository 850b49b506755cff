/*
 * Prefill of all formats: tile by tile a row block's weights are expanded once to bytes that dot products take, for as
 * many tokens as there are; 64 rows times a few tokens then live in registers.
 */
#ifndef ACC_KERNELS_AVX512_MATMUL_H
#define ACC_KERNELS_AVX512_MATMUL_H

#include "kernels/avx512/linear.h"

#define ACC_MATMUL_DENSE 8448 /* bytes of an expanded tile: 64 rows x 128 columns, W2S: and the start of 64 sums */

/* y [n][64] += 64 rows times n tokens. dense: what expand() left; a [n][columns] codes; start [n]: acc_matmul.offset
 * times a token's sum, negated; m [4]: 16 rows each. */
typedef void acc_block_fn(const uint8_t *dense, uint32_t quads, const int8_t *a, const int32_t *start, const __m512i *m,
                          int32_t *y);

typedef struct acc_matmul acc_matmul;
struct acc_matmul {
    /* Returns where the tile's m stand; NULL: the format has none. */
    const uint8_t *(*expand)(const acc_matmul *e, const uint8_t *src, uint32_t quads, uint8_t *dense);
    acc_block_fn *const *blocks; /* by the number of tokens, 1 to `tokens` */
    uint32_t tokens;
    int32_t offset;     /* of the dense formats' bytes */
    uint8_t flip;       /* what a token's codes are exclusive-or-ed with */
    const void *tables; /* of a format */
};

/* As acc_pack_fn and acc_matmul_fn, which see. */
void acc_avx512_pack(const acc_matmul *e, const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens,
                     uint8_t *scratch);
void acc_avx512_matmul(const acc_matmul *e, const acc_weight *w, uint32_t n_tokens, int32_t *isum, size_t ldi,
                       uint32_t rb0, uint32_t rb1, uint8_t *scratch);

#endif
