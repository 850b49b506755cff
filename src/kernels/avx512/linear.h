/* What the linear kernels of the AVX-512 set share. All formats are read in the file's layout. */
#ifndef ACC_KERNELS_AVX512_LINEAR_H
#define ACC_KERNELS_AVX512_LINEAR_H

#include "kernels/avx512/simd.h"
#include "kernels/kernels.h"
#include "kernels/walk.h"

acc_matvec_fn acc_avx512_w2s_matvec, acc_avx512_w2_matvec, acc_avx512_w4_matvec, acc_avx512_w8_matvec;
acc_matvec_fn acc_avx512_w2_matvec_far, acc_avx512_w4_matvec_far, acc_avx512_w8_matvec_far; /* for Intel's cores */
acc_pack_fn acc_avx512_w2s_pack, acc_avx512_w2_pack, acc_avx512_w4_pack, acc_avx512_w8_pack;
acc_matmul_fn acc_avx512_w2s_matmul, acc_avx512_w2_matmul, acc_avx512_w4_matmul, acc_avx512_w8_matmul;

/* The 64 codes of one quad of columns (bit 7 of each byte is noise): 56 bytes are spread over 8 qwords, then 7-bit
 * fields are taken. src: 64 readable bytes. */
static inline __m512i acc_w2s_codes512(const uint8_t *src, __m512i spread, __m512i shifts)
{
    return _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(spread, acc_load512(src)));
}

static inline __m512i acc_w2s_spread(void)
{
    uint8_t b[64];
    for (int i = 0; i < 64; i++) b[i] = (uint8_t)(i / 8 * 7 + (i % 8 < 7 ? i % 8 : 6));
    return acc_load512(b);
}

static inline __m512i acc_w2s_shifts(void)
{
    uint8_t b[64];
    for (int i = 0; i < 64; i++) b[i] = (uint8_t)(i % 8 * 7);
    return acc_load512(b);
}

/* x[i] lane j (128 bits) <-> x[j] lane i. */
static inline void acc_transpose_lanes(__m512i x[4])
{
    const __m512i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44), b = _mm512_shuffle_i32x4(x[0], x[1], 0xee);
    const __m512i c = _mm512_shuffle_i32x4(x[2], x[3], 0x44), d = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
    x[0] = _mm512_shuffle_i32x4(a, c, 0x88);
    x[1] = _mm512_shuffle_i32x4(a, c, 0xdd);
    x[2] = _mm512_shuffle_i32x4(b, d, 0x88);
    x[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
}

/* Sum of n codes, a multiple of 32. */
static inline int32_t acc_sum_codes(const int8_t *a, uint32_t n)
{
    __m512i sum = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i += 32)
        sum = acc_dot(sum, _mm512_set1_epi8(1),
                      _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(a + i))));
    return _mm512_reduce_add_epi32(sum);
}

#endif
