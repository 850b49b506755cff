/* Opening models: which engine runs them, their tokenizer and their description. */
#include <string.h>
#include <sys/stat.h>

#include "core/fpmode.h"
#include "core/memory.h"
#include "engine/internal.h"
#include "tokenizer/tokenizer.h"

void accllm_model_params_init(accllm_model_params *p)
{
    memset(p, 0, sizeof *p);
    p->struct_size = sizeof *p;
    p->use_mmap = true;
    p->numerics = ACCLLM_NUMERICS_AUTO;
}

/* Whether path is an AccLLM file. What is no GGUF file at all is left to the readers of other formats. */
static accllm_status is_packed(const char *path, bool *packed, accllm_error *err)
{
    acc_gguf *g;
    *packed = false;
    accllm_status s = acc_gguf_open(&g, path, true, err);
    if (s == ACCLLM_E_FORMAT) return ACCLLM_OK;
    ACC_TRY(s);
    *packed = acc_is_packed(g);
    acc_gguf_free(&g);
    return ACCLLM_OK;
}

/* A file without tokenizer keys has no tokenizer, which is no error. */
static accllm_status make_tokenizer(accllm_model *m, const acc_gguf *meta, accllm_error *err)
{
    if (!meta || !acc_gguf_has(meta, "tokenizer.ggml.model")) return ACCLLM_OK;
    return acc_tokenizer_create(&m->tokenizer, meta, err);
}

static accllm_status make_reference(accllm_model *m, const acc_source *src, accllm_error *err)
{
    m->info.numerics = ACCLLM_NUMERICS_FLOAT;
    m->info.default_kv_bits = 32;
    return acc_ref_model_create(&m->ref, m->rt, src, err);
}

static accllm_status open_packed(accllm_model *m, const char *path, const accllm_model_params *p, accllm_error *err)
{
    ACC_TRY(acc_packed_open(&m->packed, path, p->use_mmap, false, err));
    acc_info_packed(&m->info, m->packed);
    ACC_TRY(make_tokenizer(m, m->packed->file, err));
    if (p->numerics != ACCLLM_NUMERICS_FLOAT) {
        m->info.numerics = ACCLLM_NUMERICS_CONTRACT;
        return acc_model_prepare(m->packed, m->rt, err);
    }
    acc_source *src;
    ACC_TRY(acc_packed_source(&src, m->packed, err));
    accllm_status s = make_reference(m, src, err);
    src->close(src);
    return s;
}

static accllm_status open_source(accllm_model *m, const char *path, const accllm_model_params *p, accllm_error *err)
{
    acc_source *src;
    ACC_TRY(acc_checkpoint_open(&src, path, p->use_mmap, err));
    accllm_status s = ACCLLM_OK;
    if (p->numerics == ACCLLM_NUMERICS_CONTRACT)
        s = acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s is not compressed; the contract engine runs AccLLM files", path);
    if (s == ACCLLM_OK) {
        acc_info_source(&m->info, src);
        s = make_tokenizer(m, src->meta, err);
    }
    if (s == ACCLLM_OK) s = make_reference(m, src, err);
    src->close(src);
    return s;
}

static accllm_status open_model(accllm_model *m, const char *path, const accllm_model_params *p, accllm_error *err)
{
    struct stat st;
    bool packed;
    ACC_TRY(is_packed(path, &packed, err));
    if (stat(path, &st) == 0 && st.st_size > 0) m->info.file_bytes = (uint64_t)st.st_size;
    return packed ? open_packed(m, path, p, err) : open_source(m, path, p, err);
}

static accllm_status make_model(accllm_model **out, accllm_runtime *rt, accllm_error *err)
{
    *out = acc_calloc(1, sizeof **out);
    if (!*out) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: model");
    (*out)->rt = rt;
    return ACCLLM_OK;
}

static accllm_status finish_model(accllm_model **out, accllm_model *m, accllm_status s)
{
    if (s == ACCLLM_OK) {
        acc_info_default_window(&m->info);
        *out = m;
    } else {
        accllm_model_free(&m);
    }
    return s;
}

accllm_status accllm_model_open(accllm_model **out, accllm_runtime *rt, const char *path, const accllm_model_params *p,
                                accllm_error *err)
{
    accllm_model_params params;
    accllm_model *m;
    *out = NULL;
    accllm_model_params_init(&params);
    if (!rt || !path) return acc_fail(err, ACCLLM_E_ARG, "model: no runtime or no path");
    if (p && p->struct_size != sizeof params)
        return acc_fail(err, ACCLLM_E_ARG, "model parameters were not set up by accllm_model_params_init()");
    if (p) params = *p;
    ACC_TRY(make_model(&m, rt, err));
    uint64_t mode = acc_fp_enter();
    accllm_status s = open_model(m, path, &params, err);
    acc_fp_leave(mode);
    return finish_model(out, m, s);
}

accllm_status acc_model_open_edited(accllm_model **out, accllm_runtime *rt, const char *path, acc_packed_edit *edit,
                                    void *user, accllm_error *err)
{
    accllm_model *m;
    *out = NULL;
    ACC_TRY(make_model(&m, rt, err));
    uint64_t mode = acc_fp_enter();
    accllm_status s = acc_packed_open(&m->packed, path, true, false, err);
    if (s == ACCLLM_OK) s = edit(user, m->packed, err);
    if (s == ACCLLM_OK) {
        acc_info_packed(&m->info, m->packed);
        m->info.numerics = ACCLLM_NUMERICS_CONTRACT;
        s = make_tokenizer(m, m->packed->file, err);
    }
    if (s == ACCLLM_OK) s = acc_model_prepare(m->packed, rt, err);
    acc_fp_leave(mode);
    return finish_model(out, m, s);
}

static accllm_status open_random(accllm_model *m, const char *shape, const char *weights, const char *head,
                                 accllm_error *err)
{
    int w = acc_format_parse(weights), h = acc_format_parse(head);
    if (w < 0) return acc_fail(err, ACCLLM_E_ARG, "unknown weight format %s", weights);
    if (h < 0) return acc_fail(err, ACCLLM_E_ARG, "unknown head format %s", head);
    ACC_TRY(acc_packed_random(&m->packed, shape, (acc_format)w, (acc_format)h, err));
    acc_info_packed(&m->info, m->packed);
    m->info.numerics = ACCLLM_NUMERICS_CONTRACT;
    return acc_model_prepare(m->packed, m->rt, err);
}

accllm_status accllm_model_random(accllm_model **out, accllm_runtime *rt, const char *shape, const char *weights,
                                  const char *head, accllm_error *err)
{
    accllm_model *m;
    *out = NULL;
    if (!rt || !shape || !weights || !head)
        return acc_fail(err, ACCLLM_E_ARG, "random model: no runtime, or shape or formats not named");
    ACC_TRY(make_model(&m, rt, err));
    uint64_t mode = acc_fp_enter();
    accllm_status s = open_random(m, shape, weights, head, err);
    acc_fp_leave(mode);
    return finish_model(out, m, s);
}

void accllm_model_free(accllm_model **m)
{
    if (!m || !*m) return;
    acc_ref_model_free(&(*m)->ref);
    accllm_tokenizer_free(&(*m)->tokenizer);
    if ((*m)->packed) acc_model_release((*m)->packed);
    acc_packed_free(&(*m)->packed);
    acc_free(*m);
    *m = NULL;
}

const accllm_model_info *accllm_model_get_info(const accllm_model *m)
{
    return &m->info;
}

const accllm_tokenizer *accllm_model_tokenizer(const accllm_model *m)
{
    return m->tokenizer;
}
