#include "support/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/memory.h"
#include "model/packed_internal.h"

pack_options pack_defaults(acc_format linear)
{
    pack_options o = {
        .head = ACC_FMT_W8, .level1 = 1, .level2 = 2, .page = 64, .sinks = 4, .window = 128, .kv_bits = 4};
    for (int i = 0; i < ACC_N_LINEAR; i++) o.linear[i] = linear;
    return o;
}

/* One row block under way. */
typedef struct block {
    const acc_weight *w;
    size_t stride; /* columns, padded to whole groups */
    float *x;      /* [64][stride], zero beyond the matrix */
    int8_t *codes;
    uint8_t *m;
    float rscale[ACC_TILE_ROWS];
} block;

static float clamp(float x, float lo, float hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

static float largest(const float *x, size_t n)
{
    float m = 0.0f;
    for (size_t i = 0; i < n; i++) m = fmaxf(m, fabsf(x[i]));
    return m;
}

static void row_w8(block *b, uint32_t r)
{
    const float *x = b->x + r * b->stride;
    float s = largest(x, b->stride) / 127.0f;
    b->rscale[r] = s;
    for (size_t i = 0; i < b->stride; i++)
        b->codes[r * b->stride + i] = s > 0.0f ? (int8_t)clamp(rintf(x[i] / s), -127.0f, 127.0f) : 0;
}

/* The step of each group becomes m * rscale, rounded up so that nothing overflows much. */
static void share_scales(block *b, uint32_t r, const float *step)
{
    const uint32_t n = b->w->col_groups, mmax = acc_weight_mmax(b->w);
    float s = largest(step, n) / (float)mmax;
    b->rscale[r] = s;
    for (uint32_t g = 0; g < n; g++)
        b->m[r * n + g] = s > 0.0f ? (uint8_t)clamp(ceilf(step[g] / s), 1.0f, (float)mmax) : 0;
}

static void row_w4(block *b, uint32_t r, float *step)
{
    const float *x = b->x + r * b->stride;
    const uint32_t group = b->w->group, n = b->w->col_groups;
    for (uint32_t g = 0; g < n; g++) step[g] = largest(x + (size_t)g * group, group) / 7.0f;
    share_scales(b, r, step);
    for (size_t i = 0; i < b->stride; i++) {
        float s = b->rscale[r] * (float)b->m[r * n + i / group];
        b->codes[r * b->stride + i] = s > 0.0f ? (int8_t)clamp(rintf(x[i] / s), -8.0f, 7.0f) : 0;
    }
}

/* Levels -3, -1, 1, 3: of weights spread as a Gaussian the least error stands at half their RMS. */
static void row_w2(block *b, uint32_t r, float *step)
{
    const float *x = b->x + r * b->stride;
    const uint32_t group = b->w->group, n = b->w->col_groups;
    for (uint32_t g = 0; g < n; g++) {
        float square = 0.0f;
        uint32_t count = (g + 1) * group <= b->w->cols ? group : b->w->cols - g * group;
        for (uint32_t i = 0; i < count; i++) square += x[(size_t)g * group + i] * x[(size_t)g * group + i];
        step[g] = 0.5f * sqrtf(square / (float)count);
    }
    share_scales(b, r, step);
    for (size_t i = 0; i < b->stride; i++) {
        float s = b->rscale[r] * (float)b->m[r * n + i / group];
        b->codes[r * b->stride + i] =
            s > 0.0f ? (int8_t)(2.0f * clamp(rintf(x[i] / s * 0.5f - 0.5f), -2.0f, 1.0f) + 1.0f) : 1;
    }
}

static void two_largest(const float x[4], int *a, int *b)
{
    *a = 0;
    for (int i = 1; i < 4; i++)
        if (fabsf(x[i]) > fabsf(x[*a])) *a = i;
    *b = *a == 0 ? 1 : 0;
    for (int i = 0; i < 4; i++)
        if (i != *a && fabsf(x[i]) > fabsf(x[*b])) *b = i;
}

static int8_t level(const acc_weight *w, float x, float s)
{
    int v = fabsf(x) < 0.5f * (float)(w->level1 + w->level2) * s ? w->level1 : w->level2;
    return (int8_t)(x < 0.0f ? -v : v);
}

static void row_w2s(block *b, uint32_t r, float *step)
{
    const acc_weight *w = b->w;
    const float *x = b->x + r * b->stride;
    int first, second;
    for (uint32_t g = 0; g < w->col_groups; g++) {
        float sum = 0.0f;
        for (uint32_t i = 0; i < w->group; i += 4) {
            const float *q = x + (size_t)g * w->group + i;
            two_largest(q, &first, &second);
            sum += fabsf(q[first]) + fabsf(q[second]);
        }
        step[g] = sum / (float)(w->group / 2) * 2.0f / (float)(w->level1 + w->level2);
    }
    share_scales(b, r, step);
    for (size_t q = 0; q < b->stride / 4; q++) {
        float s = b->rscale[r] * (float)b->m[r * w->col_groups + 4 * q / w->group];
        int8_t quad[4] = {0};
        two_largest(x + 4 * q, &first, &second);
        if (s > 0.0f && fabsf(x[4 * q + (size_t)first]) > 0.25f * s) {
            quad[first] = level(w, x[4 * q + (size_t)first], s);
            quad[second] = level(w, x[4 * q + (size_t)second], s);
        }
        b->codes[r * (b->stride / 4) + q] = (int8_t)acc_w2s_code(quad, w->level1, w->level2);
    }
}

typedef struct packer {
    const pack_options *o;
    acc_packed_plan plan;
    void *data;
} packer;

static accllm_status block_alloc(block *b, const acc_weight *w, accllm_error *err)
{
    void *p;
    b->w = w;
    b->stride = (size_t)w->col_groups * w->group;
    ACC_TRY(acc_alloc(&p, ACC_TILE_ROWS * b->stride, sizeof *b->x, "rows", err));
    b->x = p;
    ACC_TRY(acc_alloc(&p, ACC_TILE_ROWS * b->stride, 1, "codes", err));
    b->codes = p;
    ACC_TRY(acc_alloc(&p, (size_t)ACC_TILE_ROWS * w->col_groups, 1, "scales", err));
    b->m = p;
    return ACCLLM_OK;
}

static accllm_status pack_rows(block *b, const acc_source *src, acc_tensor_id id, uint32_t layer, uint8_t *blob,
                               float *step, accllm_error *err)
{
    const acc_weight *w = b->w;
    for (uint32_t rb = 0; rb < w->row_blocks; rb++) {
        uint32_t row0 = rb * ACC_TILE_ROWS, n = w->rows - row0 < ACC_TILE_ROWS ? w->rows - row0 : ACC_TILE_ROWS;
        memset(b->x, 0, ACC_TILE_ROWS * b->stride * sizeof *b->x);
        for (uint32_t r = 0; r < n; r++) {
            ACC_TRY(src->read_rows(src, id, layer, row0 + r, 1, b->x + r * b->stride, err));
            if (w->format == ACC_FMT_W8) row_w8(b, r);
            if (w->format == ACC_FMT_W4) row_w4(b, r, step);
            if (w->format == ACC_FMT_W2) row_w2(b, r, step);
            if (w->format == ACC_FMT_W2S) row_w2s(b, r, step);
        }
        acc_weight_pack_block(w, blob, rb, b->codes, b->m);
        memcpy(blob + acc_weight_tiles_bytes(w) + row0 * sizeof(float), b->rscale, n * sizeof(float));
    }
    return ACCLLM_OK;
}

static accllm_status pack_matrix(packer *p, const acc_weight *w, acc_tensor_id id, uint32_t layer, accllm_error *err)
{
    block b = {0};
    void *step = NULL;
    accllm_status s = acc_alloc(&p->data, acc_weight_bytes(w), 1, "blob", err);
    if (s == ACCLLM_OK) s = block_alloc(&b, w, err);
    if (s == ACCLLM_OK) s = acc_alloc(&step, w->col_groups, sizeof(float), "steps", err);
    if (s == ACCLLM_OK) s = pack_rows(&b, p->plan.src, id, layer, p->data, step, err);
    acc_free(step);
    acc_free(b.x);
    acc_free(b.codes);
    acc_free(b.m);
    return s;
}

static accllm_status fetch(void *user, acc_tensor_id id, uint32_t layer, const void **data, size_t *bytes,
                           accllm_error *err)
{
    packer *p = user;
    uint64_t rows, cols;
    acc_free(p->data);
    p->data = NULL;
    if (acc_tensor_is_linear(id) || id <= ACC_T_OUTPUT) {
        const acc_weight *w = id == ACC_T_TOKEN_EMBD ? &p->plan.embd
                              : id == ACC_T_OUTPUT   ? &p->plan.output
                                                     : &p->plan.linear[id - ACC_T_ATTN_Q];
        ACC_TRY(pack_matrix(p, w, id, layer, err));
        *bytes = acc_weight_bytes(w);
    } else {
        acc_packed_vector_shape(&p->plan.src->hp, id, &rows, &cols);
        cols *= rows;
        ACC_TRY(acc_alloc(&p->data, cols, sizeof(float), "vector", err));
        float *x = p->data;
        if (id == ACC_T_EMBD_SCALE)
            for (uint64_t i = 0; i < cols; i++) x[i] = 0.25f + 4 * (float)acc_random_unit(7, i);
        else if (id >= ACC_T_COUNT)
            for (uint64_t i = 0; i < cols; i++) x[i] = (float)acc_random_unit(layer, i) - 0.5f;
        else
            ACC_TRY(p->plan.src->read_rows(p->plan.src, id, layer, 0, 1, x, err));
        *bytes = cols * sizeof(float);
    }
    *data = p->data;
    return ACCLLM_OK;
}

static accllm_status make_plan(packer *p, accllm_error *err)
{
    const pack_options *o = p->o;
    const acc_hparams *hp = &p->plan.src->hp;
    uint64_t rows, cols;
    for (int i = 0; i < ACC_N_LINEAR; i++) {
        const uint32_t group = o->linear_group[i] ? o->linear_group[i] : o->group;
        acc_tensor_shape(hp, (acc_tensor_id)(ACC_T_ATTN_Q + i), &rows, &cols);
        ACC_TRY(acc_weight_init(&p->plan.linear[i], o->linear[i], (uint32_t)rows, (uint32_t)cols, group, o->level1,
                                o->level2, err));
    }
    ACC_TRY(acc_weight_init(&p->plan.embd, o->head, hp->n_vocab, hp->n_embd, o->group, o->level1, o->level2, err));
    p->plan.output = p->plan.embd;
    p->plan.page = o->page;
    p->plan.sinks = o->sinks;
    p->plan.window = o->window;
    p->plan.kv_bits = o->kv_bits;
    p->plan.k_mean = o->k_mean;
    p->plan.q_direction = o->q_direction;
    p->plan.embd_scale = o->embd_scale;
    return ACCLLM_OK;
}

accllm_status pack_model(const char *src, const char *dst, const pack_options *o, accllm_error *err)
{
    packer p = {.o = o};
    acc_source *s;
    ACC_TRY(acc_checkpoint_open(&s, src, true, err));
    p.plan.src = s;
    accllm_status status = make_plan(&p, err);
    if (status == ACCLLM_OK) status = acc_packed_write(&p.plan, dst, fetch, &p, err);
    acc_free(p.data);
    s->close(s);
    return status;
}

accllm_status pack_tiny(const char *dst, const tiny_options *t, const pack_options *o, accllm_error *err)
{
    char *src;
    if (asprintf(&src, "%s.source", dst) < 0) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory");
    accllm_status s = tiny_write(src, t, err);
    if (s == ACCLLM_OK) s = pack_model(src, dst, o, err);
    (void)unlink(src);
    free(src);
    return s;
}
