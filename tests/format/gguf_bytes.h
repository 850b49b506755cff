/* A GGUF file built by hand, byte by byte, so that it can be wrong. Include cmocka first. */
#ifndef ACC_TESTS_FORMAT_GGUF_BYTES_H
#define ACC_TESTS_FORMAT_GGUF_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct bytes {
    uint8_t data[4096];
    size_t n;
} bytes;

static inline void add(bytes *b, const void *p, size_t n)
{
    assert_true(b->n + n <= sizeof b->data);
    memcpy(b->data + b->n, p, n);
    b->n += n;
}

static inline void add_u32(bytes *b, uint32_t v)
{
    add(b, &v, 4);
}

static inline void add_u64(bytes *b, uint64_t v)
{
    add(b, &v, 8);
}

static inline void add_str(bytes *b, const char *s)
{
    add_u64(b, strlen(s));
    add(b, s, strlen(s));
}

static inline void header(bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
    b->n = 0;
    add(b, "GGUF", 4);
    add_u32(b, version);
    add_u64(b, n_tensors);
    add_u64(b, n_kv);
}

static inline void tensor_info(bytes *b, const char *name, uint32_t n_dims, const uint64_t *dim, uint32_t type,
                               uint64_t offset)
{
    add_str(b, name);
    add_u32(b, n_dims);
    for (uint32_t d = 0; d < n_dims && d < 8; d++) add_u64(b, dim[d]);
    add_u32(b, type);
    add_u64(b, offset);
}

static inline void pad(bytes *b, size_t to)
{
    while (b->n % to) add(b, "", 1);
}

#endif
