/* What the vector attention kernels keep between their steps, in the caller's scratch memory. */
#ifndef ACC_KERNELS_ATTN_SCRATCH_H
#define ACC_KERNELS_ATTN_SCRATCH_H

#include "kernels/kernels.h"

/* Query heads that share each load of keys and values; more heads go in groups. */
#define ACC_ATTN_GROUP 4
/* Positions of the strips that take part, rounded up to the widest step. */
#define ACC_ATTN_POSITIONS (ACC_SEGMENT_KV4 + 64)

typedef struct acc_attn_scratch {
    /* Scores, then weights w, then (from the row's start, over what was read) the probabilities. */
    _Alignas(64) float s[ACC_ATTN_GROUP][ACC_ATTN_POSITIONS];
    _Alignas(64) uint32_t shift[ACC_ATTN_GROUP][ACC_ATTN_POSITIONS / 16]; /* of each strip, as the kernel wants it */
    _Alignas(64) int32_t acc[ACC_ATTN_GROUP][2 * ACC_MAX_HEAD_DIM];
    float top[ACC_ATTN_GROUP]; /* B */
    int32_t z[ACC_ATTN_GROUP];
    _Alignas(64) uint16_t vscale[ACC_ATTN_POSITIONS]; /* of all pieces in one row */
    _Alignas(64) uint8_t vzero[ACC_ATTN_POSITIONS];
} acc_attn_scratch;

/* The part of one piece that takes part: n strips from the piece's strip `from`; number `at` among all that do. */
typedef struct acc_attn_run {
    const acc_attn_piece *piece;
    uint32_t from, n, at;
} acc_attn_run;

/* Strips [*s0, *s1) of the segment take part. */
static inline void acc_attn_strips(const acc_attn_segment *g, uint32_t *s0, uint32_t *s1)
{
    *s0 = g->first / 16;
    *s1 = g->end > g->first ? (g->end + 15) / 16 : *s0;
}

/* The next run from piece *p on, whose first strip is *base; false: no more. */
static inline int acc_attn_next(const acc_attn_segment *g, uint32_t *p, uint32_t *base, acc_attn_run *r)
{
    uint32_t s0, s1;
    acc_attn_strips(g, &s0, &s1);
    for (; *p < g->n_pieces; ++*p) {
        uint32_t first = *base, last = first + g->pieces[*p].n / 16;
        uint32_t a = first > s0 ? first : s0, b = last < s1 ? last : s1;
        *base = last;
        if (a >= b) continue;
        *r = (acc_attn_run){.piece = &g->pieces[*p], .from = a - first, .n = b - a, .at = a - s0};
        ++*p;
        return 1;
    }
    return 0;
}

/* How many of `left` heads go together. */
static inline uint32_t acc_attn_group(uint32_t left)
{
    return left == 5 || left == 6 ? 3 : left < ACC_ATTN_GROUP ? left : ACC_ATTN_GROUP;
}

/* Calls f for the heads, a group at a time, with the group's size as a constant. */
#define ACC_ATTN_EACH_GROUP(g, scratch, f)                   \
    for (uint32_t h0 = 0, nh; h0 < (g)->n_heads; h0 += nh) { \
        nh = acc_attn_group((g)->n_heads - h0);              \
        if (nh == 1)                                         \
            f(g, h0, 1, scratch);                            \
        else if (nh == 2)                                    \
            f(g, h0, 2, scratch);                            \
        else if (nh == 3)                                    \
            f(g, h0, 3, scratch);                            \
        else                                                 \
            f(g, h0, 4, scratch);                            \
    }

#endif
