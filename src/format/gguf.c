/* GGUF parser: every count, length, shape and offset is checked against the bytes that are there before it is used. */
#include "format/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "format/gguf_internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF data are used in place: little-endian hosts only");

/* The smallest entries that a file can hold; they bound every count by the file's size. */
#define MIN_KV_BYTES 13     /* key length, no key, type, one byte */
#define MIN_TENSOR_BYTES 32 /* name length, n_dims, one dim, type, offset */

typedef struct cursor {
    const uint8_t *p, *end;
} cursor;

static size_t left(const cursor *c)
{
    return (size_t)(c->end - c->p);
}

static bool get_u32(cursor *c, uint32_t *v)
{
    if (left(c) < 4) return false;
    *v = acc_load_u32(c->p);
    c->p += 4;
    return true;
}

static bool get_u64(cursor *c, uint64_t *v)
{
    if (left(c) < 8) return false;
    *v = acc_load_u64(c->p);
    c->p += 8;
    return true;
}

static bool get_str(cursor *c, acc_str *s)
{
    uint64_t n;
    if (!get_u64(c, &n) || n > left(c)) return false;
    *s = (acc_str){(const char *)c->p, (size_t)n};
    c->p += n;
    return true;
}

/* For messages: at most 64 bytes of a name. */
static int shown(acc_str s)
{
    return s.n < 64 ? (int)s.n : 64;
}

static accllm_status truncated(accllm_error *err, const char *where)
{
    return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: the file ends inside %s", where);
}

static accllm_status parse_string_array(cursor *c, acc_gguf_kv *kv, accllm_error *err)
{
    void *index;
    ACC_TRY(acc_alloc(&index, kv->n_items, sizeof *kv->item_at, "GGUF string index", err));
    kv->item_at = index;
    for (size_t i = 0; i < kv->n_items; i++) {
        acc_str s;
        kv->item_at[i] = (size_t)(c->p - kv->value);
        if (!get_str(c, &s)) return truncated(err, "an array of strings");
    }
    return ACCLLM_OK;
}

static accllm_status parse_array(cursor *c, acc_gguf_kv *kv, accllm_error *err)
{
    uint64_t n;
    if (!get_u32(c, &kv->item_type) || !get_u64(c, &n)) return truncated(err, "metadata");
    kv->value = c->p;
    if (kv->item_type == ACC_GGUF_ARRAY)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "GGUF: key %.*s is an array of arrays", shown(kv->key), kv->key.s);
    size_t item = kv->item_type == ACC_GGUF_STRING ? 8 : acc_gguf_scalar_bytes(kv->item_type);
    if (item == 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: key %.*s: unknown array type %" PRIu32, shown(kv->key), kv->key.s,
                        kv->item_type);
    if (n > left(c) / item)
        return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: key %.*s: %" PRIu64 " items do not fit into the file",
                        shown(kv->key), kv->key.s, n);
    kv->n_items = (size_t)n;
    if (kv->item_type == ACC_GGUF_STRING) return parse_string_array(c, kv, err);
    c->p += kv->n_items * item;
    return ACCLLM_OK;
}

static accllm_status parse_kv(cursor *c, acc_gguf_kv *kv, accllm_error *err)
{
    kv->raw = c->p;
    if (!get_str(c, &kv->key) || !get_u32(c, &kv->type)) return truncated(err, "metadata");
    kv->value = c->p;
    if (kv->type == ACC_GGUF_ARRAY) {
        ACC_TRY(parse_array(c, kv, err));
    } else if (kv->type == ACC_GGUF_STRING) {
        acc_str s;
        if (!get_str(c, &s)) return truncated(err, "a string of metadata");
    } else {
        size_t n = acc_gguf_scalar_bytes(kv->type);
        if (n == 0)
            return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: key %.*s: unknown type %" PRIu32, shown(kv->key), kv->key.s,
                            kv->type);
        if (n > left(c)) return truncated(err, "metadata");
        if (kv->type == ACC_GGUF_BOOL && *c->p > 1)
            return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: key %.*s: a truth value of %u", shown(kv->key), kv->key.s,
                            (unsigned)*c->p);
        c->p += n;
    }
    kv->raw_bytes = (size_t)(c->p - kv->raw);
    return ACCLLM_OK;
}

static accllm_status tensor_bytes(acc_gguf_tensor *t, accllm_error *err)
{
    uint64_t n = 1;
    for (uint32_t d = 0; d < t->n_dims; d++)
        if (t->dim[d] == 0 || __builtin_mul_overflow(n, t->dim[d], &n) || n > INT64_MAX)
            return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: tensor %.*s: impossible shape", shown(t->name), t->name.s);
    uint32_t elements, bytes;
    if (!acc_ggml_block(t->type, &elements, &bytes)) return ACCLLM_OK;
    if (t->dim[0] % elements != 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: tensor %.*s: rows of %" PRIu64 " are no whole %s blocks",
                        shown(t->name), t->name.s, t->dim[0], acc_ggml_type_name(t->type));
    if (__builtin_mul_overflow(n / elements, (uint64_t)bytes, &t->bytes))
        return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: tensor %.*s: impossible shape", shown(t->name), t->name.s);
    return ACCLLM_OK;
}

static accllm_status parse_tensor(cursor *c, acc_gguf_tensor *t, accllm_error *err)
{
    if (!get_str(c, &t->name) || !get_u32(c, &t->n_dims)) return truncated(err, "the tensor list");
    if (t->n_dims < 1 || t->n_dims > 4)
        return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: tensor %.*s has %" PRIu32 " dimensions", shown(t->name), t->name.s,
                        t->n_dims);
    for (uint32_t d = 0; d < 4; d++) t->dim[d] = 1;
    for (uint32_t d = 0; d < t->n_dims; d++)
        if (!get_u64(c, &t->dim[d])) return truncated(err, "the tensor list");
    if (!get_u32(c, &t->type) || !get_u64(c, &t->offset)) return truncated(err, "the tensor list");
    return tensor_bytes(t, err);
}

/* Offsets in the file count from the aligned end of the header; ours from the start of the file. */
static accllm_status place_tensors(acc_gguf *g, size_t header_end, accllm_error *err)
{
    if (g->n_tensors == 0) return ACCLLM_OK;
    if (header_end > SIZE_MAX - g->alignment) return truncated(err, "the header");
    size_t base = acc_round_up(header_end, g->alignment);
    for (size_t i = 0; i < g->n_tensors; i++) {
        acc_gguf_tensor *t = &g->tensors[i];
        uint64_t end;
        if (t->offset % g->alignment != 0)
            return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: tensor %.*s: offset %" PRIu64 " is not a multiple of %" PRIu32,
                            shown(t->name), t->name.s, t->offset, g->alignment);
        if (__builtin_add_overflow(t->offset, base, &t->offset) || __builtin_add_overflow(t->offset, t->bytes, &end) ||
            end > g->size)
            return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: tensor %.*s reaches beyond the end of the file",
                            shown(t->name), t->name.s);
    }
    return ACCLLM_OK;
}

int acc_str_compare(acc_str a, acc_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.s, b.s, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int compare_kv(const void *a, const void *b)
{
    return acc_str_compare(((const acc_gguf_kv *)a)->key, ((const acc_gguf_kv *)b)->key);
}

static int compare_tensor(const void *a, const void *b)
{
    return acc_str_compare((*(const acc_gguf_tensor *const *)a)->name, (*(const acc_gguf_tensor *const *)b)->name);
}

static accllm_status sort_kv(acc_gguf *g, accllm_error *err)
{
    if (g->n_kv) qsort(g->kv, g->n_kv, sizeof *g->kv, compare_kv);
    for (size_t i = 1; i < g->n_kv; i++)
        if (compare_kv(&g->kv[i - 1], &g->kv[i]) == 0)
            return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: key %.*s stands there twice", shown(g->kv[i].key),
                            g->kv[i].key.s);
    return ACCLLM_OK;
}

static accllm_status sort_tensors(acc_gguf *g, accllm_error *err)
{
    for (size_t i = 0; i < g->n_tensors; i++) g->sorted[i] = &g->tensors[i];
    if (g->n_tensors) qsort(g->sorted, g->n_tensors, sizeof(void *), compare_tensor);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (compare_tensor(&g->sorted[i - 1], &g->sorted[i]) == 0)
            return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: tensor %.*s stands there twice", shown(g->sorted[i]->name),
                            g->sorted[i]->name.s);
    return ACCLLM_OK;
}

static accllm_status read_alignment(acc_gguf *g, accllm_error *err)
{
    g->alignment = ACC_GGUF_DEFAULT_ALIGNMENT;
    if (!acc_gguf_has(g, "general.alignment")) return ACCLLM_OK;
    uint32_t a = 0;
    if (!acc_gguf_u32(g, "general.alignment", &a) || a == 0 || (a & (a - 1)) != 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: general.alignment is not a power of two");
    g->alignment = a;
    return ACCLLM_OK;
}

static accllm_status check_magic(cursor *c, accllm_error *err)
{
    uint32_t magic, version;
    if (!get_u32(c, &magic) || magic != ACC_GGUF_MAGIC) return acc_fail(err, ACCLLM_E_FORMAT, "not a GGUF file");
    if (!get_u32(c, &version)) return truncated(err, "the header");
    if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3))
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "GGUF: a big-endian file");
    if (version != 2 && version != 3)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "GGUF: version %" PRIu32 " (2 and 3 are read)", version);
    return ACCLLM_OK;
}

static accllm_status parse(acc_gguf *g, accllm_error *err)
{
    cursor c = {g->data, g->data + g->size};
    uint64_t n_tensors, n_kv;
    void *p;
    ACC_TRY(check_magic(&c, err));
    if (!get_u64(&c, &n_tensors) || !get_u64(&c, &n_kv)) return truncated(err, "the header");
    if (n_kv > left(&c) / MIN_KV_BYTES || n_tensors > left(&c) / MIN_TENSOR_BYTES)
        return acc_fail(err, ACCLLM_E_FORMAT, "GGUF: %" PRIu64 " keys and %" PRIu64 " tensors do not fit into the file",
                        n_kv, n_tensors);
    ACC_TRY(acc_alloc(&p, (size_t)n_kv, sizeof *g->kv, "GGUF keys", err));
    g->kv = p;
    for (; g->n_kv < n_kv; g->n_kv++) {
        accllm_status s = parse_kv(&c, &g->kv[g->n_kv], err);
        if (s != ACCLLM_OK) {
            acc_free(g->kv[g->n_kv].item_at);
            return s;
        }
    }
    ACC_TRY(sort_kv(g, err));
    ACC_TRY(read_alignment(g, err));
    ACC_TRY(acc_alloc(&p, (size_t)n_tensors, sizeof *g->tensors, "GGUF tensors", err));
    g->tensors = p;
    ACC_TRY(acc_alloc(&p, (size_t)n_tensors, sizeof(void *), "GGUF tensors", err));
    g->sorted = p;
    for (; g->n_tensors < n_tensors; g->n_tensors++) ACC_TRY(parse_tensor(&c, &g->tensors[g->n_tensors], err));
    ACC_TRY(sort_tensors(g, err));
    return place_tensors(g, (size_t)(c.p - g->data), err);
}

accllm_status acc_gguf_parse(acc_gguf **out, const uint8_t *data, size_t size, accllm_error *err)
{
    static const uint8_t nothing[1];
    *out = NULL;
    void *p;
    ACC_TRY(acc_alloc(&p, 1, sizeof(acc_gguf), "GGUF", err));
    acc_gguf *g = p;
    g->data = data ? data : nothing;
    g->size = data ? size : 0;
    accllm_status s = parse(g, err);
    if (s != ACCLLM_OK)
        acc_gguf_free(&g);
    else
        *out = g;
    return s;
}

accllm_status acc_gguf_open(acc_gguf **out, const char *path, bool use_mmap, accllm_error *err)
{
    *out = NULL;
    acc_file f;
    ACC_TRY(acc_file_open(&f, path, use_mmap, err));
    accllm_status s = acc_gguf_parse(out, f.data, f.size, err);
    if (s != ACCLLM_OK) {
        acc_file_close(&f);
        return acc_prefix(err, s, "%s", path);
    }
    (*out)->file = f;
    return ACCLLM_OK;
}

bool acc_gguf_mapped(const acc_gguf *g)
{
    return g->file.mapped;
}

void acc_gguf_free(acc_gguf **gp)
{
    acc_gguf *g = *gp;
    if (!g) return;
    for (size_t i = 0; i < g->n_kv; i++) acc_free(g->kv[i].item_at);
    acc_free(g->kv);
    acc_free(g->tensors);
    acc_free((void *)g->sorted);
    acc_file_close(&g->file);
    acc_free(g);
    *gp = NULL;
}
