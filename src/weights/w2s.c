/* W2S: 7 bits name a quad of weights of which at most two are not zero (design section 2). */
#include <string.h>

#include "weights/format.h"

static const uint8_t pattern[6][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};

static int pair_value(unsigned i, int l1, int l2)
{
    const int v[4] = {-l2, -l1, l1, l2};
    return v[i];
}

static int single_value(unsigned i, int l1, int l2)
{
    const int v[6] = {-(l1 + l2), -2 * l1, -(l2 - l1), l2 - l1, 2 * l1, l1 + l2};
    return v[i];
}

void acc_w2s_quad(unsigned code, int l1, int l2, int8_t quad[4])
{
    memset(quad, 0, 4);
    if (code < ACC_W2S_ZERO) {
        const uint8_t *p = pattern[code >> 4];
        quad[p[0]] = (int8_t)pair_value((code >> 2) & 3, l1, l2);
        quad[p[1]] = (int8_t)pair_value(code & 3, l1, l2);
    } else if (code > ACC_W2S_ZERO && code < ACC_W2S_CODES) {
        const unsigned c = code - ACC_W2S_ZERO - 1;
        quad[c / 6] = (int8_t)single_value(c % 6, l1, l2);
    }
}

static int pair_index(int value, int l1, int l2)
{
    for (unsigned i = 0; i < 4; i++)
        if (pair_value(i, l1, l2) == value) return (int)i;
    return -1;
}

int acc_w2s_code(const int8_t quad[4], int l1, int l2)
{
    int at[4], n = 0;
    for (int i = 0; i < 4; i++)
        if (quad[i] != 0) at[n++] = i;
    if (n == 0) return ACC_W2S_ZERO;
    if (n == 1) {
        for (unsigned i = 0; i < 6; i++)
            if (single_value(i, l1, l2) == quad[at[0]]) return ACC_W2S_ZERO + 1 + at[0] * 6 + (int)i;
        return -1;
    }
    if (n > 2) return -1;
    const int first = pair_index(quad[at[0]], l1, l2), second = pair_index(quad[at[1]], l1, l2);
    if (first < 0 || second < 0) return -1;
    int p = 0;
    while (pattern[p][0] != at[0] || pattern[p][1] != at[1]) p++;
    return p << 4 | first << 2 | second;
}

void acc_w2s_codes(const uint8_t src[ACC_W2S_QUAD_BYTES], uint8_t codes[ACC_TILE_ROWS])
{
    for (int i = 0; i < 8; i++) {
        uint64_t bits = 0;
        for (int b = 6; b >= 0; b--) bits = bits << 8 | src[7 * i + b];
        for (int r = 0; r < 8; r++) codes[8 * i + r] = (uint8_t)(bits >> (7 * r) & 127);
    }
}

static void pack(uint8_t *dst, int8_t codes[ACC_TILE_ROWS][4])
{
    for (int i = 0; i < 8; i++) {
        uint64_t bits = 0;
        for (int r = 0; r < 8; r++) bits |= (uint64_t)(codes[8 * i + r][0] & 127) << (7 * r);
        for (int b = 0; b < 7; b++) dst[7 * i + b] = (uint8_t)(bits >> (8 * b));
    }
}

static void unpack(const acc_weight *w, const uint8_t *src, int8_t quads[ACC_TILE_ROWS][4])
{
    uint8_t codes[ACC_TILE_ROWS];
    acc_w2s_codes(src, codes);
    for (int r = 0; r < ACC_TILE_ROWS; r++) acc_w2s_quad(codes[r], w->level1, w->level2, quads[r]);
}

static int bad(const uint8_t *src)
{
    uint8_t codes[ACC_TILE_ROWS];
    acc_w2s_codes(src, codes);
    for (int r = 0; r < ACC_TILE_ROWS; r++)
        if (codes[r] >= ACC_W2S_CODES) return r;
    return -1;
}

static uint32_t magnitude(uint32_t level1, uint32_t level2)
{
    const bool known = (level1 == 1 && (level2 == 2 || level2 == 3)) || (level1 == 2 && level2 == 5);
    return known ? 2 * level2 : 0;
}

const acc_weight_ops acc_w2s_ops = {
    .name = "w2s",
    .quad_bytes = ACC_W2S_QUAD_BYTES,
    .codes = 1,
    .has_m = true,
    .pad = ACC_W2S_ZERO,
    .magnitude = magnitude,
    .pack = pack,
    .unpack = unpack,
    .bad = bad,
};
