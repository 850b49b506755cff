/* A packed model's dequantised weights behind the interface of source checkpoints. */
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "model/packed_internal.h"

void acc_packed_embed(const acc_packed *m, uint32_t id, float *x)
{
    acc_weight_dequant_row(&m->embd, id, x);
    for (uint32_t i = 0; m->embd_scale && i < m->hp.n_embd; i++) x[i] *= m->embd_scale[i];
}

typedef struct packed_source {
    acc_source base;
    acc_packed *m; /* only read: the look-ups of packed_internal.h are not const */
} packed_source;

static bool is_matrix(acc_tensor_id id)
{
    return acc_tensor_is_linear(id) || id == ACC_T_TOKEN_EMBD || id == ACC_T_OUTPUT;
}

static bool source_has(const acc_source *base, acc_tensor_id id, uint32_t layer)
{
    const packed_source *s = (const packed_source *)base;
    if ((unsigned)id >= ACC_T_COUNT || layer >= base->hp.n_layers) return false;
    if (id == ACC_T_OUTPUT) return !base->hp.tied;
    return is_matrix(id) || *acc_packed_vector(s->m, id, layer) != NULL;
}

/* The channel scaling stands between the output norm and the tied matrix; seen from outside it is undone. */
static void undo_scale(const acc_packed *m, acc_tensor_id id, uint64_t n_rows, float *x)
{
    const uint32_t n = m->hp.n_embd;
    if (!m->embd_scale || (id != ACC_T_TOKEN_EMBD && id != ACC_T_OUTPUT_NORM)) return;
    for (uint64_t r = 0; r < n_rows; r++)
        for (uint32_t i = 0; i < n; i++) {
            if (id == ACC_T_TOKEN_EMBD)
                x[r * n + i] *= m->embd_scale[i];
            else
                x[r * n + i] /= m->embd_scale[i];
        }
}

static accllm_status source_read(const acc_source *base, acc_tensor_id id, uint32_t layer, uint64_t row0,
                                 uint64_t n_rows, float *out, accllm_error *err)
{
    const packed_source *s = (const packed_source *)base;
    uint64_t rows, cols;
    ACC_TRY(acc_rows_range(&base->hp, id, layer, row0, n_rows, err));
    if (!source_has(base, id, layer))
        return acc_fail(err, ACCLLM_E_ARG, "tensor %s is not in the file", acc_tensor_base(id));
    acc_tensor_shape(&base->hp, id, &rows, &cols);
    if (is_matrix(id)) {
        const acc_weight *w = acc_packed_weight(s->m, id, layer);
        for (uint64_t r = 0; r < n_rows; r++) acc_weight_dequant_row(w, (uint32_t)(row0 + r), out + r * cols);
    } else if (n_rows) {
        memcpy(out, *acc_packed_vector(s->m, id, layer), cols * sizeof *out);
    }
    undo_scale(s->m, id, n_rows, out);
    return acc_rows_check(&base->hp, id, layer, row0, n_rows, out, err);
}

static void source_close(acc_source *base)
{
    acc_free(base);
}

accllm_status acc_packed_source(acc_source **out, const acc_packed *m, accllm_error *err)
{
    void *p;
    *out = NULL;
    ACC_TRY(acc_alloc(&p, 1, sizeof(packed_source), "source", err));
    packed_source *s = p;
    s->m = (acc_packed *)(uintptr_t)m;
    s->base.hp = m->hp;
    s->base.meta = m->file;
    s->base.has = source_has;
    s->base.read_rows = source_read;
    s->base.close = source_close;
    *out = &s->base;
    return ACCLLM_OK;
}
