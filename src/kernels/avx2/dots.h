/*
 * Sums of products of bytes, u unsigned and s signed, and the little around them that follows from their width. With
 * AVX-VNNI (ACC_AVXVNNI) one instruction adds four neighbours to a 32-bit sum. Without, two neighbours are added to a
 * 16-bit one, modulo 2^16: two words a row, each with a start and a scale of its own.
 */
#ifndef ACC_KERNELS_AVX2_DOTS_H
#define ACC_KERNELS_AVX2_DOTS_H

#include "kernels/avx2/common.h"

#ifdef ACC_AVXVNNI

#define ACC_SUM_BITS 32

/* As inline assembly, because gcc 12 copies and spills accumulators around the intrinsic. */
static inline __m256i acc_add_bytes(__m256i acc, __m256i u, __m256i s)
{
#ifdef ACC_SIMDE
    const __m256i even = _mm256_set1_epi16(255);
    acc = _mm256_add_epi32(acc,
                           _mm256_madd_epi16(_mm256_and_si256(u, even), _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8)));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_srli_epi16(u, 8), _mm256_srai_epi16(s, 8)));
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
    return acc;
#endif
}

/* The first product of sums that acc_wide() adds to `wide`; those of 32 bits go on from there. */
static inline __m256i acc_first_bytes(__m256i wide, __m256i u, __m256i s)
{
    return acc_add_bytes(wide, u, s);
}

static inline __m256i acc_wide(__m256i wide, __m256i sum)
{
    (void)wide;
    return sum;
}

/* acc_shifted(sum, acc_shift(x)): sum << x in 32 bits. */
static inline uint32_t acc_shift(uint32_t x)
{
    return x;
}

static inline __m256i acc_shifted(__m256i sum, uint32_t shift)
{
    return _mm256_sllv_epi32(sum, _mm256_set1_epi32((int)shift));
}

/* What takes the offset of unsigned weights off again: -offset * sum(a), for every row. n: a multiple of 32. */
static inline int32_t acc_start(const int8_t *a, uint32_t n, int32_t offset)
{
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t k = 0; k < n; k += 32) sum = acc_add_bytes(sum, _mm256_set1_epi8(1), load256(a + k));
    return -offset * sum_lanes256(sum);
}

/* m of 8 rows, as acc_scaled() and acc_scaled_words() want it. */
static inline __m256i acc_scale(const uint8_t *m)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)m));
}

static inline __m256i acc_scaled(__m256i sum, __m256i scale)
{
    return _mm256_mullo_epi32(sum, scale);
}

static inline __m256i acc_negated(__m256i sum)
{
    return _mm256_sub_epi32(_mm256_setzero_si256(), sum);
}

#else

#define ACC_SUM_BITS 16

/* As inline assembly: 12 accumulators, 2 weights, an activation and a product fill the 16 registers exactly, and
 * compilers that schedule the intrinsics spill (measured: half the speed). */
static inline __m256i acc_add_bytes(__m256i acc, __m256i u, __m256i s)
{
    __m256i product;
    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(u), "x"(s));
    return acc;
}

static inline __m256i acc_first_bytes(__m256i wide, __m256i u, __m256i s)
{
    (void)wide;
    return _mm256_maddubs_epi16(u, s);
}

static inline __m256i acc_wide(__m256i wide, __m256i sum)
{
    return _mm256_add_epi32(wide, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
}

static inline uint32_t acc_shift(uint32_t x)
{
    return 0x10001u << x;
}

static inline __m256i acc_shifted(__m256i sum, uint32_t shift)
{
    return _mm256_madd_epi16(sum, _mm256_set1_epi32((int)shift));
}

/* The sums of both pairs of columns of all quads, as two words. n: at most 128. */
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

/* acc_scaled() of sums that fit 16 bits. */
static inline __m256i acc_scaled_words(__m256i sum, __m256i scale)
{
    return _mm256_madd_epi16(sum, scale);
}

#endif
