/*
 * Work on numbered items that is not shared out beforehand: every worker of a job (core/threads.h) takes items until
 * there are none, first of a share of its own, then of the others'. A thread that is slow, or that others keep from
 * running, so does less of it.
 */
#ifndef ACC_CORE_ITEMS_H
#define ACC_CORE_ITEMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"

/* What is left of one worker's share: begin << 32 | end. */
typedef struct acc_items {
    _Alignas(ACC_ALIGN) atomic_ullong left;
} acc_items;

/* A worker's share for the next job. */
static inline void acc_items_give(acc_items *s, uint32_t begin, uint32_t end)
{
    atomic_store_explicit(&s->left, (unsigned long long)begin << 32 | end, memory_order_relaxed);
}

/* Equal shares of n items: s [n_workers]. */
void acc_items_deal(acc_items *s, uint32_t n_workers, uint32_t n);
/* The next items [*begin, *end) for worker w: neighbours of its last ones as long as some are left of its share, else
 * the last ones of another's. Half of what is left there, but at least `least` (1 or more) and no more than `most`.
 * False: all are taken. */
bool acc_items_take(acc_items *s, uint32_t n_workers, uint32_t w, uint32_t least, uint32_t most, uint32_t *begin,
                    uint32_t *end);

#endif
