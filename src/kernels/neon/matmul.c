/*
 * Prefill of all formats: a tile is expanded once to signed bytes, the weights themselves, and meets every token of the
 * chunk. A row of a group sums to at most 32 * 8 * 127 by column (W4), which fits the 16 bits of dots.h; W8 does not.
 */
#include "kernels/neon/block.h"

#define DENSE_BYTES 8192 /* 64 rows x 128 columns */

typedef struct expander expander;
struct expander {
    /* Expands tile (cg, rb), into dense if it has to; *m: where its scales stand. */
    const int8_t *(*run)(const expander *e, uint32_t cg, uint32_t rb, int8_t *dense, const uint8_t **m);
    const acc_weight *w;
    size_t bytes; /* of a tile of the file's layout */
    int wide;
    int8x16_t place[4]; /* W2S: what a pick puts in column k */
};

static const int8_t *expand_w2s(const expander *e, uint32_t cg, uint32_t rb, int8_t *dense, const uint8_t **m)
{
    const uint8_t *p = acc_picks_tile(e->w, cg, rb), *end = p + (size_t)e->w->group / 4 * ACC_PICKS_QUAD_BYTES;
    const uint8x16_t mask = vdupq_n_u8(15);
    for (int8_t *to = dense; p < end; p += 16, to += 64) {
        const uint8x16_t x = vld1q_u8(p), first = vandq_u8(x, mask), second = vshrq_n_u8(x, 4);
        int8x16x4_t w;
        ACC_UNROLL for (int k = 0; k < 4; k++) w.val[k] =
            vaddq_s8(vqtbl1q_s8(e->place[k], first), vqtbl1q_s8(e->place[k], second));
        vst4q_s8(to, w);
    }
    *m = end;
    return dense;
}

static const int8_t *expand_w2(const expander *e, uint32_t cg, uint32_t rb, int8_t *dense, const uint8_t **m)
{
    const uint8_t *p = acc_weight_tile(e->w, e->bytes, cg, rb), *end = p + (size_t)e->w->group / 4 * ACC_W2_QUAD_BYTES;
    const uint8x16_t mask = vdupq_n_u8(6);
    const int8x16_t three = vdupq_n_s8(3);
    for (int8_t *to = dense; p < end; p += ACC_W2_QUAD_BYTES, to += 256) ACC_UNROLL for (int i = 0; i < 64; i += 16)
        {
            const uint8x16_t x = vld1q_u8(p + i);
            const uint8x16_t twice[4] = {vshlq_n_u8(x, 1), vshrq_n_u8(x, 1), vshrq_n_u8(x, 3), vshrq_n_u8(x, 5)};
            ACC_UNROLL for (int f = 0; f < 4; f++)
                vst1q_s8(to + 64 * f + i, vsubq_s8(vreinterpretq_s8_u8(vandq_u8(twice[f], mask)), three));
        }
    *m = end;
    return dense;
}

static const int8_t *expand_w4(const expander *e, uint32_t cg, uint32_t rb, int8_t *dense, const uint8_t **m)
{
    const uint8_t *p = acc_weight_tile(e->w, e->bytes, cg, rb), *end = p + (size_t)e->w->group / 4 * ACC_W4_QUAD_BYTES;
    const uint8x16_t mask = vdupq_n_u8(15);
    const int8x16_t eight = vdupq_n_s8(8);
    for (int8_t *to = dense; p < end; p += ACC_W4_QUAD_BYTES, to += 256) ACC_UNROLL for (int i = 0; i < 128; i += 16)
        {
            const uint8x16_t x = vld1q_u8(p + i);
            vst1q_s8(to + i, vsubq_s8(vreinterpretq_s8_u8(vandq_u8(x, mask)), eight));
            vst1q_s8(to + 128 + i, vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(x, 4)), eight));
        }
    *m = end;
    return dense;
}

/* In place; the format has no scales of groups. */
static const int8_t *expand_w8(const expander *e, uint32_t cg, uint32_t rb, int8_t *dense, const uint8_t **m)
{
    (void)dense;
    *m = NULL;
    return (const int8_t *)acc_weight_tile(e->w, e->bytes, cg, rb);
}

/* ---- the chunk ---- */

typedef void block_fn(const int8_t *dense, uint32_t quads, const int8_t *codes, const int32_t *m, int32_t *y, int wide);

#define BLOCK(n)                                                                                             \
    static __attribute__((noinline)) void block##n(const int8_t *dense, uint32_t quads, const int8_t *codes, \
                                                   const int32_t *m, int32_t *y, int wide)                   \
    {                                                                                                        \
        if (wide)                                                                                            \
            block(dense, quads, codes, m, y, n, 1);                                                          \
        else                                                                                                 \
            block(dense, quads, codes, m, y, n, 0);                                                          \
    }
BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)

static block_fn *const blocks[BLOCK_UNITS + 1] = {NULL, block1, block2, block3, block4};

/* m as 32-bit numbers; NULL: ones. */
static void widen(const uint8_t *m, int32_t out[ACC_TILE_ROWS])
{
    for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) out[r] = m ? m[r] : 1;
}

/* One row block: its sums y stay in the nearest cache while the column groups are walked. codes: all groups' units. */
static void row_block(const expander *e, uint32_t rb, const int8_t *codes, uint32_t units, int8_t *dense, int32_t *y)
{
    const acc_weight *w = e->w;
    const uint32_t quads = w->group / 4;
    memset(y, 0, (size_t)units * UNIT_TOKENS * ACC_TILE_ROWS * sizeof *y);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        const uint8_t *m8;
        int32_t m[ACC_TILE_ROWS];
        const int8_t *tile = block_arrange(e->run(e, cg, rb, dense, &m8), quads, dense);
        widen(m8, m);
        for (uint32_t at = 0; at < units; at += BLOCK_UNITS) {
            block_fn *f = blocks[units - at < BLOCK_UNITS ? units - at : BLOCK_UNITS];
            f(tile, quads, codes + ((size_t)cg * units + at) * UNIT_TOKENS * w->group, m,
              y + (size_t)at * UNIT_TOKENS * ACC_TILE_ROWS, e->wide);
        }
    }
}

/* In scratch stand an expanded tile, a row block's sums, and what block_pack() makes of the tokens. */
static int32_t *sums_of(uint8_t *scratch)
{
    return (int32_t *)(void *)(scratch + DENSE_BYTES);
}

static uint32_t units_of(uint32_t n_tokens)
{
    return (n_tokens + UNIT_TOKENS - 1) / UNIT_TOKENS;
}

static int8_t *codes_of(uint32_t n_tokens, uint8_t *scratch)
{
    return (int8_t *)(sums_of(scratch) + (size_t)units_of(n_tokens) * UNIT_TOKENS * ACC_TILE_ROWS);
}

static void pack(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, uint8_t *scratch)
{
    int8_t *codes = codes_of(n_tokens, scratch);
    const size_t each = (size_t)units_of(n_tokens) * UNIT_TOKENS * w->group;
    for (uint32_t cg = 0; cg < w->col_groups; cg++)
        block_pack(a + (size_t)cg * w->group, lda, n_tokens, w->group, codes + cg * each);
}

static void matmul(const expander *e, uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                   uint8_t *scratch)
{
    int32_t *y = sums_of(scratch);
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS) {
        row_block(e, rb, codes_of(n_tokens, scratch), units_of(n_tokens), (int8_t *)scratch, y);
        block_store(y, n_tokens, isum, ldi);
    }
}

/* Fewer tokens than this are cheaper by look-up, one by one: a look-up takes about 10 instructions for 16 rows and a
 * quad, expanding 22 and a dot product 4. */
#define FEW_TOKENS 4

void ACC_NEON(w2s_pack)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)
{
    if (n_tokens < FEW_TOKENS)
        acc_neon_w2s_pack_few(w, a, lda, n_tokens, scratch);
    else
        pack(w, a, lda, n_tokens, scratch);
}

void ACC_NEON(w2s_matmul)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                          size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    if (n_tokens < FEW_TOKENS) {
        acc_neon_w2s_few(w, a, lda, n_tokens, isum, ldi, rb0, rb1, scratch);
        return;
    }
    static const int32_t column[4] = {0, 1, 2, 3};
    expander e = {.run = expand_w2s, .w = w};
    for (int k = 0; k < 4; k++) {
        const uint32x4_t here = vceqq_s32(vld1q_s32(column), vdupq_n_s32(k));
        e.place[k] = vandq_s8(acc_pick_values(w), vreinterpretq_s8_u32(here));
    }
    matmul(&e, n_tokens, isum, ldi, rb0, rb1, scratch);
}

#define DENSE(format, is_wide)                                                                                         \
    void ACC_NEON(format##_pack)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)   \
    {                                                                                                                  \
        if (n_tokens > 1) pack(w, a, lda, n_tokens, scratch);                                                          \
    }                                                                                                                  \
    void ACC_NEON(format##_matmul)(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, \
                                   size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)                              \
    {                                                                                                                  \
        const expander e = {.run = expand_##format, .w = w, .bytes = acc_weight_tile_bytes(w), .wide = is_wide};       \
        (void)a;                                                                                                       \
        (void)lda;                                                                                                     \
        matmul(&e, n_tokens, isum, ldi, rb0, rb1, scratch);                                                            \
    }
DENSE(w2, 0)
DENSE(w4, 0)
DENSE(w8, 1)
