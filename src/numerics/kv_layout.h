/*
 * Where one code of a quantised key or value lies (design section 4, "One KV layout"). Positions count from the start
 * of a run of lines; dp is head_dim padded to a multiple of 32. Lines of 64 bytes: KV4 keys:   16 positions x 8 dims,
 * byte 4*pos+k = dim k (low nibble) and k+4 (high) KV4 values: 4 positions x 32 dims, byte 4*d+pos = dim d (low nibble)
 * and d+16 (high) KV8 keys:   16 positions x 4 dims, byte 4*pos+k;  KV8 values: 4 positions x 16 dims, byte 4*d+pos
 * Within a group of positions the lines ascend by dims.
 */
#ifndef ACC_NUMERICS_KV_LAYOUT_H
#define ACC_NUMERICS_KV_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t acc_kv_padded(uint32_t head_dim)
{
    return (head_dim + 31) & ~31u;
}

/* Bytes of the key (or value) codes of n positions, n a multiple of 16. */
static inline size_t acc_kv_code_bytes(uint32_t dp, size_t n, uint32_t bits)
{
    return bits == 4 ? n * dp / 2 : n * dp;
}

static inline size_t acc_kv4_key_at(uint32_t dp, size_t pos, uint32_t dim)
{
    return (pos / 16) * ((size_t)dp * 8) + (size_t)(dim / 8) * 64 + 4 * (pos % 16) + dim % 4; /* high: dim & 4 */
}

static inline size_t acc_kv4_value_at(uint32_t dp, size_t pos, uint32_t dim)
{
    return (pos / 4) * ((size_t)dp * 2) + (size_t)(dim / 32) * 64 + 4 * (size_t)(dim % 16) + pos % 4; /* dim & 16 */
}

static inline size_t acc_kv8_key_at(uint32_t dp, size_t pos, uint32_t dim)
{
    return (pos / 16) * ((size_t)dp * 16) + (size_t)(dim / 4) * 64 + 4 * (pos % 16) + dim % 4;
}

static inline size_t acc_kv8_value_at(uint32_t dp, size_t pos, uint32_t dim)
{
    return (pos / 4) * ((size_t)dp * 4) + (size_t)(dim / 16) * 64 + 4 * (size_t)(dim % 16) + pos % 4;
}

/* Puts the codes u [head_dim] of one position in place. */
static inline void acc_kv4_put_key(uint8_t *lines, uint32_t dp, size_t pos, const uint8_t *u, uint32_t head_dim)
{
    for (uint32_t d = 0; d < head_dim; d++) {
        uint8_t *b = lines + acc_kv4_key_at(dp, pos, d);
        *b = (uint8_t)(d & 4 ? (*b & 15) | (u[d] << 4) : (*b & 240) | u[d]);
    }
}

static inline void acc_kv4_put_value(uint8_t *lines, uint32_t dp, size_t pos, const uint8_t *u, uint32_t head_dim)
{
    for (uint32_t d = 0; d < head_dim; d++) {
        uint8_t *b = lines + acc_kv4_value_at(dp, pos, d);
        *b = (uint8_t)(d & 16 ? (*b & 15) | (u[d] << 4) : (*b & 240) | u[d]);
    }
}

static inline void acc_kv8_put_key(uint8_t *lines, uint32_t dp, size_t pos, const int8_t *u, uint32_t head_dim)
{
    for (uint32_t d = 0; d < head_dim; d++) lines[acc_kv8_key_at(dp, pos, d)] = (uint8_t)u[d];
}

static inline void acc_kv8_put_value(uint8_t *lines, uint32_t dp, size_t pos, const int8_t *u, uint32_t head_dim)
{
    for (uint32_t d = 0; d < head_dim; d++) lines[acc_kv8_value_at(dp, pos, d)] = (uint8_t)u[d];
}

#endif
