/* Shares as two numbers in one word each, so that owner and helpers take from both ends without a lock. */
#include "core/items.h"

#include "core/threads.h"

void acc_items_deal(acc_items *s, uint32_t n_workers, uint32_t n)
{
    for (uint32_t w = 0; w < n_workers; w++) {
        uint32_t begin, end;
        acc_share(n, w, n_workers, &begin, &end);
        acc_items_give(&s[w], begin, end);
    }
}

static bool take_from(acc_items *s, bool front, uint32_t least, uint32_t most, uint32_t *begin, uint32_t *end)
{
    unsigned long long now = atomic_load_explicit(&s->left, memory_order_relaxed), then;
    do {
        const uint32_t b = (uint32_t)(now >> 32), e = (uint32_t)now, left = e - b;
        if (left == 0) return false;
        uint32_t n = left - left / 2;
        if (n < least) n = least;
        if (n > most) n = most;
        if (n > left) n = left;
        *begin = front ? b : e - n;
        *end = *begin + n;
        then = front ? (unsigned long long)*end << 32 | e : (unsigned long long)b << 32 | *begin;
    } while (!atomic_compare_exchange_weak_explicit(&s->left, &now, then, memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool acc_items_take(acc_items *s, uint32_t n_workers, uint32_t w, uint32_t least, uint32_t most, uint32_t *begin,
                    uint32_t *end)
{
    for (uint32_t i = 0; i < n_workers; i++)
        if (take_from(&s[(w + i) % n_workers], i == 0, least, most, begin, end)) return true;
    return false;
}
