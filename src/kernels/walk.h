/* The order in which matvec kernels meet the tiles of a file's layout. */
#ifndef ACC_KERNELS_WALK_H
#define ACC_KERNELS_WALK_H

#include "weights/weights.h"

/* The tile that a walk over row blocks [rb0, rb1) inside column groups meets `ahead` steps after (cg, rb). */
static inline const uint8_t *acc_tile_ahead(const acc_weight *w, size_t bytes, uint32_t cg, uint32_t rb, uint32_t rb0,
                                            uint32_t rb1, uint32_t ahead)
{
    const uint32_t n = rb1 - rb0, step = rb - rb0 + ahead;
    cg += step / n;
    return acc_weight_tile(w, bytes, cg < w->col_groups ? cg : w->col_groups - 1, rb0 + step % n);
}

#endif
