/* Reader of packed AccLLM files (design section 2, "Container"): every shape, size, scale and level is checked. */
#include "model/packed.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "model/packed_internal.h"

static accllm_status need_u32(const acc_gguf *g, const char *key, uint32_t lo, uint32_t hi, uint32_t *out,
                              accllm_error *err)
{
    if (!acc_gguf_u32(g, key, out)) return acc_fail(err, ACCLLM_E_FORMAT, "%s is missing or not a number", key);
    if (*out >= lo && *out <= hi) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_FORMAT, "%s is %" PRIu32 " (%" PRIu32 "..%" PRIu32 ")", key, *out, lo, hi);
}

static accllm_status need_f32(const acc_gguf *g, const char *key, float *out, accllm_error *err)
{
    double v;
    if (!acc_gguf_f64(g, key, &v) || !isfinite(v) || !(v > 0.0) || !(v < 1e6))
        return acc_fail(err, ACCLLM_E_FORMAT, "%s is missing or not a positive number", key);
    *out = (float)v;
    return ACCLLM_OK;
}

static void copy_text(char *dst, size_t cap, const acc_gguf *g, const char *key)
{
    acc_str s;
    if (acc_gguf_str(g, key, &s)) (void)snprintf(dst, cap, "%.*s", s.n < cap ? (int)s.n : (int)cap - 1, s.s);
}

static accllm_status read_rope(acc_packed *m, accllm_error *err)
{
    static const char key[] = "accllm.rope.steps";
    acc_hparams *hp = &m->hp;
    acc_gguf_kv_type type;
    size_t n;
    if (!acc_gguf_array(m->file, key, &type, &n) || type != ACC_GGUF_U64 || n != hp->head_dim / 2)
        return acc_fail(err, ACCLLM_E_FORMAT, "%s is not an array of %" PRIu32 " uint64", key, hp->head_dim / 2);
    for (size_t j = 0; j < n; j++) {
        if (!acc_gguf_array_u64(m->file, key, j, &hp->rope_steps[j]))
            return acc_fail(err, ACCLLM_E_FORMAT, "%s: element %zu", key, j);
        hp->rope_freq[j] = (double)hp->rope_steps[j] * 0x1p-64 * 6.283185307179586476925;
    }
    return ACCLLM_OK;
}

static accllm_status read_defaults(acc_packed *m, accllm_error *err)
{
    const acc_gguf *g = m->file;
    ACC_TRY(need_u32(g, "accllm.kv.page", ACC_PAGE_MIN, ACC_PAGE_MAX, &m->page, err));
    if ((m->page & (m->page - 1)) != 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "accllm.kv.page is %" PRIu32 ", not a power of two", m->page);
    ACC_TRY(need_u32(g, "accllm.default.sinks", 0, ACC_MAX_SINKS, &m->default_sinks, err));
    ACC_TRY(need_u32(g, "accllm.default.window", 0, INT32_MAX, &m->default_window, err));
    ACC_TRY(need_u32(g, "accllm.default.kv", 4, 8, &m->default_kv_bits, err));
    if (m->default_kv_bits != 4 && m->default_kv_bits != 8)
        return acc_fail(err, ACCLLM_E_FORMAT, "accllm.default.kv is %" PRIu32 " (4 or 8)", m->default_kv_bits);
    return ACCLLM_OK;
}

static accllm_status read_hparams(acc_packed *m, accllm_error *err)
{
    const acc_gguf *g = m->file;
    acc_hparams *hp = &m->hp;
    uint32_t version;
    if (!acc_is_packed(g)) return acc_fail(err, ACCLLM_E_FORMAT, "not a packed AccLLM file");
    if (!acc_gguf_u32(g, "accllm.format_version", &version) || version != ACC_FORMAT_VERSION)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "accllm.format_version is not %d", ACC_FORMAT_VERSION);
    copy_text(hp->name, sizeof hp->name, g, "general.name");
    copy_text(hp->arch, sizeof hp->arch, g, "accllm.source_architecture");
    ACC_TRY(need_u32(g, "accllm.block_count", 0, UINT32_MAX, &hp->n_layers, err));
    ACC_TRY(need_u32(g, "accllm.embedding_length", 0, UINT32_MAX, &hp->n_embd, err));
    ACC_TRY(need_u32(g, "accllm.feed_forward_length", 0, UINT32_MAX, &hp->n_ff, err));
    ACC_TRY(need_u32(g, "accllm.context_length", 0, UINT32_MAX, &hp->n_ctx_train, err));
    ACC_TRY(need_u32(g, "accllm.vocab_size", 0, UINT32_MAX, &hp->n_vocab, err));
    ACC_TRY(need_u32(g, "accllm.attention.head_count", 0, UINT32_MAX, &hp->n_heads, err));
    ACC_TRY(need_u32(g, "accllm.attention.head_count_kv", 0, UINT32_MAX, &hp->n_kv_heads, err));
    ACC_TRY(need_u32(g, "accllm.attention.key_length", 0, UINT32_MAX, &hp->head_dim, err));
    ACC_TRY(need_f32(g, "accllm.attention.layer_norm_rms_epsilon", &hp->norm_eps, err));
    ACC_TRY(need_f32(g, "accllm.attention.scale", &hp->attn_scale, err));
    ACC_TRY(acc_hparams_check(hp, err));
    if (!acc_gguf_bool(g, "accllm.tied", &hp->tied)) return acc_fail(err, ACCLLM_E_FORMAT, "accllm.tied is missing");
    ACC_TRY(read_rope(m, err));
    return read_defaults(m, err);
}

/* The arrays accllm.tensor.* have one entry per matrix, in the order of acc_packed_weight_at(). */
static accllm_status check_arrays(const acc_packed *m, accllm_error *err)
{
    static const struct {
        const char *key;
        acc_gguf_kv_type type;
        uint32_t per_tensor;
    } arrays[] = {
        {"accllm.tensor.name", ACC_GGUF_STRING, 1}, {"accllm.tensor.format", ACC_GGUF_STRING, 1},
        {"accllm.tensor.rows", ACC_GGUF_U32, 1},    {"accllm.tensor.cols", ACC_GGUF_U32, 1},
        {"accllm.tensor.group", ACC_GGUF_U32, 1},   {"accllm.tensor.levels", ACC_GGUF_U32, 2},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        acc_gguf_kv_type type;
        size_t n, want = (size_t)arrays[i].per_tensor * acc_packed_n_weights(&m->hp);
        if (!acc_gguf_array(m->file, arrays[i].key, &type, &n) || type != arrays[i].type || n != want)
            return acc_fail(err, ACCLLM_E_FORMAT, "%s is missing or does not have %zu entries", arrays[i].key, want);
    }
    return ACCLLM_OK;
}

static uint32_t entry(const acc_packed *m, const char *key, size_t i)
{
    uint64_t v = 0;
    (void)acc_gguf_array_u64(m->file, key, i, &v); /* there: check_arrays() */
    return (uint32_t)v;
}

static accllm_status read_format(const acc_packed *m, uint32_t i, acc_format *format, accllm_error *err)
{
    char text[16] = "";
    acc_str s;
    if (acc_gguf_array_str(m->file, "accllm.tensor.format", i, &s) && s.n < sizeof text)
        (void)snprintf(text, sizeof text, "%.*s", (int)s.n, s.s);
    int f = acc_format_parse(text);
    if (f < 0) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "accllm.tensor.format: entry %" PRIu32 ": \"%s\"", i, text);
    *format = (acc_format)f;
    return ACCLLM_OK;
}

/* Entry i of the tensor arrays and the blob that it describes. */
static accllm_status read_weight(acc_packed *m, uint32_t i, bool verify, accllm_error *err)
{
    acc_tensor_id id;
    uint32_t layer, rows, cols;
    uint64_t want_rows, want_cols;
    acc_format format = ACC_FMT_COUNT;
    acc_str s;
    char name[64];
    acc_packed_weight_at(&m->hp, i, &id, &layer);
    acc_weight *w = acc_packed_weight(m, id, layer);
    ACC_TRY(read_format(m, i, &format, err));
    acc_tensor_name(name, sizeof name, id, layer, acc_format_name(format));
    if (!acc_gguf_array_str(m->file, "accllm.tensor.name", i, &s) || s.n != strlen(name) || memcmp(s.s, name, s.n) != 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "accllm.tensor.name: entry %" PRIu32 " is not %s", i, name);
    acc_tensor_shape(&m->hp, id, &want_rows, &want_cols);
    rows = entry(m, "accllm.tensor.rows", i);
    cols = entry(m, "accllm.tensor.cols", i);
    if (rows != want_rows || cols != want_cols)
        return acc_fail(err, ACCLLM_E_FORMAT,
                        "tensor %s is %" PRIu32 " x %" PRIu32 " instead of %" PRIu64 " x %" PRIu64, name, rows, cols,
                        want_rows, want_cols);
    uint32_t group = entry(m, "accllm.tensor.group", i);
    if (group == 0) return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s: a group of 0", name);
    accllm_status status = acc_weight_init(w, format, rows, cols, group, entry(m, "accllm.tensor.levels", 2 * i),
                                           entry(m, "accllm.tensor.levels", 2 * i + 1), err);
    if (status != ACCLLM_OK) return acc_prefix(err, status, "tensor %s", name);
    const acc_gguf_tensor *t = acc_gguf_find(m->file, name);
    if (!t) return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s is missing", name);
    if (t->type != ACC_GGML_I8 || t->n_dims != 1 || t->bytes != acc_weight_bytes(w) || t->offset % ACC_ALIGN != 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s is not an aligned blob of %zu bytes", name,
                        acc_weight_bytes(w));
    acc_weight_bind(w, acc_gguf_data(m->file, t));
    return acc_weight_check(w, name, verify, err);
}

static accllm_status read_vector(acc_packed *m, acc_tensor_id id, uint32_t layer, uint32_t *found, accllm_error *err)
{
    char name[64];
    uint64_t rows, cols;
    acc_packed_vector_name(name, sizeof name, id, layer);
    const acc_gguf_tensor *t = acc_gguf_find(m->file, name);
    if (!t) {
        if (id >= ACC_T_ATTN_Q_BIAS) return ACCLLM_OK;
        return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s is missing", name);
    }
    acc_packed_vector_shape(&m->hp, id, &rows, &cols);
    const uint64_t n = rows * cols;
    if (t->type != ACC_GGML_F32 || t->dim[0] != cols || t->dim[1] != rows || t->bytes != n * sizeof(float) ||
        t->offset % ACC_ALIGN != 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s is not an aligned vector of %" PRIu64 " floats", name, n);
    const float *x = (const float *)(const void *)acc_gguf_data(m->file, t);
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return acc_fail(err, ACCLLM_E_NUMERIC, "tensor %s: element %" PRIu64 " is a NaN or infinity", name, i);
        if (id == ACC_T_EMBD_SCALE && !(x[i] >= 0x1p-64f && x[i] <= 0x1p+64f))
            return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s: element %" PRIu64 " is out of range", name, i);
    }
    *acc_packed_vector(m, id, layer) = x;
    ++*found;
    return ACCLLM_OK;
}

static accllm_status read_tensors(acc_packed *m, bool verify, accllm_error *err)
{
    uint32_t n = acc_packed_n_weights(&m->hp), state = 0, found = n;
    acc_packed_step step;
    ACC_TRY(check_arrays(m, err));
    for (uint32_t i = 0; i < n; i++) ACC_TRY(read_weight(m, i, verify, err));
    if (m->hp.tied) m->output = m->embd;
    while (acc_packed_next(&m->hp, &state, &step))
        if (acc_packed_is_vector(step.id)) ACC_TRY(read_vector(m, step.id, step.layer, &found, err));
    if (found != acc_gguf_n_tensors(m->file))
        return acc_fail(err, ACCLLM_E_FORMAT, "%zu tensors, of which %" PRIu32 " have a place",
                        acc_gguf_n_tensors(m->file), found);
    return ACCLLM_OK;
}

static accllm_status load(acc_packed *m, bool verify, accllm_error *err)
{
    void *p;
    ACC_TRY(read_hparams(m, err));
    if (m->hp.n_layers > acc_gguf_n_tensors(m->file))
        return acc_fail(err, ACCLLM_E_FORMAT, "%" PRIu32 " layers do not fit into the file", m->hp.n_layers);
    ACC_TRY(acc_alloc(&p, m->hp.n_layers, sizeof *m->layers, "layers", err));
    m->layers = p;
    return read_tensors(m, verify, err);
}

accllm_status acc_packed_open(acc_packed **out, const char *path, bool use_mmap, bool verify, accllm_error *err)
{
    void *p;
    *out = NULL;
    ACC_TRY(acc_alloc(&p, 1, sizeof(acc_packed), "model", err));
    acc_packed *m = p;
    accllm_status s = acc_gguf_open(&m->file, path, use_mmap, err);
    if (s == ACCLLM_OK) {
        s = load(m, verify, err);
        if (s != ACCLLM_OK) (void)acc_prefix(err, s, "%s", path);
    }
    if (s != ACCLLM_OK)
        acc_packed_free(&m);
    else
        *out = m;
    return s;
}

void acc_packed_free(acc_packed **mp)
{
    acc_packed *m = *mp;
    if (!m) return;
    acc_free(m->layers);
    acc_pages_free(m->memory, m->memory_bytes);
    acc_gguf_free(&m->file);
    acc_free(m);
    *mp = NULL;
}
