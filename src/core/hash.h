/* FNV-1a 64 (trace hash, identities) and the counter-based generator of docs/numerics.md. */
#ifndef ACC_CORE_HASH_H
#define ACC_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ACC_FNV_START 0xcbf29ce484222325u

static inline uint64_t acc_fnv1a(uint64_t h, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* For many bytes: four streams of FNV-1a over 64-bit words, mixed downwards as well, folded with the length. Any change
 * within one word changes the result. */
static inline uint64_t acc_hash_bulk(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t h[5] = {1, 2, 3, 4, n}, w;
    size_t whole = n / 32 * 32;
    for (size_t i = 0; i < whole; i += 32)
        for (size_t k = 0; k < 4; k++) {
            memcpy(&w, p + i + 8 * k, 8);
            h[k] = (h[k] ^ w) * 0x100000001b3u;
            h[k] ^= h[k] >> 29;
        }
    return acc_fnv1a(acc_fnv1a(ACC_FNV_START, h, sizeof h), p + whole, n - whole);
}

/* splitmix64's finaliser over a counter: the i-th number of stream `key` (Steele, Lea, Flood 2014). */
static inline uint64_t acc_random(uint64_t key, uint64_t i)
{
    uint64_t z = key + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* [0, 1) with 53 bits. */
static inline double acc_random_unit(uint64_t key, uint64_t i)
{
    return (double)(acc_random(key, i) >> 11) * 0x1p-53;
}

#endif
