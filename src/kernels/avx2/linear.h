/*
 * What the linear kernels of the AVX2 set share.
 *
 * W2S is repacked into nibble pairs, because AVX2 looks up 16 bytes at a time: a nibble is position << 2 | value, and
 * a quad is the sum of two of them. Blocks of 32 rows, one after the other; in a block every column group in order: for
 * each quad 32 bytes, then 32 bytes m. Bytes 2j and 2j + 1 of a quad hold both picks of row order(j) in their low
 * nibbles and of row 16 + order(j) in their high ones; order() is what _mm256_unpacklo/hi_epi16 undoes, so that sums
 * come out as rows 0..7 and 8..15. m follows the same order.
 */
#ifndef ACC_KERNELS_AVX2_LINEAR_H
#define ACC_KERNELS_AVX2_LINEAR_H

#include "kernels/avx2/common.h"
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

/*
 * acc + products of bytes (u unsigned, s signed; 16-bit sums of pairs, modulo 2^16) or of words (32-bit sums of pairs).
 * As inline assembly: 12 accumulators, 2 weights, an activation and a product fill the 16 registers exactly, and
 * compilers that schedule the intrinsics spill (measured: half the speed).
 */
static inline __m256i acc_add_bytes(__m256i acc, __m256i u, __m256i s)
{
    __m256i product;
    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(u), "x"(s));
    return acc;
}

static inline __m256i acc_add_words(__m256i acc, __m256i a, __m256i b)
{
    __m256i product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(a), "x"(b));
    return acc;
}

/* Sums of codes that take the offset of unsigned weights off again: -offset times the sums of both pairs of columns of
 * all quads, as two words. n: a multiple of 32, at most 128. */
static inline int32_t acc_start_words(const int8_t *a, uint32_t n, int32_t offset)
{
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t k = 0; k < n; k += 32)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(1), load256(a + k)));
    __m128i x = _mm_add_epi16(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    x = _mm_add_epi16(x, _mm_unpackhi_epi64(x, x));
    x = _mm_add_epi16(x, _mm_shuffle_epi32(x, 1));
    return _mm_cvtsi128_si32(_mm_mullo_epi16(x, _mm_set1_epi16((short)-offset)));
}

/* m of 8 rows in both words of each row. */
static inline __m256i acc_twice(const uint8_t *m)
{
    const __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)m));
    return _mm256_or_si256(x, _mm256_slli_epi32(x, 16));
}

size_t acc_avx2_w2s_repack_bytes(const acc_weight *w);
void acc_avx2_w2s_repack(const acc_weight *w, uint8_t *dst);

acc_matvec_fn acc_avx2_w2s_matvec, acc_avx2_w2_matvec, acc_avx2_w4_matvec, acc_avx2_w8_matvec;
acc_matmul_fn acc_avx2_w2s_matmul, acc_avx2_w2_matmul, acc_avx2_w4_matmul, acc_avx2_w8_matmul;

#endif
