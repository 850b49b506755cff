/*
 * The KV cache of one session (design section 4): S sinks at 8 bits in arrays of their own, a ring of pages at 4 or 8
 * bits, and with 4 bits a short ring that holds the last N positions at 8 bits as well, for the queries that are near
 * them. A page's place in the ring never holds two pages in use; no stored key is ever rotated or quantised again.
 * Positions are uint64 and absolute. Threads may store and read different KV heads at the same time.
 */
#ifndef ACC_CACHE_KV_H
#define ACC_CACHE_KV_H

#include "cache/policy.h"
#include "kernels/kernels.h"

typedef struct acc_kv_params {
    uint32_t n_layers, n_kv_heads, head_dim;
    uint32_t page;              /* P: a power of two, 16..4096 */
    uint32_t sinks;             /* S */
    uint32_t window;            /* W, the current token included; with full: the number of positions kept */
    uint32_t chunk;             /* the most tokens that are stored before the first of them is read */
    uint32_t bits;              /* 4 or 8, of the ring */
    uint32_t near;              /* N: the last positions that a query sees at 8 bits, 0..ACC_MAX_NEAR; with 8: none */
    bool full;                  /* nothing is ever dropped; positions end at window */
    const acc_kernels *kernels; /* NULL: the scalar set */
    const uint64_t *rope_steps; /* [head_dim / 2], docs/numerics.md "RoPE"; read at creation only */
} acc_kv_params;

typedef struct acc_kv acc_kv;

/* All memory is taken here. E_ARG for parameters out of range, E_NOMEM. */
accllm_status acc_kv_create(acc_kv **out, const acc_kv_params *p, accllm_error *err) ACC_MUST_CHECK;
void acc_kv_free(acc_kv **kv);
uint64_t acc_kv_bytes(const acc_kv *kv);

/* Quantises and stores the key of one position and KV head: key [head_dim] before rotation, mean and direction
 * [head_dim] or NULL (acc_kv4_key()). False: NaN, infinity or a scale beyond f16. */
bool acc_kv_store_key(acc_kv *kv, uint32_t layer, uint32_t head, uint64_t pos, const float *key, const float *mean,
                      const float *direction);
bool acc_kv_store_value(acc_kv *kv, uint32_t layer, uint32_t head, uint64_t pos, const float *value);

/* The rotation by a distance of 0 .. max(S, P) + W - 1: cos and sin [head_dim / 2], 64-byte aligned. */
void acc_kv_angles(const acc_kv *kv, uint64_t distance, const float **cos, const float **sin);

/* Segments of the query at t, in order; at most acc_kv_max_cuts(). */
uint32_t acc_kv_cuts(const acc_kv *kv, uint64_t t, acc_kv_cut *cuts);
uint32_t acc_kv_max_cuts(const acc_kv *kv);

/* The pieces of a cut for one KV head; variant = piece number, and distance[variant] is what the query at t is rotated
 * by for it. At most acc_kv_max_pieces(). *first and *end count from the first piece's start. */
uint32_t acc_kv_pieces(const acc_kv *kv, const acc_kv_cut *cut, uint64_t t, uint32_t layer, uint32_t head,
                       acc_attn_piece *pieces, uint64_t *distance, uint32_t *first, uint32_t *end);
uint32_t acc_kv_max_pieces(const acc_kv *kv);
uint32_t acc_kv_cut_bits(const acc_kv *kv, const acc_kv_cut *cut); /* 4 or 8 */

/* Fills everything that a query at `depth` can see with pseudo-random codes (benchmarks, tests of deep positions). The
 * codes depend on layer, head and position only. */
void acc_kv_fill(acc_kv *kv, uint64_t depth);
/* What acc_kv_fill() stores for one position: codes u [n] (4 bits: 0..15; 8 bits: int8), scale, zero. */
void acc_kv_pseudo(uint32_t layer, uint32_t head, bool value, uint64_t pos, uint32_t n, uint32_t bits, uint8_t *u,
                   uint16_t *scale, uint8_t *zero);

/* Whether everything that a query at `position` or later sees of the positions before it is still there, when positions
 * up to `stored` (not included) have been stored: with N > 0 hardly more than a chunk can be taken back. */
bool acc_kv_keeps(const acc_kv *kv, uint64_t stored, uint64_t position);

/* state.c: what a cache holds for a session at `position` when positions up to `stored` (not included, >= position)
 * have been stored: all that acc_kv_keeps() may be asked about. That function must be true of both numbers, and both
 * below 2^63; then the bytes are never more than those of the cache. */
size_t acc_kv_state_bytes(const acc_kv *kv, uint64_t stored, uint64_t position);
void acc_kv_save(const acc_kv *kv, uint64_t stored, uint64_t position, uint8_t *to);
/* False: codes, scales or zeros that no cache holds; then nothing was changed. */
bool acc_kv_load(acc_kv *kv, uint64_t stored, uint64_t position, const uint8_t *from) ACC_MUST_CHECK;

/* Positions that a query at t sees. */
uint64_t acc_kv_seen(const acc_kv *kv, uint64_t t);
/* Bytes of codes, scales and zeros that a query at t reads, over all layers and KV heads. */
uint64_t acc_kv_bytes_read(const acc_kv *kv, uint64_t t);

#endif
