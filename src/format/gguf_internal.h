/* The parsed form of a GGUF file, shared by the parser and the look-ups. */
#ifndef ACC_FORMAT_GGUF_INTERNAL_H
#define ACC_FORMAT_GGUF_INTERNAL_H

#include "format/gguf.h"

#define ACC_GGUF_MAGIC 0x46554747u /* "GGUF" */
#define ACC_GGUF_DEFAULT_ALIGNMENT 32u

typedef struct acc_gguf_kv {
    acc_str key;
    uint32_t type;      /* acc_gguf_kv_type */
    uint32_t item_type; /* of an array */
    size_t n_items;     /* of an array */
    const uint8_t *raw; /* the whole entry from the key's length on, raw_bytes long */
    size_t raw_bytes;
    const uint8_t *value; /* the scalar, the string's length field, or the array's first item */
    size_t *item_at;      /* string arrays: offset of each item's length field from value */
} acc_gguf_kv;

struct acc_gguf {
    acc_file file; /* zero when the caller owns the bytes */
    const uint8_t *data;
    size_t size;
    uint32_t alignment;
    size_t n_kv, n_tensors;
    acc_gguf_kv *kv;                /* sorted by key */
    acc_gguf_tensor *tensors;       /* in file order */
    const acc_gguf_tensor **sorted; /* by name */
};

/* Bytes of a scalar value; 0 for strings, arrays and unknown types. */
size_t acc_gguf_scalar_bytes(uint32_t type);
/* Elements and bytes of one block of a tensor type that we read; false otherwise. */
bool acc_ggml_block(uint32_t type, uint32_t *elements, uint32_t *bytes);
/* Byte order, then length. */
int acc_str_compare(acc_str a, acc_str b);

/* Unaligned little-endian loads; big-endian hosts are refused at compile time (gguf.c). */
uint16_t acc_load_u16(const uint8_t *p);
uint32_t acc_load_u32(const uint8_t *p);
uint64_t acc_load_u64(const uint8_t *p);
float acc_load_f32(const uint8_t *p);

#endif
