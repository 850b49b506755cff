/* The median, for timings. */
#ifndef ACC_EVAL_MEDIAN_H
#define ACC_EVAL_MEDIAN_H

#include <stdint.h>
#include <stdlib.h>

static inline int acc_by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of x [n], which is sorted; of an even number the mean of the middle two. */
static inline double acc_median(double *x, uint32_t n)
{
    qsort(x, n, sizeof *x, acc_by_value);
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

#endif
