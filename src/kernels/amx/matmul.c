/*
 * Prefill of the formats with an m per group: a tile of the file is expanded once to signed bytes, [quad][64 rows][4];
 * four products take 16 tokens through its 64 rows, and the vector unit multiplies the sums by m and adds them up.
 */
#include "core/inline.h"
#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"

#define TOKENS ACC_AMX_TOKENS

/* Of W2S: the four weights of a code. */
typedef struct tables {
    int8_t weight[4][128];
} tables;

/* Returns where the tile's m stand. */
typedef const uint8_t *expand_fn(const tables *t, const uint8_t *src, uint32_t quads, int8_t *dense);

/* Whether a group's sums fit 16 bits: then one multiplication of words is cheaper than one of 32 bits. */
typedef enum scaling { WORDS, LONGS } scaling;

/* ---- expanding a tile ---- */

static const uint8_t *expand_w2(const tables *t, const uint8_t *src, uint32_t quads, int8_t *dense)
{
    (void)t;
    const __m512i mask = _mm512_set1_epi8(6), three = _mm512_set1_epi8(3);
    for (uint32_t q = 0; q < quads; q++, src += ACC_W2_QUAD_BYTES, dense += 256) {
        const __m512i x = acc_load512(src);
        const __m512i twice[4] = {_mm512_slli_epi16(x, 1), _mm512_srli_epi16(x, 1), _mm512_srli_epi16(x, 3),
                                  _mm512_srli_epi16(x, 5)};
        for (int i = 0; i < 4; i++)
            acc_store512(dense + 64 * i, _mm512_sub_epi8(_mm512_and_si512(twice[i], mask), three));
    }
    return src;
}

static const uint8_t *expand_w4(const tables *t, const uint8_t *src, uint32_t quads, int8_t *dense)
{
    (void)t;
    const __m512i mask = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (uint32_t q = 0; q < quads; q++, src += ACC_W4_QUAD_BYTES, dense += 256)
        for (int i = 0; i < 2; i++) {
            const __m512i x = acc_load512(src + 64 * i), high = _mm512_srli_epi16(x, 4);
            acc_store512(dense + 64 * i, _mm512_sub_epi8(_mm512_and_si512(x, mask), eight));
            acc_store512(dense + 128 + 64 * i, _mm512_sub_epi8(_mm512_and_si512(high, mask), eight));
        }
    return src;
}

static void make_tables(const acc_weight *w, tables *t)
{
    int8_t quad[4];
    for (unsigned c = 0; c < 128; c++) {
        acc_w2s_quad(c, w->level1, w->level2, quad);
        for (int k = 0; k < 4; k++) t->weight[k][c] = quad[k];
    }
}

/* Codes in an order by which interleaving inside 128-bit lanes gives rows in theirs: lane l holds rows 16 i + 4 l on,
 * i = 0..3. */
static inline __m512i interleaved_rows(void)
{
    uint8_t b[64];
    for (int i = 0; i < 64; i++) b[i] = (uint8_t)(i % 16 / 4 * 16 + i / 16 * 4 + i % 4);
    return acc_load512(b);
}

static const uint8_t *expand_w2s(const tables *t, const uint8_t *src, uint32_t quads, int8_t *dense)
{
    const __m512i spread = acc_w2s_spread(), shifts = acc_w2s_shifts(), order = interleaved_rows();
    for (uint32_t q = 0; q < quads; q++, src += ACC_W2S_QUAD_BYTES, dense += 256) {
        const __m512i codes = _mm512_permutexvar_epi8(order, acc_w2s_codes512(src, spread, shifts));
        __m512i x[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            x[k] = _mm512_permutex2var_epi8(acc_load512(t->weight[k]), codes, acc_load512(t->weight[k] + 64));
        const __m512i a = _mm512_unpacklo_epi8(x[0], x[1]), b = _mm512_unpackhi_epi8(x[0], x[1]);
        const __m512i c = _mm512_unpacklo_epi8(x[2], x[3]), d = _mm512_unpackhi_epi8(x[2], x[3]);
        acc_store512(dense, _mm512_unpacklo_epi16(a, c));
        acc_store512(dense + 64, _mm512_unpackhi_epi16(a, c));
        acc_store512(dense + 128, _mm512_unpacklo_epi16(b, d));
        acc_store512(dense + 192, _mm512_unpackhi_epi16(b, d));
    }
    return src;
}

/* ---- products ---- */

/* sums [4][16 tokens][16 rows]. a: 16 tokens of a group. */
static inline void multiply(const int8_t *dense, const int8_t *a, uint32_t group, uint32_t step, int32_t *sums)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (uint32_t k = 0; k < group; k += step, dense += (size_t)step * ACC_TILE_ROWS) {
        TILE_LOAD(4, a + k, group);
        TILE_LOAD(6, dense, 256);
        TILE_MULTIPLY(0, 4, 6);
        TILE_LOAD(7, dense + 64, 256);
        TILE_MULTIPLY(1, 4, 7);
        TILE_LOAD(6, dense + 128, 256);
        TILE_MULTIPLY(2, 4, 6);
        TILE_LOAD(7, dense + 192, 256);
        TILE_MULTIPLY(3, 4, 7);
    }
    TILE_STORE(0, sums, 64);
    TILE_STORE(1, sums + 256, 64);
    TILE_STORE(2, sums + 512, 64);
    TILE_STORE(3, sums + 768, 64);
}

/* y [4][16 tokens][16 rows] += sums * m. m [4]: 16 rows each. */
ACC_INLINE void add_scaled(const int32_t *sums, const __m512i *m, int32_t *y, const scaling by)
{
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 16
        for (int t = 0; t < 16; t++, sums += 16, y += 16) {
            const __m512i s = acc_load512(sums);
            const __m512i x = by == WORDS ? _mm512_madd_epi16(s, m[i]) : _mm512_mullo_epi32(s, m[i]);
            acc_store512(y, _mm512_add_epi32(acc_load512(y), x));
        }
}

/* y [tiles][4][16 tokens][16 rows] += a tile's rows times all tokens. a: their columns of the group. */
ACC_INLINE void add_tile(const int8_t *dense, const uint8_t *m8, const int8_t *a, uint32_t tiles, uint32_t group,
                         uint32_t step, int32_t *y, const scaling by)
{
    _Alignas(64) int32_t sums[TOKENS * ACC_TILE_ROWS];
    __m512i m[4];
    for (int i = 0; i < 4; i++) m[i] = acc_widen_u8(m8 + 16 * i);
    for (uint32_t t = 0; t < tiles; t++, a += (size_t)TOKENS * group, y += TOKENS * ACC_TILE_ROWS) {
        multiply(dense, a, group, step, sums);
        add_scaled(sums, m, y, by);
    }
}

/* ---- row blocks ---- */

static void unpack_sums(const int32_t *y, uint32_t n_tokens, int32_t *isum, size_t ldi)
{
    for (uint32_t t = 0; t < n_tokens; t++)
        for (uint32_t i = 0; i < 4; i++)
            acc_store512(isum + t * ldi + 16 * i, acc_load512(y + ((t / TOKENS * 4 + i) * TOKENS + t % TOKENS) * 16));
}

static void matmul(expand_fn *expand, scaling by, const acc_weight *w, uint32_t n_tokens, int32_t *isum, size_t ldi,
                   uint32_t rb0, uint32_t rb1, uint8_t *scratch)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    const acc_amx_tokens t = acc_amx_tokens_of(n_tokens, scratch);
    const uint32_t tiles = t.n / TOKENS, group = w->group, step = acc_amx_step(w);
    int8_t *dense = (int8_t *)scratch;
    int32_t *y = (int32_t *)(void *)(scratch + ACC_AMX_DENSE);
    tables look_up;
    if (w->format == ACC_FMT_W2S) make_tables(w, &look_up);
    acc_amx_configure(step);
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS) {
        const int8_t *at = t.codes;
        memset(y, 0, (size_t)t.n * ACC_TILE_ROWS * sizeof *y);
        for (uint32_t cg = 0; cg < w->col_groups; cg++, at += (size_t)t.n * group) {
            const uint8_t *m = expand(&look_up, acc_weight_tile(w, bytes, cg, rb), group / 4, dense);
            if (by == WORDS)
                add_tile(dense, m, at, tiles, group, step, y, WORDS);
            else
                add_tile(dense, m, at, tiles, group, step, y, LONGS);
        }
        unpack_sums(y, n_tokens, isum, ldi);
    }
    acc_amx_release();
}

static void w2s_many(const acc_weight *w, uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                     uint8_t *scratch)
{
    matmul(expand_w2s, WORDS, w, n_tokens, isum, ldi, rb0, rb1, scratch);
}

static void w2_many(const acc_weight *w, uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                    uint8_t *scratch)
{
    matmul(expand_w2, w->group <= 64 ? WORDS : LONGS, w, n_tokens, isum, ldi, rb0, rb1, scratch);
}

static void w4_many(const acc_weight *w, uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                    uint8_t *scratch)
{
    matmul(expand_w4, LONGS, w, n_tokens, isum, ldi, rb0, rb1, scratch);
}

ACC_AMX_FORMAT(w2s, w2s_many)
ACC_AMX_FORMAT(w2, w2_many)
ACC_AMX_FORMAT(w4, w4_many)
