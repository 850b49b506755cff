/*
 * Prefill of W8: bytes widened to words on the way in, products of words summed in 32 bits. 8 rows x up to 6 tokens
 * live in registers; each row holds two partial sums, added at the end of a tile.
 */
#include "kernels/avx2/linear.h"

#define TOKENS 6

/* acc + products of words, in 32-bit sums of pairs; as inline assembly for the reason in dots.h. */
static inline __m256i add_words(__m256i acc, __m256i a, __m256i b)
{
    __m256i product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(a), "x"(b));
    return acc;
}

/* isum [n][ldi] += 8 rows times n (constant) tokens; a [n][group] as words. */
ACC_INLINE void block(const uint8_t *p, uint32_t quads, const int16_t *a, int32_t *isum, size_t ldi, const int n)
{
    __m256i s0[TOKENS], s1[TOKENS];
    const size_t group = (size_t)quads * 4;
#pragma GCC unroll 6
    for (int t = 0; t < n; t++) s0[t] = s1[t] = _mm256_setzero_si256();
    for (uint32_t q = 0; q < quads; q++, p += ACC_W8_QUAD_BYTES) {
        const __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
        const __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p + 16)));
#pragma GCC unroll 6
        for (int t = 0; t < n; t++) {
            const __m256i v = broadcast8(a + (size_t)t * group + 4 * q);
            s0[t] = add_words(s0[t], w0, v);
            s1[t] = add_words(s1[t], w1, v);
        }
    }
#pragma GCC unroll 6
    for (int t = 0; t < n; t++, isum += ldi) {
        /* rows 0, 1, 4, 5 | 2, 3, 6, 7 */
        const __m256i rows = _mm256_permute4x64_epi64(_mm256_hadd_epi32(s0[t], s1[t]), _MM_SHUFFLE(3, 1, 2, 0));
        store256(isum, _mm256_add_epi32(load256(isum), rows));
    }
}

#define BLOCK(n)                                                                                                      \
    static __attribute__((noinline)) void block##n(const uint8_t *p, uint32_t quads, const int16_t *a, int32_t *isum, \
                                                   size_t ldi)                                                        \
    {                                                                                                                 \
        block(p, quads, a, isum, ldi, n);                                                                             \
    }
BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)
BLOCK(5)
BLOCK(6)

typedef void block_fn(const uint8_t *p, uint32_t quads, const int16_t *a, int32_t *isum, size_t ldi);
static block_fn *const blocks[TOKENS + 1] = {NULL, block1, block2, block3, block4, block5, block6};

/* [col_groups][n][group] as words. */
void acc_avx2_w8_pack(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)
{
    int16_t *codes = scratch;
    if (n_tokens == 1) return;
    for (uint32_t cg = 0; cg < w->col_groups; cg++)
        for (uint32_t t = 0; t < n_tokens; t++, codes += w->group)
            for (uint32_t k = 0; k < w->group; k++) codes[k] = a[t * lda + (size_t)cg * w->group + k];
}

static inline void ask(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

void acc_avx2_w8_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum, size_t ldi,
                        uint32_t rb0, uint32_t rb1, void *scratch)
{
    const int16_t *codes = scratch;
    const uint32_t quads = w->group / 4;
    const size_t bytes = acc_weight_tile_bytes(w);
    (void)a;
    (void)lda;
    for (uint32_t t = 0; t < n_tokens; t++)
        memset(isum + t * ldi, 0, (size_t)(rb1 - rb0) * ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS)
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            const uint8_t *tile = acc_weight_tile(w, bytes, cg, rb), *next = acc_tile_after(w, bytes, cg, rb);
            const int16_t *a16 = codes + (size_t)cg * n_tokens * w->group;
            for (uint32_t at = 0; at < n_tokens; at += TOKENS) {
                block_fn *f = blocks[n_tokens - at < TOKENS ? n_tokens - at : TOKENS];
                for (uint32_t rows = 0; rows < ACC_TILE_ROWS; rows += 8) {
                    if (at == 0) ask(next + rows / 8 * (bytes / 8), bytes / 8);
                    f(tile + 4 * rows, quads, a16 + (size_t)at * w->group, isum + at * ldi + rows, ldi);
                }
            }
        }
}
