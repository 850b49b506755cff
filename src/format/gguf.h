/*
 * GGUF v2/v3 files: a reader that checks every count, offset and shape before use, and a writer. The reader keeps views
 * into the file; strings are not terminated.
 */
#ifndef ACC_FORMAT_GGUF_H
#define ACC_FORMAT_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/file.h"
#include "core/status.h"

typedef enum acc_gguf_kv_type {
    ACC_GGUF_U8 = 0,
    ACC_GGUF_I8 = 1,
    ACC_GGUF_U16 = 2,
    ACC_GGUF_I16 = 3,
    ACC_GGUF_U32 = 4,
    ACC_GGUF_I32 = 5,
    ACC_GGUF_F32 = 6,
    ACC_GGUF_BOOL = 7,
    ACC_GGUF_STRING = 8,
    ACC_GGUF_ARRAY = 9,
    ACC_GGUF_U64 = 10,
    ACC_GGUF_I64 = 11,
    ACC_GGUF_F64 = 12,
} acc_gguf_kv_type;

/* ggml tensor types that we read. */
typedef enum acc_ggml_type {
    ACC_GGML_F32 = 0,
    ACC_GGML_F16 = 1,
    ACC_GGML_Q4_0 = 2,
    ACC_GGML_Q4_1 = 3,
    ACC_GGML_Q8_0 = 8,
    ACC_GGML_I8 = 24,
    ACC_GGML_BF16 = 30,
} acc_ggml_type;

typedef struct acc_str {
    const char *s; /* not terminated */
    size_t n;
} acc_str;

typedef struct acc_gguf_tensor {
    acc_str name;
    uint32_t type;   /* an acc_ggml_type or one that we do not read */
    uint32_t n_dims; /* 1..4 */
    uint64_t dim[4]; /* dim[0] is the innermost (columns); unused ones are 1 */
    uint64_t offset; /* from the start of the file */
    uint64_t bytes;  /* 0 for a type that we do not read */
} acc_gguf_tensor;

typedef struct acc_gguf acc_gguf;

/* Parses `size` bytes; the caller keeps them alive while the object lives. */
accllm_status acc_gguf_parse(acc_gguf **out, const uint8_t *data, size_t size, accllm_error *err) ACC_MUST_CHECK;
/* Opens and keeps the file. */
accllm_status acc_gguf_open(acc_gguf **out, const char *path, bool use_mmap, accllm_error *err) ACC_MUST_CHECK;
void acc_gguf_free(acc_gguf **g);
bool acc_gguf_mapped(const acc_gguf *g); /* the bytes are a mapped file */
/* A hash of the whole file, which is read for it and whose pages are given back. */
uint64_t acc_gguf_identity(const acc_gguf *g);

/* Metadata. Each returns false when the key is absent, of another type, or (numbers) does not fit. Integer getters
 * accept every integer type. */
bool acc_gguf_has(const acc_gguf *g, const char *key);
bool acc_gguf_u64(const acc_gguf *g, const char *key, uint64_t *out);
bool acc_gguf_u32(const acc_gguf *g, const char *key, uint32_t *out);
bool acc_gguf_f64(const acc_gguf *g, const char *key, double *out); /* F32 or F64 */
bool acc_gguf_bool(const acc_gguf *g, const char *key, bool *out);
bool acc_gguf_str(const acc_gguf *g, const char *key, acc_str *out);
/* Arrays: the number of elements, then element i (type-checked, bounds-checked, O(1)). */
bool acc_gguf_array(const acc_gguf *g, const char *key, acc_gguf_kv_type *type, size_t *n);
bool acc_gguf_array_str(const acc_gguf *g, const char *key, size_t i, acc_str *out);
bool acc_gguf_array_u64(const acc_gguf *g, const char *key, size_t i, uint64_t *out);
bool acc_gguf_array_i64(const acc_gguf *g, const char *key, size_t i, int64_t *out);
bool acc_gguf_array_f64(const acc_gguf *g, const char *key, size_t i, double *out);

size_t acc_gguf_n_tensors(const acc_gguf *g);
const acc_gguf_tensor *acc_gguf_tensor_at(const acc_gguf *g, size_t i);
const acc_gguf_tensor *acc_gguf_find(const acc_gguf *g, const char *name); /* NULL: absent; O(1) */
const uint8_t *acc_gguf_data(const acc_gguf *g, const acc_gguf_tensor *t);
void acc_gguf_forget(const acc_gguf *g, const acc_gguf_tensor *t); /* it was read: acc_file_forget() its bytes */
const char *acc_ggml_type_name(uint32_t type);                     /* "q4_1"; "type 12" style texts for unknown ones */

/* Converts elements [first, first + n) of a tensor (flat order, first and n multiples of 32 for block types or the row
 * end) to float. E_UNSUPPORTED names the tensor and its type. */
accllm_status acc_gguf_read_f32(const acc_gguf *g, const acc_gguf_tensor *t, uint64_t first, size_t n, float *out,
                                accllm_error *err) ACC_MUST_CHECK;

/* Writer: add metadata and tensor descriptions first, then acc_gguf_out_begin() writes the header, then each tensor's
 * bytes are put in the order they were described. */
typedef struct acc_gguf_out acc_gguf_out;
accllm_status acc_gguf_out_create(acc_gguf_out **out, accllm_error *err) ACC_MUST_CHECK;
void acc_gguf_out_free(acc_gguf_out **o);
/* Errors (out of memory, a key twice) are kept and returned by acc_gguf_out_begin(). */
void acc_gguf_out_u32(acc_gguf_out *o, const char *key, uint32_t v);
void acc_gguf_out_u64(acc_gguf_out *o, const char *key, uint64_t v);
void acc_gguf_out_f32(acc_gguf_out *o, const char *key, float v);
void acc_gguf_out_bool(acc_gguf_out *o, const char *key, bool v);
void acc_gguf_out_str(acc_gguf_out *o, const char *key, const char *v);
void acc_gguf_out_str_array(acc_gguf_out *o, const char *key, const acc_str *v, size_t n);
void acc_gguf_out_u32_array(acc_gguf_out *o, const char *key, const uint32_t *v, size_t n);
void acc_gguf_out_u64_array(acc_gguf_out *o, const char *key, const uint64_t *v, size_t n);
void acc_gguf_out_i32_array(acc_gguf_out *o, const char *key, const int32_t *v, size_t n);
void acc_gguf_out_f32_array(acc_gguf_out *o, const char *key, const float *v, size_t n);
/* Copies every key of g that starts with prefix, bytes unchanged. */
void acc_gguf_out_copy(acc_gguf_out *o, const acc_gguf *g, const char *prefix);
void acc_gguf_out_tensor(acc_gguf_out *o, const char *name, acc_ggml_type type, uint32_t n_dims, const uint64_t *dim);
accllm_status acc_gguf_out_begin(acc_gguf_out *o, acc_writer *w, accllm_error *err) ACC_MUST_CHECK;
/* The next tensor's bytes (padding is added); n must be what its shape says. */
accllm_status acc_gguf_out_put(acc_gguf_out *o, acc_writer *w, const void *data, size_t n,
                               accllm_error *err) ACC_MUST_CHECK;
/* The same in pieces: begin, any number of acc_writer_put(), end (checks the byte count). */
void acc_gguf_out_piece_begin(acc_gguf_out *o, acc_writer *w);
accllm_status acc_gguf_out_piece_end(acc_gguf_out *o, acc_writer *w, accllm_error *err) ACC_MUST_CHECK;

#endif
