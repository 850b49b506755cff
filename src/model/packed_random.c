/*
 * Built-in shapes with random packed weights, for measuring speed. The codes are valid and the scales such that
 * activations stay near 1, as in a trained model. Codes come from a small pool of random ones, copied in pseudo-random
 * order: filling 1.5 GB takes about as long as writing it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "model/packed_internal.h"

typedef struct shape {
    const char *name, *arch;
    uint32_t n_embd, n_ff, n_layers, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx;
    double theta;
    float eps;
    bool tied, biases;
} shape;

static const shape shapes[] = {
    {"llama2-7b", "llama", 4096, 11008, 32, 32, 32, 128, 32000, 4096, 1e4, 1e-5f, false, false},
    {"llama3.2-1b", "llama", 2048, 8192, 16, 32, 8, 64, 128256, 131072, 5e5, 1e-5f, true, false},
    {"tinyllama-1.1b", "llama", 2048, 5632, 22, 32, 4, 64, 32000, 2048, 1e4, 1e-5f, false, false},
    {"qwen2.5-0.5b", "qwen2", 896, 4864, 24, 14, 2, 64, 151936, 32768, 1e6, 1e-6f, true, true},
    {"smollm2-135m", "llama", 576, 1536, 30, 9, 3, 64, 49152, 8192, 1e5, 1e-5f, true, false},
};

#define POOL_BYTES (1u << 16)
#define SEED 0x5eed

typedef struct filler {
    uint8_t pool[POOL_BYTES + 256];
    uint64_t counter;
} filler;

/* The pool holds what a blob of the format holds: W2S whole quads of 56 bytes (64 codes of 7 bits, 0..120). */
static void make_pool(filler *f, acc_format format)
{
    uint64_t n = 0;
    if (format == ACC_FMT_W2S) {
        memset(f->pool, 0, sizeof f->pool);
        for (uint32_t i = 0; i + 7 <= sizeof f->pool; i += 7) {
            uint64_t bits = 0;
            for (uint32_t k = 0; k < 8; k++) bits |= acc_random(SEED, n++) % 121 << (7 * k);
            memcpy(f->pool + i, &bits, 7); /* the low seven bytes: little-endian hosts (format/gguf.c) */
        }
        return;
    }
    for (uint32_t i = 0; i < sizeof f->pool; i++) {
        uint8_t byte = (uint8_t)(acc_random(SEED, n++) >> 32);
        f->pool[i] = format == ACC_FMT_W8 && byte == 0x80 ? 0x7f : byte;
    }
}

/* Copies n bytes of codes from a pseudo-random place of the pool; unit: the bytes that must stay together. */
static void put_codes(filler *f, uint8_t *dst, size_t n, uint32_t unit)
{
    while (n) {
        size_t piece = n < 4096 ? n : 4096 / unit * unit;
        uint64_t places = (POOL_BYTES - 4096) / unit;
        memcpy(dst, f->pool + acc_random(SEED, f->counter++) % places * unit, piece);
        dst += piece;
        n -= piece;
    }
}

/* Mean square of an integer weight: W2S half of the weights +-1 or +-2, W2 +-1 or +-3, W4 uniform -8..7, W8 uniform. */
static double mean_square(acc_format format)
{
    static const double square[ACC_FMT_COUNT] = {
        [ACC_FMT_W2S] = 1.25, [ACC_FMT_W2] = 5.0, [ACC_FMT_W4] = 21.5, [ACC_FMT_W8] = 5419.0};
    return square[format];
}

static void fill_weight(filler *f, acc_weight *w, uint8_t *blob)
{
    const bool has_m = w->format != ACC_FMT_W8;
    const size_t tile = acc_weight_tile_bytes(w), codes = tile - (has_m ? ACC_TILE_ROWS : 0);
    const size_t n_tiles = (size_t)w->row_blocks * w->col_groups;
    make_pool(f, w->format);
    for (size_t i = 0; i < n_tiles; i++) {
        uint8_t *dst = blob + i * tile;
        put_codes(f, dst, codes, w->format == ACC_FMT_W2S ? 56 : 64);
        for (uint32_t r = 0; has_m && r < ACC_TILE_ROWS; r += 8) {
            uint64_t bytes = (acc_random(SEED, f->counter++) & 0x3f3f3f3f3f3f3f3fu) + 0x6060606060606060u;
            memcpy(dst + codes + r, &bytes, 8); /* m in 96..159: below mmax of every shape and format */
        }
    }
    double rms_m = has_m ? 128.0 : 1.0;
    float scale = (float)(1.0 / sqrt((double)w->cols * mean_square(w->format) * rms_m * rms_m));
    float *rscale = (float *)(void *)(blob + acc_weight_tiles_bytes(w));
    for (uint32_t r = 0; r < w->rows; r++) rscale[r] = scale;
    acc_weight_bind(w, blob);
}

static void set_hparams(acc_packed *m, const shape *s)
{
    acc_hparams *hp = &m->hp;
    (void)snprintf(hp->name, sizeof hp->name, "%s (random weights)", s->name);
    (void)snprintf(hp->arch, sizeof hp->arch, "%s", s->arch);
    hp->n_layers = s->n_layers;
    hp->n_embd = s->n_embd;
    hp->n_ff = s->n_ff;
    hp->n_heads = s->n_heads;
    hp->n_kv_heads = s->n_kv_heads;
    hp->head_dim = s->head_dim;
    hp->n_vocab = s->n_vocab;
    hp->n_ctx_train = s->n_ctx;
    hp->norm_eps = s->eps;
    hp->tied = s->tied;
    acc_hparams_rope(hp, s->theta, NULL);
    m->page = 256;
    m->default_sinks = 4;
    m->default_window = s->n_ctx - 4 < 2048 ? s->n_ctx - 4 : 2048;
    m->default_kv_bits = 4;
}

/* Both passes walk the tensors alike: without memory the bytes are counted, with memory they are filled. */
static accllm_status walk(acc_packed *m, const shape *s, acc_format weights, acc_format head, filler *f, size_t *total,
                          accllm_error *err)
{
    uint32_t state = 0;
    acc_packed_step step;
    size_t at = 0;
    while (acc_packed_next(&m->hp, &state, &step)) {
        uint64_t rows, cols;
        bool is_head = step.id == ACC_T_TOKEN_EMBD || step.id == ACC_T_OUTPUT, bias = step.id >= ACC_T_ATTN_Q_BIAS;
        uint8_t *dst = m->memory ? (uint8_t *)m->memory + at : NULL;
        if (step.id >= ACC_T_COUNT || (bias && !s->biases)) continue;
        acc_tensor_shape(&m->hp, step.id, &rows, &cols);
        if (is_head || acc_tensor_is_linear(step.id)) {
            acc_weight *w = acc_packed_weight(m, step.id, step.layer);
            ACC_TRY(acc_weight_init(w, is_head ? head : weights, (uint32_t)rows, (uint32_t)cols, 0, 1, 2, err));
            if (dst) fill_weight(f, w, dst);
            at += acc_round_up(acc_weight_bytes(w), ACC_ALIGN);
        } else {
            float *x = (float *)(void *)dst;
            for (uint64_t i = 0; x && i < cols; i++)
                x[i] = bias ? (float)acc_random_unit(SEED, f->counter++) - 0.5f : 1.0f;
            if (x) *acc_packed_vector(m, step.id, step.layer) = x;
            at += acc_round_up(cols * sizeof(float), ACC_ALIGN);
        }
    }
    *total = at;
    return ACCLLM_OK;
}

static accllm_status build(acc_packed *m, const shape *s, acc_format weights, acc_format head, accllm_error *err)
{
    void *p;
    set_hparams(m, s);
    ACC_TRY(acc_alloc(&p, s->n_layers, sizeof *m->layers, "layers", err));
    m->layers = p;
    ACC_TRY(walk(m, s, weights, head, NULL, &m->memory_bytes, err));
    m->memory = acc_pages_alloc(m->memory_bytes);
    if (!m->memory)
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: weights (%.0f MB)", (double)m->memory_bytes / 1e6);
    ACC_TRY(acc_alloc(&p, 1, sizeof(filler), "random codes", err));
    accllm_status status = walk(m, s, weights, head, p, &m->memory_bytes, err);
    acc_free(p);
    if (m->hp.tied) m->output = m->embd;
    return status;
}

accllm_status acc_packed_random(acc_packed **out, const char *name, acc_format weights, acc_format head,
                                accllm_error *err)
{
    const shape *s = NULL;
    char known[128] = "";
    *out = NULL;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].name, name) == 0) s = &shapes[i];
        (void)snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", shapes[i].name);
    }
    if (!s) return acc_fail(err, ACCLLM_E_ARG, "unknown shape %.40s (known: %s)", name, known);
    void *p;
    ACC_TRY(acc_alloc(&p, 1, sizeof(acc_packed), "model", err));
    acc_packed *m = p;
    accllm_status status = build(m, s, weights, head, err);
    if (status != ACCLLM_OK)
        acc_packed_free(&m);
    else
        *out = m;
    return status;
}
