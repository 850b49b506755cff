/*
 * W2 decode for one token: a field (level + 3) / 2 of two bits is the unsigned operand. Twice a pair of columns less 3
 * times its activations fits 16 bits over the whole group (32 quads * 2 * 3 * 127), so words are widened once per
 * group.
 */
#include "kernels/avx2/linear.h"

#define AHEAD_BYTES 4096 /* prefetch distance */

/*
 * 8 quads. s[2 f + i] are rows 16 f + 8 i on. Fields 1 and 3 are used where they stand, four times too large, which
 * saves a shift each; 8 quads of them fit 16 bits (8 * 2 * 12 * 127).
 */
static inline void fold(const uint8_t *p, const char *ahead, const int8_t *a, __m256i s[8])
{
    const __m256i low = _mm256_set1_epi8(0x03), high = _mm256_set1_epi8(0x0c);
    __m256i t[8];
    for (int i = 0; i < 8; i++) t[i] = _mm256_setzero_si256();
    for (uint32_t q = 0; q < 8; q++, p += ACC_W2_QUAD_BYTES, ahead += ACC_W2_QUAD_BYTES) {
        const __m256i v = broadcast4(a + 4 * q);
        _mm_prefetch(ahead, _MM_HINT_T0);
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const __m256i x = load256(p + 32 * i), y = _mm256_srli_epi16(x, 4);
            t[i] = acc_add_bytes(t[i], _mm256_and_si256(x, low), v);
            t[2 + i] = acc_add_bytes(t[2 + i], _mm256_and_si256(x, high), v);
            t[4 + i] = acc_add_bytes(t[4 + i], _mm256_and_si256(y, low), v);
            t[6 + i] = acc_add_bytes(t[6 + i], _mm256_and_si256(y, high), v);
        }
    }
    for (int i = 0; i < 8; i++) s[i] = _mm256_add_epi16(s[i], i & 2 ? _mm256_srai_epi16(t[i], 2) : t[i]);
}

void acc_avx2_w2_matvec(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1, void *scratch)
{
    (void)scratch;
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t steps = (uint32_t)(AHEAD_BYTES / bytes);
    memset(isum, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t cg = 0; cg < w->col_groups; cg++, a += w->group) {
        const __m256i offset = _mm256_set1_epi32(acc_start(a, w->group, 3));
        int32_t *y = isum;
        for (uint32_t rb = rb0; rb < rb1; rb++, y += ACC_TILE_ROWS) {
            const uint8_t *p = acc_weight_tile(w, bytes, cg, rb);
            const char *ahead = (const char *)acc_tile_ahead(w, bytes, cg, rb, rb0, rb1, steps);
            __m256i s[8];
            for (int i = 0; i < 8; i++) s[i] = _mm256_setzero_si256();
            for (uint32_t k = 0; k < w->group; k += 32, p += 8 * ACC_W2_QUAD_BYTES, ahead += 8 * ACC_W2_QUAD_BYTES)
                fold(p, ahead, a + k, s);
            for (int i = 0; i < 8; i++) {
                const __m256i sum = _mm256_add_epi16(_mm256_add_epi16(s[i], s[i]), offset);
                const __m256i scaled = acc_scaled(sum, acc_scale(p + 8 * i));
                store256(y + 8 * i, _mm256_add_epi32(load256(y + 8 * i), scaled));
            }
        }
    }
}
