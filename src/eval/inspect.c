/* What is in a model file: hyper-parameters and tensors of packed files, other GGUF files and llama2.c checkpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accllm/eval.h"
#include "core/memory.h"
#include "engine/internal.h"

struct accllm_inspection {
    accllm_model_info info;
    uint32_t version;
    accllm_tensor_info *tensors;
    size_t n, cap;
};

static accllm_status reserve(accllm_inspection *x, size_t n, accllm_error *err)
{
    void *p;
    ACC_TRY(acc_alloc(&p, n, sizeof *x->tensors, "tensor list", err));
    x->tensors = p;
    x->cap = n;
    return ACCLLM_OK;
}

static accllm_tensor_info *add(accllm_inspection *x, acc_str name, accllm_error *err)
{
    char *copy = x->n < x->cap ? acc_strndup(name.s, name.n) : NULL;
    if (!copy) {
        (void)acc_fail(err, ACCLLM_E_NOMEM, "out of memory: tensor list");
        return NULL;
    }
    accllm_tensor_info *t = &x->tensors[x->n++];
    t->name = copy;
    return t;
}

static accllm_status list_gguf(accllm_inspection *x, const acc_gguf *g, accllm_error *err)
{
    size_t n = acc_gguf_n_tensors(g);
    ACC_TRY(reserve(x, n, err));
    for (size_t i = 0; i < n; i++) {
        const acc_gguf_tensor *s = acc_gguf_tensor_at(g, i);
        accllm_tensor_info *t = add(x, s->name, err);
        if (!t) return ACCLLM_E_NOMEM;
        t->format = acc_ggml_type_name(s->type);
        t->rows = s->dim[1] * s->dim[2] * s->dim[3]; /* at most 2^63: the parser's check */
        t->cols = s->dim[0];
        t->bytes = s->bytes;
    }
    return ACCLLM_OK;
}

/* The entry of accllm.tensor.* that is called name, searched from *at on: in files in our order it is the next one. */
static bool find_entry(const acc_gguf *g, const char *name, size_t n, size_t *at)
{
    for (size_t k = 0; k < n; k++) {
        size_t i = (*at + k) % n;
        acc_str s;
        if (!acc_gguf_array_str(g, "accllm.tensor.name", i, &s) || s.n != strlen(name)) continue;
        if (memcmp(s.s, name, s.n) != 0) continue;
        *at = i;
        return true;
    }
    return false;
}

/* Blobs get the shapes that accllm.tensor.* gives them; acc_packed_open() has checked these. */
static void describe_blobs(accllm_inspection *x, const acc_gguf *g)
{
    size_t n = 0, at = 0;
    (void)acc_gguf_array(g, "accllm.tensor.name", NULL, &n);
    for (size_t i = 0; i < x->n; i++) {
        accllm_tensor_info *t = &x->tensors[i];
        const char *dot = strrchr(t->name, '.');
        int format = dot ? acc_format_parse(dot + 1) : -1;
        uint64_t group = 0;
        if (format < 0 || !find_entry(g, t->name, n, &at)) continue;
        t->format = acc_format_name((acc_format)format);
        (void)acc_gguf_array_u64(g, "accllm.tensor.rows", at, &t->rows);
        (void)acc_gguf_array_u64(g, "accllm.tensor.cols", at, &t->cols);
        (void)acc_gguf_array_u64(g, "accllm.tensor.group", at, &group);
        t->group = (uint32_t)group;
        at++;
    }
}

static accllm_status inspect_packed(accllm_inspection *x, const char *path, bool verify, accllm_error *err)
{
    acc_packed *m;
    ACC_TRY(acc_packed_open(&m, path, true, verify, err));
    x->version = ACC_FORMAT_VERSION; /* the only one that opens */
    acc_info_packed(&x->info, m);
    accllm_status s = list_gguf(x, m->file, err);
    if (s == ACCLLM_OK) describe_blobs(x, m->file);
    acc_packed_free(&m);
    return s;
}

static void copy_text(char *dst, size_t cap, const acc_gguf *g, const char *key)
{
    acc_str s;
    if (acc_gguf_str(g, key, &s)) (void)snprintf(dst, cap, "%.*s", s.n < cap ? (int)s.n : (int)cap - 1, s.s);
}

/* Any GGUF: what is no model that we read (a vocabulary, another architecture) is listed all the same. */
static accllm_status inspect_gguf(accllm_inspection *x, const char *path, const acc_gguf *g, accllm_error *err)
{
    acc_source *src;
    ACC_TRY(list_gguf(x, g, err));
    accllm_status s = acc_checkpoint_open(&src, path, true, err);
    if (s == ACCLLM_OK) {
        acc_info_source(&x->info, src);
        src->close(src);
        return ACCLLM_OK;
    }
    if (s != ACCLLM_E_FORMAT && s != ACCLLM_E_UNSUPPORTED) return s;
    copy_text(x->info.name, sizeof x->info.name, g, "general.name");
    copy_text(x->info.architecture, sizeof x->info.architecture, g, "general.architecture");
    for (size_t i = 0; i < x->n; i++) x->info.n_params += x->tensors[i].rows * x->tensors[i].cols;
    return ACCLLM_OK;
}

static accllm_status inspect_other(accllm_inspection *x, const char *path, accllm_error *err)
{
    acc_source *src;
    ACC_TRY(acc_checkpoint_open(&src, path, true, err));
    acc_info_source(&x->info, src);
    accllm_status s = reserve(x, (size_t)ACC_T_COUNT * src->hp.n_layers, err);
    for (int i = 0; s == ACCLLM_OK && i < ACC_T_COUNT; i++) {
        acc_tensor_id id = (acc_tensor_id)i;
        uint32_t n = acc_tensor_is_global(id) ? 1 : src->hp.n_layers;
        for (uint32_t layer = 0; layer < n && src->has(src, id, layer); layer++) {
            char name[64];
            acc_tensor_name(name, sizeof name, id, layer, "weight");
            accllm_tensor_info *t = add(x, (acc_str){name, strlen(name)}, err);
            if (!t) {
                s = ACCLLM_E_NOMEM;
                break;
            }
            t->format = "f32";
            acc_tensor_shape(&src->hp, id, &t->rows, &t->cols);
            t->bytes = t->rows * t->cols * sizeof(float);
        }
    }
    src->close(src);
    return s;
}

static accllm_status inspect(accllm_inspection *x, const char *path, bool verify, accllm_error *err)
{
    acc_file f;
    acc_gguf *g;
    ACC_TRY(acc_file_open(&f, path, true, err));
    x->info.file_bytes = f.size;
    bool is_gguf = f.size >= 4 && memcmp(f.data, "GGUF", 4) == 0;
    acc_file_close(&f);
    if (!is_gguf) return inspect_other(x, path, err);
    ACC_TRY(acc_gguf_open(&g, path, true, err));
    accllm_status s = acc_is_packed(g) ? inspect_packed(x, path, verify, err) : inspect_gguf(x, path, g, err);
    acc_gguf_free(&g);
    return s;
}

accllm_status accllm_inspect(accllm_inspection **out, const char *path, bool verify, accllm_error *err)
{
    void *p;
    *out = NULL;
    ACC_TRY(acc_alloc(&p, 1, sizeof(accllm_inspection), "inspection", err));
    accllm_inspection *x = p;
    accllm_status s = inspect(x, path, verify, err);
    if (s != ACCLLM_OK)
        accllm_inspection_free(&x);
    else
        *out = x;
    return s;
}

void accllm_inspection_free(accllm_inspection **xp)
{
    accllm_inspection *x = xp ? *xp : NULL;
    if (!x) return;
    for (size_t i = 0; i < x->n; i++) free((char *)(uintptr_t)x->tensors[i].name);
    acc_free(x->tensors);
    acc_free(x);
    *xp = NULL;
}

const accllm_model_info *accllm_inspection_info(const accllm_inspection *x)
{
    return &x->info;
}

uint32_t accllm_inspection_format_version(const accllm_inspection *x)
{
    return x->version;
}

size_t accllm_inspection_tensors(const accllm_inspection *x, const accllm_tensor_info **tensors)
{
    *tensors = x->tensors;
    return x->n;
}
