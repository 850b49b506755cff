/* Planning one block of memory: the same calls first count (base NULL), then hand out its parts. */
#ifndef ACC_CORE_ARENA_H
#define ACC_CORE_ARENA_H

#include "core/memory.h"

typedef struct acc_arena {
    uint8_t *base;
    size_t used;
    bool overflow;
} acc_arena;

/* n items of size bytes, aligned to ACC_ALIGN; NULL while counting. */
static inline void *acc_arena_take(acc_arena *a, size_t n, size_t size)
{
    size_t bytes, at = a->used;
    if (a->overflow || !acc_mul(n, size, &bytes) || bytes > SIZE_MAX / 2 ||
        !acc_add(at, acc_round_up(bytes ? bytes : 1, ACC_ALIGN), &a->used))
        a->overflow = true;
    return a->base ? a->base + at : NULL;
}

#endif
