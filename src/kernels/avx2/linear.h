/*
 * What the linear kernels of the sets "avx2" and "avxvnni" share.
 *
 * W2S is repacked into nibble pairs, because AVX2 looks up 16 bytes at a time: a nibble is position << 2 | value, and
 * a quad is the sum of two of them. Blocks of 32 rows, one after the other; in a block every column group in order: for
 * each quad 32 bytes, then 32 bytes m. Bytes 2j and 2j + 1 of a quad hold both picks of row order(j) in their low
 * nibbles and of row 16 + order(j) in their high ones; order() is what _mm256_unpacklo/hi_epi16 undoes, so that sums
 * come out as rows 0..7 and 8..15. m follows the same order.
 */
#ifndef ACC_KERNELS_AVX2_LINEAR_H
#define ACC_KERNELS_AVX2_LINEAR_H

#include "kernels/avx2/dots.h"
#include "kernels/kernels.h"
#include "kernels/walk.h"

#define ACC_NIBBLE_ROWS 32u

static inline size_t acc_nibble_tile_bytes(const acc_weight *w)
{
    return (size_t)w->group / 4 * 32 + 32;
}

/* The first byte of the 32-row block that begins at row 32 * block. */
static inline const uint8_t *acc_nibble_block(const acc_weight *w, uint32_t block)
{
    return w->repacked + (size_t)block * w->col_groups * acc_nibble_tile_bytes(w);
}

/* The values that a pick's low two bits name, 16 times over all positions: two copies for both lanes. */
static inline __m256i acc_nibble_values(const acc_weight *w)
{
    const int8_t l1 = (int8_t)w->level1, l2 = (int8_t)w->level2;
    const int8_t v[4] = {(int8_t)-l2, (int8_t)-l1, l1, l2};
    return broadcast4(v);
}

size_t acc_avx2_w2s_repack_bytes(const acc_weight *w);
void acc_avx2_w2s_repack(const acc_weight *w, uint8_t *dst);

acc_matvec_fn acc_avx2_w2s_matvec, acc_avx2_w2_matvec, acc_avx2_w4_matvec, acc_avx2_w8_matvec;
/* Decode's W2S kernel for several tokens, which share what a pick's magnitude takes: acc_pack_fn, acc_matmul_fn. */
acc_pack_fn acc_avx2_w2s_pack_few;
acc_matmul_fn acc_avx2_w2s_few;
acc_pack_fn acc_avx2_w2s_pack, acc_avx2_w2_pack, acc_avx2_w4_pack, acc_avx2_w8_pack;
acc_matmul_fn acc_avx2_w2s_matmul, acc_avx2_w2_matmul, acc_avx2_w4_matmul, acc_avx2_w8_matmul;

acc_pack_fn acc_avxvnni_w2s_pack, acc_avxvnni_w2_pack, acc_avxvnni_w4_pack, acc_avxvnni_w8_pack;
acc_matvec_fn acc_avxvnni_w2_matvec, acc_avxvnni_w4_matvec, acc_avxvnni_w8_matvec;
acc_matmul_fn acc_avxvnni_w2s_matmul, acc_avxvnni_w2_matmul, acc_avxvnni_w4_matmul, acc_avxvnni_w8_matmul;

#endif
