/*
 * A simulated 4- or 8-bit cache for the float reference: keys and values pass through the codes of docs/numerics.md
 * ("Keys, values, queries") and come back as floats. Activations, queries and attention stay float, so a comparison
 * shows what the cache alone costs.
 */
#include <stdio.h>
#include <string.h>

#include "numerics/numerics.h"
#include "reference/internal.h"

static bool through_kv8(float *x, uint32_t n)
{
    int8_t u[ACC_MAX_HEAD_DIM];
    uint16_t half;
    if (!acc_kv8(x, n, u, &half)) return false;
    float scale = acc_f16_to_f32(half);
    for (uint32_t i = 0; i < n; i++) x[i] = scale * (float)u[i];
    return true;
}

/* key: a transformed key, its error weighed by direction (NULL: zero). */
static bool through_kv4(float *x, uint32_t n, bool key, const float *direction)
{
    uint8_t u[ACC_MAX_HEAD_DIM], zero;
    uint16_t half;
    if (!(key ? acc_kv4_key(x, n, direction, u, &half, &zero) : acc_kv4(x, n, u, &half, &zero))) return false;
    float scale = acc_f16_to_f32(half);
    for (uint32_t i = 0; i < n; i++) x[i] = scale * (float)((int)u[i] - (int)zero);
    return true;
}

/* The key at its offset in its page, coded, then turned on by the page's start: the sum is its position. */
static bool code_key(const acc_ref_kv *kv, const acc_hparams *hp, const acc_ref_span *span, uint32_t bits, uint32_t i,
                     uint32_t head, const float *k, float *out)
{
    uint32_t hd = hp->head_dim, block = acc_hadamard_block(hd);
    const float *mean = kv->k_mean ? kv->k_mean + (size_t)head * hd : NULL;
    size_t at = (size_t)i * (hd / 2);
    if (span->first + i < kv->sinks) {
        acc_ref_rotate(k, span->cos + at, span->sin + at, hd, out);
        return through_kv8(out, hd);
    }
    acc_ref_rotate(k, span->page_cos + at, span->page_sin + at, hd, out);
    for (uint32_t d = 0; mean && d < hd; d++) out[d] -= mean[d];
    acc_hadamard(out, hd, block);
    const float *direction = kv->q_direction ? kv->q_direction + (size_t)head * hd : NULL;
    bool ok = bits == 4 ? through_kv4(out, hd, true, direction) : through_kv8(out, hd);
    acc_hadamard(out, hd, block);
    for (uint32_t d = 0; d < hd; d++) out[d] = out[d] / (float)block + (mean ? mean[d] : 0.0f);
    acc_ref_rotate(out, span->base_cos + at, span->base_sin + at, hd, out);
    return ok;
}

bool acc_ref_code(const acc_ref_kv *kv, const acc_hparams *hp, const acc_ref_span *span, uint32_t bits, uint32_t i,
                  uint32_t head, const float *k, const float *v, float *k_out, float *v_out)
{
    memcpy(v_out, v, hp->head_dim * sizeof *v);
    bool sink = span->first + i < kv->sinks;
    bool ok = sink || bits == 8 ? through_kv8(v_out, hp->head_dim) : through_kv4(v_out, hp->head_dim, false, NULL);
    return ok && code_key(kv, hp, span, bits, i, head, k, k_out);
}

/* A vector of every KV head and layer; *all stays NULL where the file has none. */
static accllm_status load_vectors(const acc_hparams *hp, const acc_source *src, const char *base, float **all,
                                  accllm_error *err)
{
    size_t width = (size_t)hp->n_kv_heads * hp->head_dim;
    for (uint32_t l = 0; l < hp->n_layers; l++) {
        char name[48];
        (void)snprintf(name, sizeof name, "blk.%u.%s", l, base);
        const acc_gguf_tensor *t = acc_gguf_find(src->meta, name);
        if (!t) continue;
        if (t->dim[0] > width || t->dim[0] * t->dim[1] != width || t->dim[2] * t->dim[3] != 1)
            return acc_fail(err, ACCLLM_E_FORMAT, "tensor %s does not have %zu values", name, width);
        if (!*all) ACC_TRY(acc_alloc((void **)all, (size_t)hp->n_layers * width, sizeof **all, base, err));
        ACC_TRY(acc_gguf_read_f32(src->meta, t, 0, width, *all + l * width, err));
    }
    return ACCLLM_OK;
}

accllm_status acc_ref_load_page(acc_ref_model *m, const acc_source *src, accllm_error *err)
{
    uint32_t page;
    m->page = 256;
    if (!src->meta) return ACCLLM_OK;
    if (acc_gguf_u32(src->meta, "accllm.kv.page", &page) && page > 0) m->page = page;
    ACC_TRY(load_vectors(&m->hp, src, "attn_k_mean", &m->k_mean, err));
    return load_vectors(&m->hp, src, "attn_q_direction", &m->q_direction, err);
}
