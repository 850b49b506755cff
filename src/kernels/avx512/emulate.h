/*
 * The AVX-512 intrinsics that the kernels use, for a build that checks their logic on a machine without AVX-512: SIMDe,
 * and what Debian's SIMDe 0.7.4 lacks, lane by lane as Intel's manual defines it. Not for speed.
 */
#ifndef ACC_KERNELS_AVX512_EMULATE_H
#define ACC_KERNELS_AVX512_EMULATE_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <stdint.h>
#include <string.h>

/* Lanes in memory. */
typedef union acc_emu {
    float f[16];
    int32_t i[16];
    uint32_t u[16];
    uint16_t h[32];
    uint8_t b[64];
} acc_emu;

#define ACC_EMU static inline __attribute__((always_inline, unused))

ACC_EMU acc_emu acc_emu_of(__m512i a)
{
    acc_emu x;
    memcpy(&x, &a, sizeof x);
    return x;
}

ACC_EMU acc_emu acc_emu_of_ps(__m512 a)
{
    acc_emu x;
    memcpy(&x, &a, sizeof x);
    return x;
}

ACC_EMU __m512i acc_emu_si(const acc_emu *x)
{
    __m512i a;
    memcpy(&a, x, sizeof a);
    return a;
}

ACC_EMU __m512 acc_emu_ps(const acc_emu *x)
{
    __m512 a;
    memcpy(&a, x, sizeof a);
    return a;
}

ACC_EMU __m512 acc_emu_cvtepi32_ps(__m512i a)
{
    acc_emu x = acc_emu_of(a);
    for (int j = 0; j < 16; j++) x.f[j] = (float)x.i[j];
    return acc_emu_ps(&x);
}

ACC_EMU __m512i acc_emu_cvtps_epi32(__m512 a)
{
    acc_emu x = acc_emu_of_ps(a);
    for (int j = 0; j < 16; j++) x.i[j] = _mm_cvtss_si32(_mm_set_ss(x.f[j]));
    return acc_emu_si(&x);
}

ACC_EMU __m512i acc_emu_cvttps_epi32(__m512 a)
{
    acc_emu x = acc_emu_of_ps(a);
    for (int j = 0; j < 16; j++) x.i[j] = _mm_cvttss_si32(_mm_set_ss(x.f[j]));
    return acc_emu_si(&x);
}

ACC_EMU __m512 acc_emu_cvtph_ps(__m256i a)
{
    acc_emu x;
    uint16_t h[16];
    memcpy(h, &a, sizeof h);
    for (int j = 0; j < 16; j++) x.f[j] = _cvtsh_ss(h[j]);
    return acc_emu_ps(&x);
}

ACC_EMU __m512i acc_emu_cvtepu8_epi32(__m128i a)
{
    acc_emu x;
    uint8_t b[16];
    memcpy(b, &a, sizeof b);
    for (int j = 0; j < 16; j++) x.u[j] = b[j];
    return acc_emu_si(&x);
}

/* Truncations. */
ACC_EMU __m256i acc_emu_cvtepi32_epi16(__m512i a)
{
    acc_emu x = acc_emu_of(a);
    for (int j = 0; j < 16; j++) x.h[j] = (uint16_t)x.u[j];
    __m256i r;
    memcpy(&r, &x, sizeof r);
    return r;
}

ACC_EMU __m128i acc_emu_cvtepi32_epi8(__m512i a)
{
    acc_emu x = acc_emu_of(a);
    for (int j = 0; j < 16; j++) x.b[j] = (uint8_t)x.u[j];
    __m128i r;
    memcpy(&r, &x, sizeof r);
    return r;
}

ACC_EMU __m128i acc_emu_256_cvtepi16_epi8(__m256i a)
{
    uint16_t h[16];
    uint8_t b[16];
    memcpy(h, &a, sizeof h);
    for (int j = 0; j < 16; j++) b[j] = (uint8_t)h[j];
    __m128i r;
    memcpy(&r, b, sizeof r);
    return r;
}

ACC_EMU __m512i acc_emu_srai_epi32(__m512i a, unsigned n)
{
    acc_emu x = acc_emu_of(a);
    for (int j = 0; j < 16; j++) x.i[j] = x.i[j] >> (n > 31 ? 31 : n);
    return acc_emu_si(&x);
}

ACC_EMU float acc_emu_reduce_max_ps(__m512 a)
{
    acc_emu x = acc_emu_of_ps(a);
    for (int j = 1; j < 16; j++)
        if (x.f[j] > x.f[0]) x.f[0] = x.f[j];
    return x.f[0];
}

ACC_EMU float acc_emu_reduce_min_ps(__m512 a)
{
    acc_emu x = acc_emu_of_ps(a);
    for (int j = 1; j < 16; j++)
        if (x.f[j] < x.f[0]) x.f[0] = x.f[j];
    return x.f[0];
}

ACC_EMU int32_t acc_emu_reduce_max_epi32(__m512i a)
{
    acc_emu x = acc_emu_of(a);
    for (int j = 1; j < 16; j++)
        if (x.i[j] > x.i[0]) x.i[0] = x.i[j];
    return x.i[0];
}

ACC_EMU int32_t acc_emu_reduce_add_epi32(__m512i a)
{
    acc_emu x = acc_emu_of(a);
    for (int j = 1; j < 16; j++) x.u[0] += x.u[j];
    return x.i[0];
}

ACC_EMU __m512i acc_emu_maskz_loadu_epi32(__mmask16 m, const void *p)
{
    acc_emu x = {.u = {0}};
    for (unsigned j = 0; j < 16; j++)
        if (m >> j & 1) memcpy(&x.u[j], (const uint8_t *)p + 4 * j, 4);
    return acc_emu_si(&x);
}

ACC_EMU __m512 acc_emu_maskz_loadu_ps(__mmask16 m, const void *p)
{
    acc_emu x = acc_emu_of(acc_emu_maskz_loadu_epi32(m, p));
    return acc_emu_ps(&x);
}

ACC_EMU void acc_emu_mask_storeu_ps(void *p, __mmask16 m, __m512 a)
{
    acc_emu x = acc_emu_of_ps(a);
    for (unsigned j = 0; j < 16; j++)
        if (m >> j & 1) memcpy((uint8_t *)p + 4 * j, &x.f[j], 4);
}

ACC_EMU void acc_emu_mask_storeu_epi8(void *p, __mmask16 m, __m128i a)
{
    uint8_t b[16];
    memcpy(b, &a, sizeof b);
    for (unsigned j = 0; j < 16; j++)
        if (m >> j & 1) ((uint8_t *)p)[j] = b[j];
}

ACC_EMU __m512 acc_emu_i32gather_ps(__m512i index, const void *p)
{
    acc_emu x = acc_emu_of(index);
    for (int j = 0; j < 16; j++) memcpy(&x.f[j], (const uint8_t *)p + (int64_t)x.i[j] * 4, 4);
    return acc_emu_ps(&x);
}

ACC_EMU __m512i acc_emu_zextsi256_si512(__m256i a)
{
    acc_emu x = {.u = {0}};
    memcpy(&x, &a, sizeof a);
    return acc_emu_si(&x);
}

ACC_EMU __m512 acc_emu_permute_ps(__m512 a, unsigned control)
{
    acc_emu x = acc_emu_of_ps(a), y;
    for (unsigned j = 0; j < 16; j++) y.f[j] = x.f[(j & 12) + (control >> 2 * (j & 3) & 3)];
    return acc_emu_ps(&y);
}

ACC_EMU __m256 acc_emu_extractf32x8_ps(__m512 a, int half)
{
    acc_emu x = acc_emu_of_ps(a);
    __m256 r;
    memcpy(&r, &x.f[8 * half], sizeof r);
    return r;
}

/* SIMDe's own, whose aliases 0.7.4 leaves out or gets wrong. */
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, control) simde_mm512_shuffle_f32x4(a, b, control)

#define _mm512_cvtepi32_ps(a) acc_emu_cvtepi32_ps(a)
#define _mm512_cvtps_epi32(a) acc_emu_cvtps_epi32(a)
#define _mm512_cvttps_epi32(a) acc_emu_cvttps_epi32(a)
#define _mm512_cvtph_ps(a) acc_emu_cvtph_ps(a)
#define _mm512_cvtepu8_epi32(a) acc_emu_cvtepu8_epi32(a)
#define _mm512_cvtepi32_epi16(a) acc_emu_cvtepi32_epi16(a)
#define _mm512_cvtepi32_epi8(a) acc_emu_cvtepi32_epi8(a)
#define _mm256_cvtepi16_epi8(a) acc_emu_256_cvtepi16_epi8(a)
#define _mm512_srai_epi32(a, n) acc_emu_srai_epi32(a, n)
#define _mm512_reduce_max_ps(a) acc_emu_reduce_max_ps(a)
#define _mm512_reduce_min_ps(a) acc_emu_reduce_min_ps(a)
#define _mm512_reduce_max_epi32(a) acc_emu_reduce_max_epi32(a)
#define _mm512_reduce_add_epi32(a) acc_emu_reduce_add_epi32(a)
#define _mm512_maskz_loadu_epi32(m, p) acc_emu_maskz_loadu_epi32(m, p)
#define _mm512_maskz_loadu_ps(m, p) acc_emu_maskz_loadu_ps(m, p)
#define _mm512_mask_storeu_ps(p, m, a) acc_emu_mask_storeu_ps(p, m, a)
#define _mm_mask_storeu_epi8(p, m, a) acc_emu_mask_storeu_epi8(p, m, a)
#define _mm512_i32gather_ps(index, p, scale) acc_emu_i32gather_ps(index, p)
#define _mm512_zextsi256_si512(a) acc_emu_zextsi256_si512(a)
#define _mm512_permute_ps(a, control) acc_emu_permute_ps(a, control)
#define _mm512_extractf32x8_ps(a, half) acc_emu_extractf32x8_ps(a, half)

#endif
