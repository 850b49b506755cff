/* Decode for one token: W2, W4 and W8, in the file's layout. */
#include "kernels/neon/dots.h"
#include "kernels/neon/linear.h"

/* Accumulators that the registers hold: each is one register with dot products, else two. */
#ifdef ACC_NEON_DOTPROD
#define HELD 16
#else
#define HELD 8
#endif

/* offset times the group's activations, as what a lane starts from; n: a multiple of 8, at most 128. */
static acc_dots start(const int8_t *a, uint32_t n, int8_t offset)
{
    const int8x16_t w = vdupq_n_s8(offset);
    acc_dots s = dots_zero();
    for (uint32_t k = 0; k < n; k += 8) s = dots_add(s, w, broadcast4(a + k), w, broadcast4(a + k + 4), 0);
    return s;
}

/* One tile of one column group: adds m times its sums to y [64]; `from`: the offset's part of them. */
typedef void tile_fn(const uint8_t *p, const int8_t *a, uint32_t group, acc_dots from, int32_t *y);

ACC_INLINE void matvec(tile_fn *add_tile, int8_t offset, const acc_weight *w, const int8_t *a, int32_t *isum,
                       uint32_t rb0, uint32_t rb1)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++, a += w->group) {
        const acc_dots from = start(a, w->group, offset);
        for (uint32_t rb = rb0; rb < rb1; rb++)
            add_tile(acc_weight_tile(w, bytes, cg, rb), a, w->group, from, isum + (size_t)(rb - rb0) * ACC_TILE_ROWS);
    }
}

/* ---- W2: a field (level + 3) / 2 of two bits is the weight; twice its sum less 3 times the activations ---- */

#define W2_VECTORS (HELD / 4)
/* Fields 1 and 3 are used where they stand, four times too large; 16 quads of them fit 16 bits (16 * 12 * 127). */
#define W2_STEP 64

ACC_INLINE void w2_step(const uint8_t *p, const int8_t *a, uint32_t columns, int32x4_t sum[4][W2_VECTORS])
{
    const uint8x16_t low = vdupq_n_u8(3), high = vdupq_n_u8(12);
    acc_dots s[4][W2_VECTORS];
    ACC_UNROLL for (int f = 0; f < 4; f++) ACC_UNROLL for (int i = 0; i < W2_VECTORS; i++) s[f][i] = dots_zero();
    for (uint32_t k = 0; k < columns; k += 8, p += 2 * ACC_W2_QUAD_BYTES) {
        const int8x16_t v0 = broadcast4(a + k), v1 = broadcast4(a + k + 4);
        ACC_UNROLL for (int i = 0; i < W2_VECTORS; i++)
        {
            const uint8x16_t x0 = vld1q_u8(p + 16 * i), x1 = vld1q_u8(p + ACC_W2_QUAD_BYTES + 16 * i);
            const uint8x16_t y0 = vshrq_n_u8(x0, 4), y1 = vshrq_n_u8(x1, 4);
            const uint8x16_t w0[4] = {vandq_u8(x0, low), vandq_u8(x0, high), vandq_u8(y0, low), vandq_u8(y0, high)};
            const uint8x16_t w1[4] = {vandq_u8(x1, low), vandq_u8(x1, high), vandq_u8(y1, low), vandq_u8(y1, high)};
            ACC_UNROLL for (int f = 0; f < 4; f++) s[f][i] =
                dots_add(s[f][i], vreinterpretq_s8_u8(w0[f]), v0, vreinterpretq_s8_u8(w1[f]), v1, 0);
        }
    }
    ACC_UNROLL for (int f = 0; f < 4; f++) ACC_UNROLL for (int i = 0; i < W2_VECTORS; i++)
    {
        const int32x4_t t = dots_total(s[f][i], 0);
        sum[f][i] = vaddq_s32(sum[f][i], f % 2 ? vshrq_n_s32(t, 1) : vaddq_s32(t, t));
    }
}

static void w2_tile(const uint8_t *p, const int8_t *a, uint32_t group, acc_dots from, int32_t *y)
{
    const uint8_t *m = p + (size_t)group / 4 * ACC_W2_QUAD_BYTES;
    int32x4_t all[4][4]; /* field: rows 16 f on */
    for (int part = 0; part < 4; part += W2_VECTORS) {
        int32x4_t sum[4][W2_VECTORS];
        ACC_UNROLL for (int f = 0; f < 4; f++) ACC_UNROLL for (int i = 0; i < W2_VECTORS; i++) sum[f][i] =
            dots_total(from, 0);
        for (uint32_t k = 0; k < group; k += W2_STEP)
            w2_step(p + (size_t)k / 4 * ACC_W2_QUAD_BYTES + 16 * part, a + k, group - k < W2_STEP ? group - k : W2_STEP,
                    sum);
        ACC_UNROLL for (int f = 0; f < 4; f++) ACC_UNROLL for (int i = 0; i < W2_VECTORS; i++) all[f][part + i] =
            sum[f][i];
    }
    for (int f = 0; f < 4; f++) acc_add_scaled(y + 16 * f, m + 16 * f, all[f]);
}

void ACC_NEON(w2_matvec)(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)scratch;
    matvec(w2_tile, -3, w, a, isum, rb0, rb1);
}

/* ---- W4: the nibble code + 8 is the weight, 8 times the activations are taken off. Sums of 32 quads that started
 * there fit 16 bits in the end (32 * 8 * 127), whatever they were on their way. ---- */

#define W4_VECTORS (HELD / 2)

static void w4_tile(const uint8_t *p, const int8_t *a, uint32_t group, acc_dots from, int32_t *y)
{
    const uint8x16_t mask = vdupq_n_u8(15);
    const uint8_t *m = p + (size_t)group / 4 * ACC_W4_QUAD_BYTES;
    int32x4_t all[2][8]; /* nibble: rows 32 j on */
    for (int part = 0; part < 8; part += W4_VECTORS) {
        const uint8_t *x = p + 16 * part;
        acc_dots s[2][W4_VECTORS];
        ACC_UNROLL for (int j = 0; j < 2; j++) ACC_UNROLL for (int i = 0; i < W4_VECTORS; i++) s[j][i] = from;
        for (uint32_t k = 0; k < group; k += 8, x += 2 * ACC_W4_QUAD_BYTES) {
            const int8x16_t v0 = broadcast4(a + k), v1 = broadcast4(a + k + 4);
            ACC_UNROLL for (int i = 0; i < W4_VECTORS; i++)
            {
                const uint8x16_t x0 = vld1q_u8(x + 16 * i), x1 = vld1q_u8(x + ACC_W4_QUAD_BYTES + 16 * i);
                s[0][i] = dots_add(s[0][i], vreinterpretq_s8_u8(vandq_u8(x0, mask)), v0,
                                   vreinterpretq_s8_u8(vandq_u8(x1, mask)), v1, 0);
                s[1][i] = dots_add(s[1][i], vreinterpretq_s8_u8(vshrq_n_u8(x0, 4)), v0,
                                   vreinterpretq_s8_u8(vshrq_n_u8(x1, 4)), v1, 0);
            }
        }
        ACC_UNROLL for (int j = 0; j < 2; j++) ACC_UNROLL for (int i = 0; i < W4_VECTORS; i++) all[j][part + i] =
            dots_total(s[j][i], 0);
    }
    for (int i = 0; i < 4; i++) acc_add_scaled(y + 16 * i, m + 16 * i, &all[i / 2][i % 2 * 4]);
}

void ACC_NEON(w4_matvec)(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)scratch;
    matvec(w4_tile, -8, w, a, isum, rb0, rb1);
}

/* ---- W8 ---- */

static void w8_tile(const uint8_t *p, const int8_t *a, uint32_t group, acc_dots from, int32_t *y)
{
    (void)from;
    for (int part = 0; part < 16; part += HELD, p += 16 * HELD) {
        const int8_t *x = (const int8_t *)p;
        acc_dots s[HELD];
        ACC_UNROLL for (int i = 0; i < HELD; i++) s[i] = dots_zero();
        for (uint32_t k = 0; k < group; k += 8, x += 2 * ACC_W8_QUAD_BYTES) {
            const int8x16_t v0 = broadcast4(a + k), v1 = broadcast4(a + k + 4);
            ACC_UNROLL for (int i = 0; i < HELD; i++) s[i] =
                dots_add(s[i], vld1q_s8(x + 16 * i), v0, vld1q_s8(x + ACC_W8_QUAD_BYTES + 16 * i), v1, 1);
        }
        ACC_UNROLL for (int i = 0; i < HELD; i++, y += 4) vst1q_s32(y, vaddq_s32(vld1q_s32(y), dots_total(s[i], 1)));
    }
}

void ACC_NEON(w8_matvec)(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)scratch;
    matvec(w8_tile, 0, w, a, isum, rb0, rb1);
}
