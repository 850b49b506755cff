/*
 * The intrinsics of the AVX-512 set: the compiler's, or SIMDe's emulation (build option simde), which runs the same
 * logic on a machine without AVX-512.
 */
#ifndef ACC_KERNELS_AVX512_SIMD_H
#define ACC_KERNELS_AVX512_SIMD_H

#ifdef ACC_SIMDE
#include "kernels/avx512/emulate.h"
#else
#include <immintrin.h>
#endif

#include <stdint.h>
#include <string.h>

static inline __m512i acc_load512(const void *p)
{
    return _mm512_loadu_si512(p);
}

static inline void acc_store512(void *p, __m512i x)
{
    _mm512_storeu_si512(p, x);
}

/* 16 unsigned bytes as 32-bit lanes. */
static inline __m512i acc_widen_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}

/* acc + u . s, u unsigned bytes, s signed ones. As inline assembly, because gcc 12 spills accumulators around the
 * intrinsic. */
static inline __m512i acc_dot(__m512i acc, __m512i u, __m512i s)
{
#ifdef ACC_SIMDE
    return _mm512_dpbusd_epi32(acc, u, s);
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
#endif
}

/* Four bytes to every lane. */
static inline __m512i broadcast4(const void *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}

/* Eight bytes to every half of 16. */
static inline __m512i broadcast8(const void *p)
{
    int64_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi64(x);
}

#endif
