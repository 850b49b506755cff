/*
 * Prefill of W8, which has no m: sums stay in tile registers over all columns, and weights are read where they stand,
 * [quad][64 rows][4]. 32 tokens meet 32 rows in four products of two tiles each.
 */
#include "core/inline.h"
#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"

/* y [32][64], or [16][64] (one): 32 rows of a row block, from byte `first` of each quad on. */
ACC_INLINE void block(const acc_weight *w, const acc_amx_tokens *t, uint32_t rb, uint32_t at, uint32_t first,
                      int32_t *y, const bool one)
{
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t step = acc_amx_step(w), group = w->group;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        const uint8_t *p = acc_weight_tile(w, bytes, cg, rb) + first;
        const int8_t *a = t->codes + ((size_t)cg * t->n + at) * group;
        for (uint32_t k = 0; k < group; k += step, p += (size_t)step * ACC_TILE_ROWS) {
            TILE_LOAD(6, p, ACC_W8_QUAD_BYTES);
            TILE_LOAD(4, a + k, group);
            TILE_MULTIPLY(0, 4, 6);
            TILE_LOAD(7, p + 64, ACC_W8_QUAD_BYTES);
            TILE_MULTIPLY(1, 4, 7);
            if (one) continue;
            TILE_LOAD(5, a + (size_t)ACC_AMX_TOKENS * group + k, group);
            TILE_MULTIPLY(2, 5, 6);
            TILE_MULTIPLY(3, 5, 7);
        }
    }
    TILE_STORE(0, y, 256);
    TILE_STORE(1, y + 16, 256);
    if (one) return;
    TILE_STORE(2, y + (size_t)ACC_AMX_TOKENS * ACC_TILE_ROWS, 256);
    TILE_STORE(3, y + (size_t)ACC_AMX_TOKENS * ACC_TILE_ROWS + 16, 256);
}

static void row_block(const acc_weight *w, const acc_amx_tokens *t, uint32_t rb, int32_t *y)
{
    for (uint32_t half = 0; half < 2; half++)
        for (uint32_t at = 0; at < t->n; at += 2 * ACC_AMX_TOKENS) {
            int32_t *to = y + (size_t)at * ACC_TILE_ROWS + 32 * (size_t)half;
            if (t->n - at > ACC_AMX_TOKENS)
                block(w, t, rb, at, 128 * half, to, false);
            else
                block(w, t, rb, at, 128 * half, to, true);
        }
}

static void w8_many(const acc_weight *w, uint32_t n_tokens, int32_t *isum, size_t ldi, uint32_t rb0, uint32_t rb1,
                    uint8_t *scratch)
{
    int32_t *y = (int32_t *)(void *)(scratch + ACC_AMX_DENSE);
    const acc_amx_tokens t = acc_amx_tokens_of(n_tokens, scratch);
    acc_amx_configure(acc_amx_step(w));
    for (uint32_t rb = rb0; rb < rb1; rb++, isum += ACC_TILE_ROWS) {
        row_block(w, &t, rb, y);
        for (uint32_t i = 0; i < n_tokens; i++)
            memcpy(isum + i * ldi, y + (size_t)i * ACC_TILE_ROWS, ACC_TILE_ROWS * sizeof *y);
    }
    acc_amx_release();
}

ACC_AMX_FORMAT(w8, w8_many)
