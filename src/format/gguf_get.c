/* Look-ups in a parsed GGUF file: metadata by key, tensors by name. Binary search over sorted keys: no hostile file can
 * make it slow. */
#include <string.h>

#include "core/hash.h"
#include "format/gguf_internal.h"

uint16_t acc_load_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint32_t acc_load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint64_t acc_load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

float acc_load_f32(const uint8_t *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

static double load_f64(const uint8_t *p)
{
    double v;
    memcpy(&v, p, sizeof v);
    return v;
}

size_t acc_gguf_scalar_bytes(uint32_t type)
{
    switch (type) {
    case ACC_GGUF_U8:
    case ACC_GGUF_I8:
    case ACC_GGUF_BOOL:
        return 1;
    case ACC_GGUF_U16:
    case ACC_GGUF_I16:
        return 2;
    case ACC_GGUF_U32:
    case ACC_GGUF_I32:
    case ACC_GGUF_F32:
        return 4;
    case ACC_GGUF_U64:
    case ACC_GGUF_I64:
    case ACC_GGUF_F64:
        return 8;
    default:
        return 0;
    }
}

static const acc_gguf_kv *find_kv(const acc_gguf *g, const char *key)
{
    acc_str k = {key, strlen(key)};
    size_t lo = 0, hi = g->n_kv;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = acc_str_compare(g->kv[mid].key, k);
        if (c == 0) return &g->kv[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* A whole number of any integer type as sign and magnitude. */
static bool integer(uint32_t type, const uint8_t *p, bool *negative, uint64_t *magnitude)
{
    int64_t i = 0;
    *negative = false;
    switch (type) {
    case ACC_GGUF_U8:
        *magnitude = *p;
        return true;
    case ACC_GGUF_U16:
        *magnitude = acc_load_u16(p);
        return true;
    case ACC_GGUF_U32:
        *magnitude = acc_load_u32(p);
        return true;
    case ACC_GGUF_U64:
        *magnitude = acc_load_u64(p);
        return true;
    case ACC_GGUF_I8:
        i = (int8_t)*p;
        break;
    case ACC_GGUF_I16:
        i = (int16_t)acc_load_u16(p);
        break;
    case ACC_GGUF_I32:
        i = (int32_t)acc_load_u32(p);
        break;
    case ACC_GGUF_I64:
        i = (int64_t)acc_load_u64(p);
        break;
    default:
        return false;
    }
    *negative = i < 0;
    *magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    return true;
}

static bool as_u64(uint32_t type, const uint8_t *p, uint64_t *out)
{
    bool negative;
    uint64_t v;
    if (!integer(type, p, &negative, &v) || negative) return false;
    *out = v;
    return true;
}

static bool as_i64(uint32_t type, const uint8_t *p, int64_t *out)
{
    bool negative;
    uint64_t v;
    if (!integer(type, p, &negative, &v)) return false;
    if (!negative && v > INT64_MAX) return false;
    *out = negative ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return true;
}

static bool as_f64(uint32_t type, const uint8_t *p, double *out)
{
    if (type == ACC_GGUF_F32)
        *out = (double)acc_load_f32(p);
    else if (type == ACC_GGUF_F64)
        *out = load_f64(p);
    else
        return false;
    return true;
}

bool acc_gguf_has(const acc_gguf *g, const char *key)
{
    return find_kv(g, key) != NULL;
}

bool acc_gguf_u64(const acc_gguf *g, const char *key, uint64_t *out)
{
    const acc_gguf_kv *kv = find_kv(g, key);
    return kv && as_u64(kv->type, kv->value, out);
}

bool acc_gguf_u32(const acc_gguf *g, const char *key, uint32_t *out)
{
    uint64_t v;
    if (!acc_gguf_u64(g, key, &v) || v > UINT32_MAX) return false;
    *out = (uint32_t)v;
    return true;
}

bool acc_gguf_f64(const acc_gguf *g, const char *key, double *out)
{
    const acc_gguf_kv *kv = find_kv(g, key);
    return kv && as_f64(kv->type, kv->value, out);
}

bool acc_gguf_bool(const acc_gguf *g, const char *key, bool *out)
{
    const acc_gguf_kv *kv = find_kv(g, key);
    if (!kv || kv->type != ACC_GGUF_BOOL) return false;
    *out = *kv->value != 0;
    return true;
}

static acc_str load_str(const uint8_t *p)
{
    return (acc_str){(const char *)p + 8, (size_t)acc_load_u64(p)};
}

bool acc_gguf_str(const acc_gguf *g, const char *key, acc_str *out)
{
    const acc_gguf_kv *kv = find_kv(g, key);
    if (!kv || kv->type != ACC_GGUF_STRING) return false;
    *out = load_str(kv->value);
    return true;
}

bool acc_gguf_array(const acc_gguf *g, const char *key, acc_gguf_kv_type *type, size_t *n)
{
    const acc_gguf_kv *kv = find_kv(g, key);
    if (!kv || kv->type != ACC_GGUF_ARRAY) return false;
    if (type) *type = (acc_gguf_kv_type)kv->item_type;
    if (n) *n = kv->n_items;
    return true;
}

static const acc_gguf_kv *find_item(const acc_gguf *g, const char *key, size_t i)
{
    const acc_gguf_kv *kv = find_kv(g, key);
    return kv && kv->type == ACC_GGUF_ARRAY && i < kv->n_items ? kv : NULL;
}

bool acc_gguf_array_str(const acc_gguf *g, const char *key, size_t i, acc_str *out)
{
    const acc_gguf_kv *kv = find_item(g, key, i);
    if (!kv || !kv->item_at) return false;
    *out = load_str(kv->value + kv->item_at[i]);
    return true;
}

bool acc_gguf_array_u64(const acc_gguf *g, const char *key, size_t i, uint64_t *out)
{
    const acc_gguf_kv *kv = find_item(g, key, i);
    return kv && as_u64(kv->item_type, kv->value + i * acc_gguf_scalar_bytes(kv->item_type), out);
}

bool acc_gguf_array_i64(const acc_gguf *g, const char *key, size_t i, int64_t *out)
{
    const acc_gguf_kv *kv = find_item(g, key, i);
    return kv && as_i64(kv->item_type, kv->value + i * acc_gguf_scalar_bytes(kv->item_type), out);
}

bool acc_gguf_array_f64(const acc_gguf *g, const char *key, size_t i, double *out)
{
    const acc_gguf_kv *kv = find_item(g, key, i);
    return kv && as_f64(kv->item_type, kv->value + i * acc_gguf_scalar_bytes(kv->item_type), out);
}

size_t acc_gguf_n_tensors(const acc_gguf *g)
{
    return g->n_tensors;
}

const acc_gguf_tensor *acc_gguf_tensor_at(const acc_gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const acc_gguf_tensor *acc_gguf_find(const acc_gguf *g, const char *name)
{
    acc_str k = {name, strlen(name)};
    size_t lo = 0, hi = g->n_tensors;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = acc_str_compare(g->sorted[mid]->name, k);
        if (c == 0) return g->sorted[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const uint8_t *acc_gguf_data(const acc_gguf *g, const acc_gguf_tensor *t)
{
    return g->data + t->offset;
}

void acc_gguf_forget(const acc_gguf *g, const acc_gguf_tensor *t)
{
    acc_file_forget(&g->file, t->offset, t->bytes);
}

uint64_t acc_gguf_identity(const acc_gguf *g)
{
    const size_t piece = 1 << 20;
    uint64_t h = ACC_FNV_START;
    for (size_t at = 0, n; at < g->size; at += n) {
        n = g->size - at < piece ? g->size - at : piece;
        uint64_t part = acc_hash_bulk(g->data + at, n);
        h = acc_fnv1a(h, &part, sizeof part);
        acc_file_forget(&g->file, at, n);
    }
    return h;
}
