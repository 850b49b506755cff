/*
 * Tokens and tile registers. A product of tiles takes 16 tokens of up to 64 columns, and 16 rows of weights in quads of
 * columns [quad][16][4], and adds 16 x 16 sums of 32 bits. Registers: 0 to 3 sums, 4 and 5 tokens, 6 and 7 weights.
 */
#ifndef ACC_KERNELS_AMX_TILES_H
#define ACC_KERNELS_AMX_TILES_H

#include "kernels/avx512/linear.h"

/* As LDTILECFG reads it. */
typedef struct acc_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} acc_tile_config;

#ifdef ACC_SIMDE
#include "kernels/amx/emulate.h"
#else
/* The instructions, with what they touch: the intrinsics of gcc 12 keep it from the compiler. Tile registers are
 * constants. */
#define TILE_ZERO(sums) __asm__ volatile("tilezero %%tmm" #sums ::)
#define TILE_LOAD(tile, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"((size_t)(stride)) : "memory")
#define TILE_STORE(sums, to, stride) \
    __asm__ volatile("tilestored %%tmm" #sums ", (%0,%1,1)" ::"r"(to), "r"((size_t)(stride)) : "memory")
#define TILE_MULTIPLY(sums, tokens, weights) \
    __asm__ volatile("tdpbssd %%tmm" #weights ", %%tmm" #tokens ", %%tmm" #sums ::)
#define TILE_CONFIGURE(config) __asm__ volatile("ldtilecfg %0" ::"m"(config))
#define TILE_RELEASE() __asm__ volatile("tilerelease" ::)
#endif

#define ACC_AMX_TOKENS 16u
#define ACC_AMX_DENSE 8192 /* bytes of an expanded tile: 64 rows x 128 columns */
#define ACC_AMX_FEW 8u     /* fewer tokens leave too much of a tile empty: the AVX-512 set's kernel takes them */

/* What packing leaves: codes by column group, in whole tiles; rows of the original stride would meet in one cache set.
 */
typedef struct acc_amx_tokens {
    int8_t *codes; /* [col_groups][n][group], zeros behind the last token */
    uint32_t n;    /* a multiple of 16 */
} acc_amx_tokens;

/* Where they stand in scratch: behind an expanded tile and a row block's sums. */
static inline acc_amx_tokens acc_amx_tokens_of(uint32_t n_tokens, uint8_t *scratch)
{
    const uint32_t n = (n_tokens + ACC_AMX_TOKENS - 1) / ACC_AMX_TOKENS * ACC_AMX_TOKENS;
    return (acc_amx_tokens){(int8_t *)scratch + ACC_AMX_DENSE + (size_t)n * ACC_TILE_ROWS * sizeof(int32_t), n};
}

static inline void acc_amx_pack(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, uint8_t *scratch)
{
    const acc_amx_tokens t = acc_amx_tokens_of(n_tokens, scratch);
    int8_t *codes = t.codes;
    for (uint32_t cg = 0; cg < w->col_groups; cg++, codes += (size_t)t.n * w->group) {
        for (uint32_t i = 0; i < n_tokens; i++)
            memcpy(codes + (size_t)i * w->group, a + i * lda + (size_t)cg * w->group, w->group);
        memset(codes + (size_t)n_tokens * w->group, 0, (size_t)(t.n - n_tokens) * w->group);
    }
}

/* Both functions of a format: the AVX-512 set's for few tokens, else many(w, n_tokens, isum, ldi, rb0, rb1, scratch).
 */
#define ACC_AMX_FORMAT(format, many)                                                                                   \
    void acc_amx_##format##_pack(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)   \
    {                                                                                                                  \
        if (n_tokens < ACC_AMX_FEW)                                                                                    \
            acc_avx512_##format##_pack(w, a, lda, n_tokens, scratch);                                                  \
        else                                                                                                           \
            acc_amx_pack(w, a, lda, n_tokens, scratch);                                                                \
    }                                                                                                                  \
    void acc_amx_##format##_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, \
                                   size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)                              \
    {                                                                                                                  \
        if (n_tokens < ACC_AMX_FEW)                                                                                    \
            acc_avx512_##format##_matmul(w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);                           \
        else                                                                                                           \
            many(w, n_tokens, isum, ldi, rb0, rb1, scratch);                                                           \
    }

/* Columns of one product: a group, or half of one of 128. */
static inline uint32_t acc_amx_step(const acc_weight *w)
{
    return w->group < 64 ? w->group : 64;
}

/* Tile registers for products of `step` columns; acc_amx_release() gives them back. */
static inline void acc_amx_configure(uint32_t step)
{
    acc_tile_config config = {.palette = 1};
    _Static_assert(sizeof config == 64, "as LDTILECFG reads it");
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = i == 4 || i == 5 ? (uint16_t)step : 64;
        config.rows[i] = (uint8_t)(i < 6 ? ACC_AMX_TOKENS : step / 4);
    }
    TILE_CONFIGURE(config);
}

static inline void acc_amx_release(void)
{
    TILE_RELEASE();
}

#endif
