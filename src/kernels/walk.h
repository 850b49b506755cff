/* The orders in which kernels meet the tiles of a file's layout. */
#ifndef ACC_KERNELS_WALK_H
#define ACC_KERNELS_WALK_H

#include "weights/weights.h"

/* The tile that a walk over row blocks [rb0, rb1) inside column groups meets `ahead` steps after (cg, rb), to be
 * prefetched: behind the matrix's last group that is what lies there, often the next matrix. */
static inline const uint8_t *acc_tile_ahead(const acc_weight *w, size_t bytes, uint32_t cg, uint32_t rb, uint32_t rb0,
                                            uint32_t rb1, uint32_t ahead)
{
    uint32_t at = rb + ahead;
    for (; at >= rb1; cg++) at -= rb1 - rb0; /* a few rounds: cheaper than dividing */
    return acc_weight_tile(w, bytes, cg, at);
}

/* The tile that a walk over column groups inside row blocks meets after (cg, rb): it lies far away, where no processor
 * foresees it. The last one: itself. */
static inline const uint8_t *acc_tile_after(const acc_weight *w, size_t bytes, uint32_t cg, uint32_t rb)
{
    if (cg + 1 < w->col_groups) return acc_weight_tile(w, bytes, cg + 1, rb);
    return rb + 1 < w->row_blocks ? acc_weight_tile(w, bytes, 0, rb + 1) : acc_weight_tile(w, bytes, cg, rb);
}

#endif
