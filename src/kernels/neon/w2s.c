/* W2S for one token, and its repacked layout (neon/linear.h). */
#include "kernels/neon/linear.h"
#include "kernels/picks.h"

size_t acc_neon_w2s_repack_bytes(const acc_weight *w)
{
    return (size_t)w->row_blocks * w->col_groups * acc_picks_tile_bytes(w);
}

void acc_neon_w2s_repack(const acc_weight *w, uint8_t *dst)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    uint8_t picks[128];
    for (unsigned c = 0; c < 128; c++) picks[c] = acc_w2s_picks(c);
    for (uint32_t rb = 0; rb < w->row_blocks; rb++)
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            const uint8_t *src = acc_weight_tile(w, bytes, cg, rb);
            for (uint32_t q = 0; q < w->group / 4; q++, src += ACC_W2S_QUAD_BYTES, dst += ACC_PICKS_QUAD_BYTES) {
                acc_w2s_codes(src, dst);
                for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) dst[r] = picks[dst[r]];
            }
            memcpy(dst, src, ACC_TILE_ROWS);
            dst += ACC_TILE_ROWS;
        }
}

/* Per quad 16 bytes: a[i / 4], so that a pick's nibble finds its activation. */
static void activations(const int8_t *a, size_t n, int8_t *table)
{
    for (size_t i = 0; i < n; i += 16, table += 64) {
        const int8x16_t x = vld1q_s8(a + i), lo = vzip1q_s8(x, x), hi = vzip2q_s8(x, x);
        vst1q_s8(table, vzip1q_s8(lo, lo));
        vst1q_s8(table + 16, vzip2q_s8(lo, lo));
        vst1q_s8(table + 32, vzip1q_s8(hi, hi));
        vst1q_s8(table + 48, vzip2q_s8(hi, hi));
    }
}

/* One tile: a pick adds its value times its activation. A group's sum of a row fits 16 bits (design section 2), so
 * does its way there modulo 2^16. */
static inline void add_tile(const uint8_t *p, const int8_t *table, uint32_t quads, int8x16_t values, int32_t *y)
{
    const uint8x16_t mask = vdupq_n_u8(15);
    int16x8_t s[8];
    ACC_UNROLL for (int i = 0; i < 8; i++) s[i] = vdupq_n_s16(0);
    for (uint32_t q = 0; q < quads; q++, p += ACC_PICKS_QUAD_BYTES, table += 16) {
        const int8x16_t t = vld1q_s8(table);
        ACC_UNROLL for (int i = 0; i < 4; i++)
        {
            const uint8x16_t x = vld1q_u8(p + 16 * i);
            const uint8x16_t picks[2] = {vandq_u8(x, mask), vshrq_n_u8(x, 4)};
            ACC_UNROLL for (int j = 0; j < 2; j++)
            {
                const int8x16_t v = vqtbl1q_s8(values, picks[j]), b = vqtbl1q_s8(t, picks[j]);
                s[2 * i] = vmlal_s8(s[2 * i], vget_low_s8(v), vget_low_s8(b));
                s[2 * i + 1] = vmlal_high_s8(s[2 * i + 1], v, b);
            }
        }
    }
    ACC_UNROLL for (int i = 0; i < 4; i++)
    {
        const int32x4_t sum[4] = {vmovl_s16(vget_low_s16(s[2 * i])), vmovl_high_s16(s[2 * i]),
                                  vmovl_s16(vget_low_s16(s[2 * i + 1])), vmovl_high_s16(s[2 * i + 1])};
        acc_add_scaled(y + 16 * i, p + 16 * i, sum);
    }
}

static size_t table_bytes(const acc_weight *w)
{
    return (size_t)4 * w->col_groups * w->group;
}

void acc_neon_w2s_pack_few(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)
{
    const size_t bytes = table_bytes(w);
    for (uint32_t t = 0; t < n_tokens; t++) activations(a + t * lda, bytes / 4, (int8_t *)scratch + t * bytes);
}

void acc_neon_w2s_few(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, size_t ldi,
                      uint32_t rb0, uint32_t rb1, void *scratch)
{
    const uint32_t quads = w->group / 4;
    const int8x16_t values = acc_pick_values(w);
    const int8_t *table = scratch;
    (void)a;
    (void)lda;
    for (uint32_t t = 0; t < n_tokens; t++, table += table_bytes(w), isum += ldi) {
        int32_t *y = isum;
        memset(y, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *y);
        for (uint32_t rb = rb0; rb < rb1; rb++, y += ACC_TILE_ROWS)
            for (uint32_t cg = 0; cg < w->col_groups; cg++)
                add_tile(acc_picks_tile(w, cg, rb), table + (size_t)cg * quads * 16, quads, values, y);
    }
}

void acc_neon_w2s_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    acc_neon_w2s_few(w, a, 0, 1, isum, 0, rb0, rb1, scratch);
}
