/* GGUF v3 writer. The header is gathered in memory; tensor bytes go straight to the file, aligned to 64. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "format/gguf_internal.h"

#define OUT_ALIGNMENT 64u

typedef struct buffer {
    uint8_t *data;
    size_t n, cap;
} buffer;

typedef struct out_tensor {
    char *name;
    uint64_t bytes;
} out_tensor;

struct acc_gguf_out {
    buffer kv, infos;
    buffer keys; /* the keys so far: length and bytes of each */
    uint64_t n_kv, data_bytes;
    out_tensor *tensors;
    size_t n_tensors, cap_tensors, next; /* next: the tensor to put */
    uint64_t piece_start;
    accllm_status status;
    accllm_error error;
    bool begun;
};

static void fail(acc_gguf_out *o, accllm_status code, const char *what, const char *name)
{
    if (o->status == ACCLLM_OK) o->status = acc_fail(&o->error, code, "GGUF writer: %s: %s", name, what);
}

static bool reserve(acc_gguf_out *o, buffer *b, size_t n)
{
    size_t need;
    if (o->status != ACCLLM_OK) return false;
    if (!acc_add(b->n, n, &need) || need > SIZE_MAX / 2) {
        fail(o, ACCLLM_E_NOMEM, "too large", "header");
        return false;
    }
    if (need <= b->cap) return true;
    size_t cap = need * 2 > 4096 ? need * 2 : 4096;
    uint8_t *p = realloc(b->data, cap);
    if (!p) {
        fail(o, ACCLLM_E_NOMEM, "out of memory", "header");
        return false;
    }
    b->data = p;
    b->cap = cap;
    return true;
}

static void put(acc_gguf_out *o, buffer *b, const void *data, size_t n)
{
    if (n == 0 || !reserve(o, b, n)) return;
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void put_u32(acc_gguf_out *o, buffer *b, uint32_t v)
{
    put(o, b, &v, sizeof v);
}

static void put_u64(acc_gguf_out *o, buffer *b, uint64_t v)
{
    put(o, b, &v, sizeof v);
}

static void put_str(acc_gguf_out *o, buffer *b, const char *s, size_t n)
{
    put_u64(o, b, n);
    put(o, b, s, n);
}

accllm_status acc_gguf_out_create(acc_gguf_out **out, accllm_error *err)
{
    void *p;
    *out = NULL;
    ACC_TRY(acc_alloc(&p, 1, sizeof(acc_gguf_out), "GGUF writer", err));
    *out = p;
    acc_gguf_out_u32(*out, "general.alignment", OUT_ALIGNMENT);
    return ACCLLM_OK;
}

void acc_gguf_out_free(acc_gguf_out **op)
{
    acc_gguf_out *o = *op;
    if (!o) return;
    for (size_t i = 0; i < o->n_tensors; i++) free(o->tensors[i].name);
    free(o->tensors);
    free(o->kv.data);
    free(o->infos.data);
    free(o->keys.data);
    acc_free(o);
    *op = NULL;
}

static void note_key(acc_gguf_out *o, acc_str key)
{
    put_str(o, &o->keys, key.s, key.n);
    o->n_kv++;
}

static void put_key(acc_gguf_out *o, const char *key, uint32_t type)
{
    acc_str k = {key, strlen(key)};
    note_key(o, k);
    put_str(o, &o->kv, k.s, k.n);
    put_u32(o, &o->kv, type);
}

void acc_gguf_out_u32(acc_gguf_out *o, const char *key, uint32_t v)
{
    put_key(o, key, ACC_GGUF_U32);
    put_u32(o, &o->kv, v);
}

void acc_gguf_out_u64(acc_gguf_out *o, const char *key, uint64_t v)
{
    put_key(o, key, ACC_GGUF_U64);
    put_u64(o, &o->kv, v);
}

void acc_gguf_out_f32(acc_gguf_out *o, const char *key, float v)
{
    put_key(o, key, ACC_GGUF_F32);
    put(o, &o->kv, &v, sizeof v);
}

void acc_gguf_out_bool(acc_gguf_out *o, const char *key, bool v)
{
    uint8_t byte = v;
    put_key(o, key, ACC_GGUF_BOOL);
    put(o, &o->kv, &byte, 1);
}

void acc_gguf_out_str(acc_gguf_out *o, const char *key, const char *v)
{
    put_key(o, key, ACC_GGUF_STRING);
    put_str(o, &o->kv, v, strlen(v));
}

static void put_array(acc_gguf_out *o, const char *key, uint32_t type, const void *v, size_t n, size_t item)
{
    put_key(o, key, ACC_GGUF_ARRAY);
    put_u32(o, &o->kv, type);
    put_u64(o, &o->kv, n);
    if (v) put(o, &o->kv, v, n * item);
}

void acc_gguf_out_str_array(acc_gguf_out *o, const char *key, const acc_str *v, size_t n)
{
    put_array(o, key, ACC_GGUF_STRING, NULL, n, 0);
    for (size_t i = 0; i < n; i++) put_str(o, &o->kv, v[i].s, v[i].n);
}

void acc_gguf_out_u32_array(acc_gguf_out *o, const char *key, const uint32_t *v, size_t n)
{
    put_array(o, key, ACC_GGUF_U32, v, n, sizeof *v);
}

void acc_gguf_out_u64_array(acc_gguf_out *o, const char *key, const uint64_t *v, size_t n)
{
    put_array(o, key, ACC_GGUF_U64, v, n, sizeof *v);
}

void acc_gguf_out_i32_array(acc_gguf_out *o, const char *key, const int32_t *v, size_t n)
{
    put_array(o, key, ACC_GGUF_I32, v, n, sizeof *v);
}

void acc_gguf_out_f32_array(acc_gguf_out *o, const char *key, const float *v, size_t n)
{
    put_array(o, key, ACC_GGUF_F32, v, n, sizeof *v);
}

void acc_gguf_out_copy(acc_gguf_out *o, const acc_gguf *g, const char *prefix)
{
    size_t n = strlen(prefix);
    for (size_t i = 0; i < g->n_kv; i++) {
        const acc_gguf_kv *kv = &g->kv[i];
        if (kv->key.n < n || memcmp(kv->key.s, prefix, n) != 0) continue;
        note_key(o, kv->key);
        put(o, &o->kv, kv->raw, kv->raw_bytes);
    }
}

static out_tensor *new_tensor(acc_gguf_out *o, const char *name)
{
    if (o->n_tensors == o->cap_tensors) {
        size_t cap = o->cap_tensors ? 2 * o->cap_tensors : 64;
        out_tensor *p = realloc(o->tensors, cap * sizeof *p);
        if (!p) return NULL;
        o->tensors = p;
        o->cap_tensors = cap;
    }
    out_tensor *t = &o->tensors[o->n_tensors];
    *t = (out_tensor){.name = strdup(name)};
    if (!t->name) return NULL;
    o->n_tensors++;
    return t;
}

void acc_gguf_out_tensor(acc_gguf_out *o, const char *name, acc_ggml_type type, uint32_t n_dims, const uint64_t *dim)
{
    if (o->status != ACCLLM_OK) return;
    uint32_t elements, bytes;
    uint64_t n = 1;
    bool good = acc_ggml_block(type, &elements, &bytes) && n_dims >= 1 && n_dims <= 4 && dim[0] % elements == 0;
    for (uint32_t d = 0; good && d < n_dims; d++) good = dim[d] > 0 && !__builtin_mul_overflow(n, dim[d], &n);
    good = good && !__builtin_mul_overflow(n / elements, (uint64_t)bytes, &n) && n <= INT64_MAX / 2;
    if (!good || o->data_bytes > INT64_MAX / 2) {
        fail(o, ACCLLM_E_ARG, "impossible shape or type", name);
        return;
    }
    out_tensor *t = new_tensor(o, name);
    if (!t) {
        fail(o, ACCLLM_E_NOMEM, "out of memory", name);
        return;
    }
    t->bytes = n;
    put_str(o, &o->infos, name, strlen(name));
    put_u32(o, &o->infos, n_dims);
    for (uint32_t d = 0; d < n_dims; d++) put_u64(o, &o->infos, dim[d]);
    put_u32(o, &o->infos, (uint32_t)type);
    put_u64(o, &o->infos, o->data_bytes);
    o->data_bytes += acc_round_up(n, OUT_ALIGNMENT);
}

static int compare_str(const void *a, const void *b)
{
    return acc_str_compare(*(const acc_str *)a, *(const acc_str *)b);
}

static accllm_status refuse_doubles(acc_str *names, size_t n, const char *what, accllm_error *err)
{
    if (n) qsort(names, n, sizeof *names, compare_str);
    for (size_t i = 1; i < n; i++)
        if (acc_str_compare(names[i - 1], names[i]) == 0)
            return acc_fail(err, ACCLLM_E_ARG, "GGUF writer: %s %.*s is there twice", what,
                            names[i].n < 64 ? (int)names[i].n : 64, names[i].s);
    return ACCLLM_OK;
}

static accllm_status check_names(const acc_gguf_out *o, accllm_error *err)
{
    void *p;
    ACC_TRY(acc_alloc(&p, o->n_kv + o->n_tensors, sizeof(acc_str), "GGUF names", err));
    acc_str *names = p, *tensors = names + o->n_kv;
    const uint8_t *at = o->keys.data;
    for (uint64_t i = 0; i < o->n_kv; i++) {
        names[i] = (acc_str){(const char *)at + 8, (size_t)acc_load_u64(at)};
        at += 8 + names[i].n;
    }
    for (size_t i = 0; i < o->n_tensors; i++) tensors[i] = (acc_str){o->tensors[i].name, strlen(o->tensors[i].name)};
    accllm_status s = refuse_doubles(names, o->n_kv, "key", err);
    if (s == ACCLLM_OK) s = refuse_doubles(tensors, o->n_tensors, "tensor", err);
    acc_free(names);
    return s;
}

accllm_status acc_gguf_out_begin(acc_gguf_out *o, acc_writer *w, accllm_error *err)
{
    if (o->status != ACCLLM_OK) return acc_fail(err, o->status, "%s", o->error.text);
    ACC_TRY(check_names(o, err));
    const uint32_t magic = ACC_GGUF_MAGIC, version = 3;
    const uint64_t n_tensors = o->n_tensors;
    acc_writer_put(w, &magic, sizeof magic);
    acc_writer_put(w, &version, sizeof version);
    acc_writer_put(w, &n_tensors, sizeof n_tensors);
    acc_writer_put(w, &o->n_kv, sizeof o->n_kv);
    acc_writer_put(w, o->kv.data, o->kv.n);
    acc_writer_put(w, o->infos.data, o->infos.n);
    acc_writer_pad(w, OUT_ALIGNMENT);
    o->begun = true;
    return ACCLLM_OK;
}

void acc_gguf_out_piece_begin(acc_gguf_out *o, acc_writer *w)
{
    o->piece_start = w->offset;
}

accllm_status acc_gguf_out_piece_end(acc_gguf_out *o, acc_writer *w, accllm_error *err)
{
    if (!o->begun || o->next >= o->n_tensors)
        return acc_fail(err, ACCLLM_E_ARG, "GGUF writer: more tensors written than described");
    const out_tensor *t = &o->tensors[o->next];
    uint64_t n = w->offset - o->piece_start;
    if (w->error) return acc_fail(err, ACCLLM_E_IO, "%s: cannot write: %s", w->path, strerror(w->error));
    if (n != t->bytes)
        return acc_fail(err, ACCLLM_E_ARG, "GGUF writer: tensor %s: %" PRIu64 " bytes instead of %" PRIu64, t->name, n,
                        t->bytes);
    acc_writer_pad(w, OUT_ALIGNMENT);
    o->next++;
    return ACCLLM_OK;
}

accllm_status acc_gguf_out_put(acc_gguf_out *o, acc_writer *w, const void *data, size_t n, accllm_error *err)
{
    acc_gguf_out_piece_begin(o, w);
    acc_writer_put(w, data, n);
    return acc_gguf_out_piece_end(o, w, err);
}
