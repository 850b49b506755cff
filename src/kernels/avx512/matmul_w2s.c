/*
 * Prefill of W2S, at half the products of a dense format: a code is two picks of its quad's four columns (picks.h), so
 * two quads are four weights and four places among eight activations, which a byte shuffle brings to each row. A
 * shuffle and a product work side by side where two products would wait for each other. The activations are the
 * unsigned side, a + 128; sums start at -128 * sum(weights), which makes them exact.
 */
#include "core/inline.h"
#include "kernels/avx512/matmul.h"
#include "kernels/picks.h"

#define TOKENS 5
#define STEP_BYTES 512 /* of two quads: weights [64 rows][4], places [64 rows][4] */

_Static_assert(128 / 8 * STEP_BYTES + 256 <= ACC_MATMUL_DENSE, "and the start of the sums, behind the last step");

/* y [n][64] += 64 rows times n (constant) tokens. */
ACC_INLINE void block(const uint8_t *dense, uint32_t quads, const int8_t *a, const __m512i *m, int32_t *y, const int n)
{
    const size_t group = (size_t)quads * 4;
    const uint8_t *first = dense + (size_t)quads / 2 * STEP_BYTES;
    __m512i s[TOKENS][4];
#pragma GCC unroll 5
    for (int t = 0; t < n; t++)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) s[t][i] = acc_load512(first + 64 * i);
    for (uint32_t q = 0; q < quads; q += 2, dense += STEP_BYTES) {
        __m512i w[4], place[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) w[i] = acc_load512(dense + 64 * i);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) place[i] = acc_load512(dense + 256 + 64 * i);
#pragma GCC unroll 5
        for (int t = 0; t < n; t++) {
            const __m512i v = broadcast8(a + (size_t)t * group + 4 * q);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) s[t][i] = acc_dot(s[t][i], _mm512_shuffle_epi8(v, place[i]), w[i]);
        }
    }
#pragma GCC unroll 5
    for (int t = 0; t < n; t++, y += ACC_TILE_ROWS)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m512i x = _mm512_madd_epi16(s[t][i], m[i]); /* the sums fit 16 bits */
            acc_store512(y + 16 * i, _mm512_add_epi32(acc_load512(y + 16 * i), x));
        }
}

#define BLOCK(n)                                                                                          \
    static void w2s_block##n(const uint8_t *dense, uint32_t quads, const int8_t *a, const int32_t *start, \
                             const __m512i *m, int32_t *y)                                                \
    {                                                                                                     \
        (void)start;                                                                                      \
        block(dense, quads, a, m, y, n);                                                                  \
    }
BLOCK(3)
BLOCK(4)
BLOCK(5)

static acc_block_fn *const blocks[TOKENS + 1] = {NULL, NULL, NULL, w2s_block3, w2s_block4, w2s_block5};

/* The picks of each code, a nibble's value and place by acc_w2s_picks(). */
typedef struct tables {
    uint8_t picks[128], value[16], place[16];
} tables;

static tables make_tables(const acc_weight *w)
{
    tables t;
    const int values[4] = {-w->level2, -w->level1, w->level1, w->level2};
    for (unsigned c = 0; c < 128; c++) t.picks[c] = acc_w2s_picks(c);
    for (int i = 0; i < 16; i++) {
        t.value[i] = (uint8_t)values[i & 3];
        t.place[i] = (uint8_t)(i >> 2);
    }
    return t;
}

static inline __m512i four_times(const uint8_t *table)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
}

/* Where the bytes of 16 rows' picks stand among two quads' 64 each: of the first quad twice, of the second twice. */
static inline __m512i rows_from(int first)
{
    int32_t x[16];
    for (int i = 0; i < 16; i++) x[i] = (first + i) * 0x01010101 | 0x40400000;
    return acc_load512(x);
}

static const uint8_t *expand(const acc_matmul *e, const uint8_t *src, uint32_t quads, uint8_t *dense)
{
    static const uint8_t to_nibble[8] = {0, 12, 16, 28, 32, 44, 48, 60}; /* low, high, low, high */
    const tables *t = e->tables;
    const __m512i spread = acc_w2s_spread(), shifts = acc_w2s_shifts();
    const __m512i low = acc_load512(t->picks), high = acc_load512(t->picks + 64);
    const __m512i values = four_times(t->value), places = four_times(t->place), fields = broadcast8(to_nibble);
    const __m512i nibble = _mm512_set1_epi8(15), second = _mm512_set1_epi32(0x04040000),
                  offset = _mm512_set1_epi8(-128);
    const __m512i from[4] = {rows_from(0), rows_from(16), rows_from(32), rows_from(48)};
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum[4] = {zero, zero, zero, zero};
    for (uint32_t q = 0; q < quads; q += 2, src += 2 * ACC_W2S_QUAD_BYTES, dense += STEP_BYTES) {
        const __m512i code0 = acc_w2s_codes512(src, spread, shifts);
        const __m512i code1 = acc_w2s_codes512(src + ACC_W2S_QUAD_BYTES, spread, shifts);
        const __m512i picks0 = _mm512_permutex2var_epi8(low, code0, high);
        const __m512i picks1 = _mm512_permutex2var_epi8(low, code1, high);
        for (int i = 0; i < 4; i++) {
            const __m512i four = _mm512_permutex2var_epi8(picks0, from[i], picks1);
            const __m512i pick = _mm512_and_si512(_mm512_multishift_epi64_epi8(fields, four), nibble);
            const __m512i w = _mm512_shuffle_epi8(values, pick);
            acc_store512(dense + 64 * i, w);
            acc_store512(dense + 256 + 64 * i, _mm512_or_si512(_mm512_shuffle_epi8(places, pick), second));
            sum[i] = acc_dot(sum[i], offset, w);
        }
    }
    for (int i = 0; i < 4; i++) acc_store512(dense + 64 * i, _mm512_sub_epi32(zero, sum[i]));
    return src;
}

/* Fewer tokens than this are cheaper by look-up, one by one. */
#define FEW_TOKENS 5

static acc_matmul matmul_of(const tables *t)
{
    return (acc_matmul){.expand = expand, .blocks = blocks, .tokens = TOKENS, .flip = 0x80, .tables = t};
}

void acc_avx512_w2s_pack(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch)
{
    const acc_matmul e = matmul_of(NULL);
    if (n_tokens >= FEW_TOKENS) acc_avx512_pack(&e, w, a, lda, n_tokens, scratch);
}

void acc_avx512_w2s_matmul(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                           size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch)
{
    if (n_tokens < FEW_TOKENS) {
        for (uint32_t t = 0; t < n_tokens; t++)
            acc_avx512_w2s_matvec(w, a + t * lda, isum + t * ldi, rb0, rb1, scratch);
        return;
    }
    const tables t = make_tables(w);
    const acc_matmul e = matmul_of(&t);
    acc_avx512_matmul(&e, w, n_tokens, isum, ldi, rb0, rb1, scratch);
}
