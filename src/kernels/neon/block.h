/*
 * Prefill's inner part: one dense tile of signed bytes, [quad][64 rows][4], meets a chunk of tokens. Sums by rows and
 * tokens live in registers; SMMLA where the set has it (a 2 x 2 block of sums from 8 columns each), else dots.h.
 * Codes and sums come in units of UNIT_TOKENS, in layouts of their own, which block_pack() and block_store() turn from
 * and to the callers'; up to BLOCK_UNITS share a register tile.
 */
#ifndef ACC_KERNELS_NEON_BLOCK_H
#define ACC_KERNELS_NEON_BLOCK_H

#include "kernels/neon/dots.h"
#include "kernels/neon/linear.h"

#define BLOCK_UNITS 4u

#if defined(ACC_NEON_I8MM)

#define UNIT_TOKENS 2u

/* Codes [pair][8 columns][2][8]; a token beyond the last is zero. */
static void block_pack(const int8_t *a, size_t lda, uint32_t n, uint32_t group, int8_t *codes)
{
    for (uint32_t t = 0; t < n; t += 2, a += 2 * lda)
        for (uint32_t k = 0; k < group; k += 8, codes += 16)
            vst1q_s8(codes, vcombine_s8(vld1_s8(a + k), t + 1 < n ? vld1_s8(a + lda + k) : vdup_n_s8(0)));
}

/* A quad of columns and the next one become 8 columns of two rows a vector: rows 4 i and 4 i + 1 in place of the first
 * quad's rows 4 i on, the other two in place of the second's. dense may be src. */
static const int8_t *block_arrange(const int8_t *src, uint32_t quads, int8_t *dense)
{
    for (uint32_t q = 0; q < quads; q += 2)
        for (uint32_t at = q * 256; at < (q + 1) * 256; at += 16) {
            const int32x4_t x = vreinterpretq_s32_s8(vld1q_s8(src + at));
            const int32x4_t y = vreinterpretq_s32_s8(vld1q_s8(src + at + 256));
            vst1q_s8(dense + at, vreinterpretq_s8_s32(vzip1q_s32(x, y)));
            vst1q_s8(dense + at + 256, vreinterpretq_s8_s32(vzip2q_s32(x, y)));
        }
    return dense;
}

/* 8 rows times n (constant) pairs; y [pair][64][2]. */
ACC_INLINE void block_rows(const int8_t *dense, uint32_t quads, const int8_t *codes, const int32_t *m, int32_t *y,
                           const uint32_t n)
{
    int32x4_t s[BLOCK_UNITS][4]; /* of rows 2 i and 2 i + 1: both tokens of the first, both of the second */
    ACC_UNROLL for (uint32_t p = 0; p < n; p++) ACC_UNROLL for (int i = 0; i < 4; i++) s[p][i] = vdupq_n_s32(0);
    for (uint32_t q = 0; q < quads; q += 2, dense += 512, codes += 16) {
        const int8x16_t w[4] = {vld1q_s8(dense), vld1q_s8(dense + 256), vld1q_s8(dense + 16), vld1q_s8(dense + 272)};
        ACC_UNROLL for (uint32_t p = 0; p < n; p++)
        {
            const int8x16_t v = vld1q_s8(codes + (size_t)p * quads * 8);
            ACC_UNROLL for (int i = 0; i < 4; i++) s[p][i] = vmmlaq_s32(s[p][i], w[i], v);
        }
    }
    ACC_UNROLL for (int i = 0; i < 2; i++)
    {
        const int32x4_t four = vld1q_s32(m + 4 * i), by[2] = {vzip1q_s32(four, four), vzip2q_s32(four, four)};
        ACC_UNROLL for (uint32_t p = 0; p < n; p++) ACC_UNROLL for (int j = 0; j < 2; j++)
        {
            int32_t *to = y + (size_t)p * 2 * ACC_TILE_ROWS + 8 * i + 4 * j;
            vst1q_s32(to, vmlaq_s32(vld1q_s32(to), s[p][2 * i + j], by[j]));
        }
    }
}

/* y += the sums of one column group times m, for n (constant) units. wide: see dots.h. */
ACC_INLINE void block(const int8_t *dense, uint32_t quads, const int8_t *codes, const int32_t *m, int32_t *y,
                      const uint32_t n, const int wide)
{
    (void)wide;
    for (uint32_t row = 0; row < ACC_TILE_ROWS; row += 8)
        block_rows(dense + 4 * row, quads, codes, m + row, y + 2 * row, n);
}

static void block_store(const int32_t *y, uint32_t n, int32_t *isum, size_t ldi)
{
    for (uint32_t t = 0; t < n; t += 2, isum += 2 * ldi)
        for (uint32_t row = 0; row < ACC_TILE_ROWS; row += 4, y += 8) {
            const int32x4x2_t x = vld2q_s32(y);
            vst1q_s32(isum + row, x.val[0]);
            if (t + 1 < n) vst1q_s32(isum + ldi + row, x.val[1]);
        }
}

#else

#define UNIT_TOKENS 1u
#ifdef ACC_NEON_DOTPROD
#define BLOCK_VECTORS 4 /* of 4 rows each, in one register tile */
#else
#define BLOCK_VECTORS 2
#endif

/* Codes [token][group]: rows of the original stride would meet in one cache set. */
static void block_pack(const int8_t *a, size_t lda, uint32_t n, uint32_t group, int8_t *codes)
{
    for (uint32_t t = 0; t < n; t++) memcpy(codes + (size_t)t * group, a + t * lda, group);
}

static const int8_t *block_arrange(const int8_t *src, uint32_t quads, int8_t *dense)
{
    (void)quads;
    (void)dense;
    return src;
}

/* Two quads, their activations in lanes `lane` and lane + 1 of v (a macro, since lanes are immediates). */
#define TWO_QUADS(lane)                                                                                          \
    {                                                                                                            \
        int8x16_t w[2][BLOCK_VECTORS];                                                                           \
        ACC_UNROLL for (int i = 0; i < BLOCK_VECTORS; i++)                                                       \
        {                                                                                                        \
            w[0][i] = vld1q_s8(dense + 256 * (lane) + 16 * i);                                                   \
            w[1][i] = vld1q_s8(dense + 256 * (lane) + 256 + 16 * i);                                             \
        }                                                                                                        \
        ACC_UNROLL for (uint32_t t = 0; t < n; t++) ACC_UNROLL for (int i = 0; i < BLOCK_VECTORS; i++) s[t][i] = \
            DOTS_ADD_LANES(s[t][i], w[0][i], w[1][i], v[t], lane, wide);                                         \
    }

/* 4 * BLOCK_VECTORS rows times n (constant) tokens; y [token][64]. */
ACC_INLINE void block_rows(const int8_t *dense, uint32_t quads, const int8_t *codes, const int32_t *m, int32_t *y,
                           const uint32_t n, const int wide)
{
    acc_dots s[BLOCK_UNITS][BLOCK_VECTORS];
    ACC_UNROLL for (uint32_t t = 0; t < n; t++) ACC_UNROLL for (int i = 0; i < BLOCK_VECTORS; i++) s[t][i] =
        dots_zero();
    for (uint32_t q = 0; q < quads; q += 4, dense += 1024, codes += 16) {
        int8x16_t v[BLOCK_UNITS];
        ACC_UNROLL for (uint32_t t = 0; t < n; t++) v[t] = vld1q_s8(codes + (size_t)t * quads * 4);
        TWO_QUADS(0)
        TWO_QUADS(2)
    }
    ACC_UNROLL for (int i = 0; i < BLOCK_VECTORS; i++)
    {
        const int32x4_t by = vld1q_s32(m + 4 * i);
        ACC_UNROLL for (uint32_t t = 0; t < n; t++)
        {
            int32_t *to = y + (size_t)t * ACC_TILE_ROWS + 4 * i;
            vst1q_s32(to, vmlaq_s32(vld1q_s32(to), dots_total(s[t][i], wide), by));
        }
    }
}

ACC_INLINE void block(const int8_t *dense, uint32_t quads, const int8_t *codes, const int32_t *m, int32_t *y,
                      const uint32_t n, const int wide)
{
    for (uint32_t row = 0; row < ACC_TILE_ROWS; row += 4 * BLOCK_VECTORS)
        block_rows(dense + 4 * row, quads, codes, m + row, y + row, n, wide);
}

static void block_store(const int32_t *y, uint32_t n, int32_t *isum, size_t ldi)
{
    for (uint32_t t = 0; t < n; t++) memcpy(isum + t * ldi, y + (size_t)t * ACC_TILE_ROWS, ACC_TILE_ROWS * sizeof *y);
}

#endif

#endif
