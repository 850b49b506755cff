/*
 * Prefill, all formats, and what the dense ones put in: a tile is expanded once to unsigned bytes code + offset,
 * [quad][64 rows][4]; 64 rows x 6 tokens then live in registers, one byte dot product per 64 products. Sums start at
 * -offset * sum(a), which makes them exact.
 */
#include "core/inline.h"
#include "kernels/avx512/matmul.h"

#define TOKENS 6 /* of one register tile */

typedef struct tokens {
    int8_t *codes;  /* [col_groups][n][group], flipped: rows of the original stride would meet in one cache set */
    int32_t *start; /* [col_groups][n] */
    uint32_t n;
} tokens;

/* n: a multiple of 32. */
static inline void copy_flipped(int8_t *to, const int8_t *from, uint32_t n, __m256i flip)
{
    for (uint32_t i = 0; i < n; i += 32)
        _mm256_storeu_si256((__m256i *)(to + i),
                            _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(from + i)), flip));
}

/* Where they stand in scratch: behind an expanded tile and a row block's sums. */
static tokens tokens_of(const acc_weight *w, uint32_t n, uint8_t *scratch)
{
    tokens t = {.codes = (int8_t *)scratch + ACC_MATMUL_DENSE + (size_t)n * ACC_TILE_ROWS * sizeof(int32_t), .n = n};
    t.start = (int32_t *)(void *)(t.codes + (size_t)w->col_groups * w->group * n);
    return t;
}

void acc_avx512_pack(const acc_matmul *e, const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens,
                     uint8_t *scratch)
{
    const __m256i flip = _mm256_set1_epi8((char)e->flip);
    const uint32_t group = w->group;
    const tokens t = tokens_of(w, n_tokens, scratch);
    for (uint32_t i = 0; i < n_tokens; i++)
        for (uint32_t cg = 0; cg < w->col_groups; cg++) {
            const size_t at = (size_t)cg * n_tokens + i;
            const int8_t *from = a + i * lda + (size_t)cg * group;
            copy_flipped(t.codes + at * group, from, group, flip);
            t.start[at] = e->offset == 0 ? 0 : -e->offset * acc_sum_codes(from, group);
        }
}

/* How a group's sums meet m: W8 has none; where they fit 16 bits one multiplication is cheaper. */
typedef enum scaling { PLAIN, WORDS, LONGS } scaling;

/* y [n][64] += 64 rows times n (constant) tokens. m [4]: 16 rows each. */
ACC_INLINE void block(const uint8_t *dense, uint32_t quads, const int8_t *a, const int32_t *start, const __m512i *m,
                      int32_t *y, const int n, const scaling by)
{
    const size_t group = (size_t)quads * 4;
    __m512i s[TOKENS][4];
#pragma GCC unroll 6
    for (int t = 0; t < n; t++) s[t][0] = s[t][1] = s[t][2] = s[t][3] = _mm512_set1_epi32(start[t]);
    for (uint32_t q = 0; q < quads; q++, dense += 256) {
        const __m512i w0 = acc_load512(dense), w1 = acc_load512(dense + 64);
        const __m512i w2 = acc_load512(dense + 128), w3 = acc_load512(dense + 192);
#pragma GCC unroll 6
        for (int t = 0; t < n; t++) {
            const __m512i v = broadcast4(a + (size_t)t * group + 4 * q);
            s[t][0] = acc_dot(s[t][0], w0, v);
            s[t][1] = acc_dot(s[t][1], w1, v);
            s[t][2] = acc_dot(s[t][2], w2, v);
            s[t][3] = acc_dot(s[t][3], w3, v);
        }
    }
#pragma GCC unroll 6
    for (int t = 0; t < n; t++, y += ACC_TILE_ROWS)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512i x = s[t][i];
            if (by == WORDS) x = _mm512_madd_epi16(x, m[i]);
            if (by == LONGS) x = _mm512_mullo_epi32(x, m[i]);
            acc_store512(y + 16 * i, _mm512_add_epi32(acc_load512(y + 16 * i), x));
        }
}

#define BLOCK(n, by)                                                                                          \
    static __attribute__((noinline)) void block##n##by(const uint8_t *dense, uint32_t quads, const int8_t *a, \
                                                       const int32_t *start, const __m512i *m, int32_t *y)    \
    {                                                                                                         \
        block(dense, quads, a, start, m, y, n, by);                                                           \
    }
#define BLOCKS(by) BLOCK(2, by) BLOCK(3, by) BLOCK(4, by) BLOCK(5, by) BLOCK(6, by)
#define ENTRIES(by)                                                            \
    {                                                                          \
        NULL, NULL, block2##by, block3##by, block4##by, block5##by, block6##by \
    }
BLOCKS(PLAIN)
BLOCKS(WORDS)
BLOCKS(LONGS)

static acc_block_fn *const blocks[3][TOKENS + 1] = {ENTRIES(PLAIN), ENTRIES(WORDS), ENTRIES(LONGS)};

/* ---- expanding a tile ---- */

static const uint8_t *expand_w2(const acc_matmul *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    (void)e;
    const __m512i mask = _mm512_set1_epi8(6);
    for (uint32_t q = 0; q < quads; q++, src += ACC_W2_QUAD_BYTES, dense += 256) {
        const __m512i x = acc_load512(src);
        acc_store512(dense, _mm512_and_si512(_mm512_slli_epi16(x, 1), mask));
        acc_store512(dense + 64, _mm512_and_si512(_mm512_srli_epi16(x, 1), mask));
        acc_store512(dense + 128, _mm512_and_si512(_mm512_srli_epi16(x, 3), mask));
        acc_store512(dense + 192, _mm512_and_si512(_mm512_srli_epi16(x, 5), mask));
    }
    return src;
}

static const uint8_t *expand_w4(const acc_matmul *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    (void)e;
    const __m512i mask = _mm512_set1_epi8(15);
    for (uint32_t q = 0; q < quads; q++, src += ACC_W4_QUAD_BYTES, dense += 256)
        for (int i = 0; i < 2; i++) {
            const __m512i x = acc_load512(src + 64 * i);
            acc_store512(dense + 64 * i, _mm512_and_si512(x, mask));
            acc_store512(dense + 128 + 64 * i, _mm512_and_si512(_mm512_srli_epi16(x, 4), mask));
        }
    return src;
}

static const uint8_t *expand_w8(const acc_matmul *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    (void)e;
    const __m512i flip = _mm512_set1_epi8(-128);
    for (uint32_t i = 0; i < quads * 4; i++, src += 64, dense += 64)
        acc_store512(dense, _mm512_xor_si512(acc_load512(src), flip));
    return NULL;
}

/* The next tile of a row block lies far from the last: the processor does not foresee it. */
static inline void prefetch_tile(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

/* One row block: y [n][64], which stays in the nearest cache while the column groups are walked. */
static void row_block(const acc_matmul *e, const acc_weight *w, const tokens *t, uint32_t rb, uint8_t *dense,
                      int32_t *y)
{
    const uint32_t quads = w->group / 4;
    const size_t bytes = acc_weight_tile_bytes(w);
    memset(y, 0, (size_t)t->n * ACC_TILE_ROWS * sizeof *y);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        const uint8_t *m8 = e->expand(e, acc_weight_tile(w, bytes, cg, rb), quads, dense);
        __m512i m[4] = {{0}};
        for (int i = 0; m8 && i < 4; i++) m[i] = acc_widen_u8(m8 + 16 * i);
        if (cg + 1 < w->col_groups) prefetch_tile(acc_weight_tile(w, bytes, cg + 1, rb), bytes);
        /* Blocks as alike as can be: one of a few tokens is slow. */
        for (uint32_t at = 0, left = (t->n + e->tokens - 1) / e->tokens, n; left > 0; at += n, left--) {
            n = (t->n - at + left - 1) / left;
            const size_t first = (size_t)cg * t->n + at;
            e->blocks[n](dense, quads, t->codes + first * w->group, t->start + first, m,
                         y + (size_t)at * ACC_TILE_ROWS);
        }
    }
}

void acc_avx512_matmul(const acc_matmul *e, const acc_weight *w, uint32_t n_tokens, int32_t *isum, size_t ldi,
                       uint32_t rb0, uint32_t rb1, uint8_t *scratch)
{
    int32_t *y = (int32_t *)(void *)(scratch + ACC_MATMUL_DENSE);
    const tokens t = tokens_of(w, n_tokens, scratch);
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS) {
        row_block(e, w, &t, rb, scratch, y);
        for (uint32_t i = 0; i < n_tokens; i++)
            memcpy(isum + i * ldi, y + (size_t)i * ACC_TILE_ROWS, ACC_TILE_ROWS * sizeof *y);
    }
}

static acc_matmul w2_matmul(const acc_weight *w)
{
    return (acc_matmul){
        .expand = expand_w2, .offset = 3, .blocks = blocks[w->group <= 64 ? WORDS : LONGS], .tokens = TOKENS};
}

static acc_matmul w4_matmul(const acc_weight *w)
{
    (void)w;
    return (acc_matmul){.expand = expand_w4, .offset = 8, .blocks = blocks[LONGS], .tokens = TOKENS};
}

static acc_matmul w8_matmul(const acc_weight *w)
{
    (void)w;
    return (acc_matmul){.expand = expand_w8, .offset = 128, .blocks = blocks[PLAIN], .tokens = TOKENS};
}

/* Both functions of a format. */
#define DENSE(format)                                                                                       \
    void acc_avx512_##format##_pack(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens,    \
                                    void *scratch)                                                          \
    {                                                                                                       \
        const acc_matmul e = format##_matmul(w);                                                            \
        if (n_tokens > 1) acc_avx512_pack(&e, w, a, lda, n_tokens, scratch);                                \
    }                                                                                                       \
    void acc_avx512_##format##_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens,  \
                                      int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch) \
    {                                                                                                       \
        const acc_matmul e = format##_matmul(w);                                                            \
        (void)a;                                                                                            \
        (void)lda;                                                                                          \
        acc_avx512_matmul(&e, w, n_tokens, isum, ldi, rb0, rb1, scratch);                                   \
    }
DENSE(w2)
DENSE(w4)
DENSE(w8)
