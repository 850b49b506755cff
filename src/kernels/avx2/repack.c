/* W2S tiles into nibble pairs (avx2/linear.h). */
#include "kernels/avx2/linear.h"
#include "kernels/picks.h"

/* Row of a 16-row group that stands at word j. */
static uint32_t order(uint32_t j)
{
    return (j & 3) | (j & 4) << 1 | (j & 8) >> 1;
}

size_t acc_avx2_w2s_repack_bytes(const acc_weight *w)
{
    return (size_t)w->row_blocks * 2 * w->col_groups * acc_nibble_tile_bytes(w);
}

static void repack_half(const uint8_t codes[32], const uint8_t table[128], uint8_t dst[32])
{
    for (uint32_t j = 0; j < 16; j++) {
        const unsigned low = table[codes[order(j)]], high = table[codes[16 + order(j)]];
        dst[2 * j] = (uint8_t)((low & 15) | (high & 15) << 4);
        dst[2 * j + 1] = (uint8_t)(low >> 4 | (high & 0xf0));
    }
}

void acc_avx2_w2s_repack(const acc_weight *w, uint8_t *dst)
{
    const size_t from_bytes = acc_weight_tile_bytes(w), to_bytes = acc_nibble_tile_bytes(w);
    uint8_t table[128];
    for (unsigned c = 0; c < 128; c++) table[c] = acc_w2s_picks(c);
    for (uint32_t rb = 0; rb < w->row_blocks; rb++)
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            const uint8_t *src = acc_weight_tile(w, from_bytes, cg, rb);
            uint8_t *half0 = dst + ((size_t)rb * 2 * w->col_groups + cg) * to_bytes;
            uint8_t *half1 = half0 + w->col_groups * to_bytes;
            for (uint32_t q = 0; q < w->group / 4; q++, src += ACC_W2S_QUAD_BYTES, half0 += 32, half1 += 32) {
                uint8_t codes[ACC_TILE_ROWS];
                acc_w2s_codes(src, codes);
                repack_half(codes, table, half0);
                repack_half(codes + 32, table, half1);
            }
            for (uint32_t i = 0; i < 32; i++) {
                half0[i] = src[i / 16 * 16 + order(i % 16)];
                half1[i] = src[32 + i / 16 * 16 + order(i % 16)];
            }
        }
}
