/*
 * Where the code of one key or value dimension stands: the one layout that the cache writes and every attention kernel
 * reads. dims = head_dim padded to 32; codes of dimensions beyond head_dim are 0 (keys meet a zero query there, the
 * output drops the values). Keys and values of one KV head and page are two arrays of ACC_KV_BLOCK positions' blocks,
 * in position order; all lines are 64-byte aligned.
 *
 * 4 bits (codes 0..15):
 *   key block, dims / 8 lines: line d / 8, byte 4 * (pos % 16) + d % 4, low nibble for d % 8 < 4, else high.
 *   value block, 4 * dims / 32 lines, by groups of 4 positions, then of 32 dimensions: line (pos % 16) / 4 * (dims /
 * 32)
 *   + d / 32, byte 4 * (d % 16) + pos % 4, low nibble for d % 32 < 16, else high.
 * 8 bits (codes -127..127), the same without nibbles:
 *   key block, dims / 4 lines: line d / 4, byte 4 * (pos % 16) + d % 4.
 *   value block, 4 * dims / 16 lines: line (pos % 16) / 4 * (dims / 16) + d / 16, byte 4 * (d % 16) + pos % 4.
 *
 * Beside them, by position: f16 scales (finite, >= 0) and, with 4 bits, u8 zeros (0..15). A loader of stored states
 * checks both, and that 8-bit codes are not -128: kernels rely on it for the positions that take part.
 */
#ifndef ACC_KERNELS_KV_LAYOUT_H
#define ACC_KERNELS_KV_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define ACC_KV_BLOCK 16u /* positions of a block; a page is a whole number of blocks */

static inline uint32_t acc_kv_dims(uint32_t head_dim)
{
    return (head_dim + 31) / 32 * 32;
}

/* Bytes of one block of keys (or of values) of one KV head. */
static inline size_t acc_kv4_block_bytes(uint32_t dims)
{
    return (size_t)ACC_KV_BLOCK * dims / 2;
}

static inline size_t acc_kv8_block_bytes(uint32_t dims)
{
    return (size_t)ACC_KV_BLOCK * dims;
}

/* Byte offset of position pos (from the start of the array), dimension d. */
static inline size_t acc_kv4_key_at(uint32_t pos, uint32_t d, uint32_t dims)
{
    return pos / 16 * acc_kv4_block_bytes(dims) + d / 8 * 64 + pos % 16 * 4 + d % 4;
}

static inline size_t acc_kv4_value_at(uint32_t pos, uint32_t d, uint32_t dims)
{
    return pos / 16 * acc_kv4_block_bytes(dims) + (pos % 16 / 4 * (dims / 32) + d / 32) * 64 + d % 16 * 4 + pos % 4;
}

static inline size_t acc_kv8_key_at(uint32_t pos, uint32_t d, uint32_t dims)
{
    return pos / 16 * acc_kv8_block_bytes(dims) + d / 4 * 64 + pos % 16 * 4 + d % 4;
}

static inline size_t acc_kv8_value_at(uint32_t pos, uint32_t d, uint32_t dims)
{
    return pos / 16 * acc_kv8_block_bytes(dims) + (pos % 16 / 4 * (dims / 16) + d / 16) * 64 + d % 16 * 4 + pos % 4;
}

/* Bit position (0 or 4) of the nibble in that byte. */
static inline unsigned acc_kv4_key_shift(uint32_t d)
{
    return d & 4;
}

static inline unsigned acc_kv4_value_shift(uint32_t d)
{
    return d >> 2 & 4;
}

/* Code d of a vector of head_dim codes; those beyond are 0. */
static inline uint8_t acc_kv_code(const uint8_t *codes, uint32_t d, uint32_t head_dim)
{
    return d < head_dim ? codes[d] : 0;
}

/* Writes the codes of one vector; codes [head_dim], dimensions from head_dim to dims are set to 0. */
static inline void acc_kv4_write_key(uint8_t *keys, uint32_t pos, uint32_t head_dim, const uint8_t *codes)
{
    const uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = 0; d < dims; d += 8)
        for (uint32_t i = 0; i < 4; i++)
            keys[acc_kv4_key_at(pos, d, dims) + i] =
                (uint8_t)(acc_kv_code(codes, d + i, head_dim) | acc_kv_code(codes, d + 4 + i, head_dim) << 4);
}

static inline void acc_kv4_write_value(uint8_t *values, uint32_t pos, uint32_t head_dim, const uint8_t *codes)
{
    const uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = 0; d < dims; d += 32)
        for (uint32_t i = 0; i < 16; i++)
            values[acc_kv4_value_at(pos, d, dims) + 4 * i] =
                (uint8_t)(acc_kv_code(codes, d + i, head_dim) | acc_kv_code(codes, d + 16 + i, head_dim) << 4);
}

static inline void acc_kv8_write_key(uint8_t *keys, uint32_t pos, uint32_t head_dim, const int8_t *codes)
{
    const uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = 0; d < dims; d += 4)
        for (uint32_t i = 0; i < 4; i++)
            keys[acc_kv8_key_at(pos, d, dims) + i] = acc_kv_code((const uint8_t *)codes, d + i, head_dim);
}

static inline void acc_kv8_write_value(uint8_t *values, uint32_t pos, uint32_t head_dim, const int8_t *codes)
{
    const uint32_t dims = acc_kv_dims(head_dim);
    for (uint32_t d = 0; d < dims; d += 16)
        for (uint32_t i = 0; i < 16; i++)
            values[acc_kv8_value_at(pos, d, dims) + 4 * i] = acc_kv_code((const uint8_t *)codes, d + i, head_dim);
}

#endif
