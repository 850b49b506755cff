/* What a query sees, cut into segments (docs/numerics.md "Attention of one query and head"). */
#include "cache/policy.h"
#include "kernels/kernels.h"

uint32_t acc_policy_segment(uint32_t bits)
{
    return bits == 4 ? ACC_SEGMENT_KV4 : ACC_SEGMENT_KV8;
}

static uint32_t add_cuts(acc_kv_cut *cuts, uint32_t n, uint64_t begin, uint64_t end, uint32_t length, acc_kv_part part)
{
    for (uint64_t lo = begin; lo < end;) { /* positions reach 2^64 - 1: compare lengths, not sums */
        uint64_t room = length - lo % length, hi = end - lo > room ? lo + room : end;
        cuts[n++] = (acc_kv_cut){lo, hi, part};
        lo = hi;
    }
    return n;
}

uint32_t acc_policy_cuts(const acc_kv_policy *p, uint32_t bits, uint64_t t, acc_kv_cut *cuts)
{
    uint64_t begin = acc_policy_window_begin(p, t), near = acc_policy_near_begin(p, t), end = t + 1;
    uint32_t n = add_cuts(cuts, 0, 0, acc_policy_sinks_end(p, t), ACC_SEGMENT_KV8, ACC_KV_SINKS);
    n = add_cuts(cuts, n, begin, p->near ? near : end, acc_policy_segment(bits), ACC_KV_WINDOW);
    if (p->near && near < end) cuts[n++] = (acc_kv_cut){near, end, ACC_KV_NEAR}; /* never longer than a segment */
    return n;
}
