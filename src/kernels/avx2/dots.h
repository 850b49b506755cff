/*
 * Sums of products of bytes, u unsigned and s signed, and the little around them that follows from their width: two
 * neighbours are added to a 16-bit sum, modulo 2^16, so a row has two words, each with a start and a scale of its own.
 */
#ifndef ACC_KERNELS_AVX2_DOTS_H
#define ACC_KERNELS_AVX2_DOTS_H

#include "kernels/avx2/common.h"

/* As inline assembly: 12 accumulators, 2 weights, an activation and a product fill the 16 registers exactly, and
 * compilers that schedule the intrinsics spill (measured: half the speed). */
static inline __m256i acc_add_bytes(__m256i acc, __m256i u, __m256i s)
{
    __m256i product;
    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(u), "x"(s));
    return acc;
}

/* What takes the offset of unsigned weights off again: -offset times the sums of both pairs of columns of all quads, as
 * two words. n: a multiple of 32, at most 128. */
static inline int32_t acc_start(const int8_t *a, uint32_t n, int32_t offset)
{
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t k = 0; k < n; k += 32)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(1), load256(a + k)));
    __m128i x = _mm_add_epi16(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    x = _mm_add_epi16(x, _mm_unpackhi_epi64(x, x));
    x = _mm_add_epi16(x, _mm_shuffle_epi32(x, 1));
    return _mm_cvtsi128_si32(_mm_mullo_epi16(x, _mm_set1_epi16((short)-offset)));
}

/* m of 8 rows, as acc_scaled() wants it. */
static inline __m256i acc_scale(const uint8_t *m)
{
    const __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)m));
    return _mm256_or_si256(x, _mm256_slli_epi32(x, 16));
}

static inline __m256i acc_scaled(__m256i sum, __m256i scale)
{
    return _mm256_madd_epi16(sum, scale);
}

static inline __m256i acc_negated(__m256i sum)
{
    return _mm256_sub_epi16(_mm256_setzero_si256(), sum);
}

#endif
