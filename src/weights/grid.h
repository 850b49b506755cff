/* The values of a dense format's codes, and the nearest of them. */
#ifndef ACC_WEIGHTS_GRID_H
#define ACC_WEIGHTS_GRID_H

#include "numerics/numerics.h"
#include "weights/weights.h"

/* lo, lo + step, ..., hi. */
typedef struct acc_grid {
    float lo, hi, step, inverse, shift; /* inverse: 1 / step; shift: 0 if 0 is a value, else half a step */
} acc_grid;

static inline acc_grid acc_grid_of(acc_format f)
{
    if (f == ACC_FMT_W2) return (acc_grid){-3, 3, 2, 0.5f, 1};
    return f == ACC_FMT_W4 ? (acc_grid){-8, 7, 1, 1, 0} : (acc_grid){-127, 127, 1, 1, 0};
}

/* The value of the grid that is nearest to x. Error feedback can push x far out; the clamp comes first, so that
 * rounding stays in its range. */
static inline float acc_grid_round(acc_grid g, float x)
{
    x = x < g.lo ? g.lo : x;
    x = x > g.hi ? g.hi : x;
    return acc_round_even((x - g.shift) * g.inverse) * g.step + g.shift;
}

#endif
