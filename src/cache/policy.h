/*
 * Which positions a query sees and where they lie: the one place that knows about eviction. Λ-shaped: the first S
 * positions for ever, and the last W (StreamingLLM, Xiao et al. 2024, section 3.2; AccLLM section III-B).
 */
#ifndef ACC_CACHE_POLICY_H
#define ACC_CACHE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct acc_kv_policy {
    uint32_t sinks, window, page;
    uint32_t near;    /* the last positions of the window that are seen at 8 bits */
    uint32_t n_pages; /* places in the ring */
} acc_kv_policy;

/* The parts of what a query sees, in the order of attention. */
typedef enum acc_kv_part { ACC_KV_SINKS, ACC_KV_WINDOW, ACC_KV_NEAR, ACC_KV_PARTS } acc_kv_part;

/* One segment of attention: the positions lo <= j < hi of one part, between two multiples of the segment length
 * (docs/numerics.md "Attention of one query and head"). */
typedef struct acc_kv_cut {
    uint64_t lo, hi;
    acc_kv_part part;
} acc_kv_cut;

uint32_t acc_policy_segment(uint32_t bits); /* positions between two cuts of a cache of 4 or 8 bits */
/* The segments of the query at t over a cache of `bits`, in order; returns their number. */
uint32_t acc_policy_cuts(const acc_kv_policy *p, uint32_t bits, uint64_t t, acc_kv_cut *cuts);

/* Pages that the ring needs. A chunk is stored before its first query reads, so window + chunk - 1 positions are in use
 * at once, and they may begin and end inside a page. */
static inline uint64_t acc_policy_pages(uint32_t window, uint32_t chunk, uint32_t page, bool full)
{
    uint64_t n = full ? window : (uint64_t)window + chunk + page;
    return (n + page - 1) / page;
}

/* The query at t sees sinks 0 <= j < acc_policy_sinks_end() and window positions begin <= j <= t. */
static inline uint64_t acc_policy_sinks_end(const acc_kv_policy *p, uint64_t t)
{
    return t < p->sinks ? t + 1 : p->sinks;
}

static inline uint64_t acc_policy_window_begin(const acc_kv_policy *p, uint64_t t)
{
    uint64_t begin = t >= p->window ? t - p->window + 1 : 0;
    return begin > p->sinks ? begin : p->sinks;
}

/* The positions from here to t are seen at 8 bits. */
static inline uint64_t acc_policy_near_begin(const acc_kv_policy *p, uint64_t t)
{
    uint64_t begin = t >= p->near ? t - p->near + 1 : 0, window = acc_policy_window_begin(p, t);
    return begin > window ? begin : window;
}

/* Where a window position lies in the ring. */
static inline uint64_t acc_policy_slot(const acc_kv_policy *p, uint64_t pos)
{
    return pos / p->page % p->n_pages * p->page + pos % p->page;
}

/* True: all that a query at `position` sees still stands in its place after positions up to `stored` (not included)
 * were stored, some of which may lie ahead. near_positions: places of the ring of near positions. */
static inline bool acc_policy_keeps(const acc_kv_policy *p, uint64_t near_positions, uint64_t stored, uint64_t position)
{
    uint64_t begin = acc_policy_window_begin(p, position); /* of the window; sinks are kept for ever */
    if (begin >= position || stored == 0) return true;
    uint64_t near = acc_policy_near_begin(p, position) & ~(uint64_t)15;
    return (stored - 1) / p->page - begin / p->page < p->n_pages &&
           (!p->near || near >= position || stored - near <= near_positions);
}

/* Rotation of a query at t for the sinks: their distance stops growing once the window has left them behind. */
static inline uint64_t acc_policy_sink_distance(const acc_kv_policy *p, uint64_t t)
{
    uint64_t last = (uint64_t)p->sinks + p->window - 1;
    return t < last ? t : last;
}

#endif
