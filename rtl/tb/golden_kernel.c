/*
 * What the bench of the top level compares with: images of small random models, run by the device model through the
 * same driver (src/accel/device.c). The bench copies the device model's memory and registers, runs, and compares.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accel/compile.h"
#include "accel/model_internal.h"
#include "core/hash.h"
#include "svdpi.h"

typedef struct kernel_case {
    uint32_t channels, layers, heads, kv_heads, head_dim, embd, ff, vocab, page;
    acc_format linear[7], head; /* q k v o gate up down */
    uint32_t level2, sinks, window, kv_bits, near;
    bool tied, biases, k_mean, q_direction, embd_scale;
} kernel_case;

#define S ACC_FMT_W2S
#define W2 ACC_FMT_W2
#define W4 ACC_FMT_W4
#define W8 ACC_FMT_W8
static const kernel_case cases[] = {
    {2, 2, 2, 1, 32, 64, 100, 190, 16, {S, W8, W4, S, W4, W4, W2}, W8, 2, 2, 20, 4, 8, true, false, true, true, true},
    {1, 1,  2, 2, 24,    96,   64,    130,   16,   {W4, W4, W4, S, W2, W2, W4}, W4, 3,
     0, 17, 8, 0, false, true, false, false, false},
    {4, 1, 3, 1, 64, 160, 140, 330, 32, {S, S, S, S, S, S, S}, S, 5, 1, 40, 4, 17, true, true, true, false, true},
};

static acc_device device;
static acc_model *model;
static uint8_t *memory; /* of the model's weights and vectors, as far as they are drawn */
static size_t taken;
static uint64_t drawn;

static uint32_t draw(uint32_t below)
{
    return (uint32_t)(acc_random(7, drawn++) % below);
}

/* The bench has no other place to report to. */
static void must(accllm_status s, const accllm_error *err)
{
    if (s == ACCLLM_OK) return;
    fprintf(stderr, "golden_kernel: %s\n", err->text);
    exit(1);
}

static void *take(size_t bytes)
{
    enum { ROOM = 1 << 20 };
    if (!memory) memory = aligned_alloc(64, ROOM);
    void *at = memory + taken;
    taken += (bytes + 63) / 64 * 64;
    if (!memory || taken > ROOM) {
        fprintf(stderr, "golden_kernel: no room\n");
        exit(1);
    }
    return at;
}

static const float *draw_vector(uint32_t n, float middle, float spread)
{
    float *x = take(n * sizeof *x);
    for (uint32_t i = 0; i < n; i++) x[i] = middle + spread * ((float)draw(2001) - 1000) / 1000;
    return x;
}

static void draw_weight(acc_weight *w, acc_format f, uint32_t rows, uint32_t cols, uint32_t level2)
{
    static int8_t codes[ACC_TILE_ROWS * 512];
    static uint8_t m[ACC_TILE_ROWS * 16];
    accllm_error err;
    must(acc_weight_init(w, f, rows, cols, 0, level2 == 5 ? 2 : 1, level2, &err), &err);
    uint8_t *blob = take(acc_weight_bytes(w));
    const uint32_t codes_n = w->col_groups * w->group / (f == ACC_FMT_W2S ? 4 : 1);
    for (uint32_t rb = 0; rb < w->row_blocks; rb++) {
        for (uint32_t i = 0; i < ACC_TILE_ROWS * codes_n; i++)
            codes[i] = (int8_t)(f == ACC_FMT_W2S  ? (int)draw(ACC_W2S_CODES)
                                : f == ACC_FMT_W2 ? 2 * (int)draw(4) - 3
                                : f == ACC_FMT_W4 ? (int)draw(16) - 8
                                                  : (int)draw(255) - 127);
        for (uint32_t i = 0; i < ACC_TILE_ROWS * w->col_groups; i++) m[i] = (uint8_t)(64 + draw(96));
        acc_weight_pack_block(w, blob, rb, codes, m);
    }
    float *rscale = (float *)(void *)(blob + acc_weight_tiles_bytes(w));
    for (uint32_t r = 0; r < rows; r++)
        rscale[r] = (f == ACC_FMT_W8 ? 1e-3f : 2e-4f) * (1 + (float)draw(1000) / 1000); /* activations stay near 1 */
    acc_weight_bind(w, blob);
}

static void draw_layer(acc_packed_layer *l, const kernel_case *c)
{
    const uint32_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    acc_weight *w[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
    const uint32_t rows[] = {q, kv, kv, c->embd, c->ff, c->ff, c->embd};
    const uint32_t cols[] = {c->embd, c->embd, c->embd, q, c->embd, c->embd, c->ff};
    for (int i = 0; i < 7; i++) draw_weight(w[i], c->linear[i], rows[i], cols[i], c->level2);
    l->attn_norm = draw_vector(c->embd, 1, 0.5f);
    l->ffn_norm = draw_vector(c->embd, 1, 0.5f);
    if (c->biases) l->q_bias = draw_vector(q, 0, 1);
    if (c->biases) l->k_bias = draw_vector(kv, 0, 1);
    if (c->biases) l->v_bias = draw_vector(kv, 0, 1);
    if (c->k_mean) l->k_mean = draw_vector(kv, 0, 0.3f);
    if (c->q_direction) l->q_direction = draw_vector(kv, 0, 1);
}

static void draw_model(acc_packed *p, const kernel_case *c)
{
    acc_hparams *hp = &p->hp;
    taken = 0;
    drawn = 1000u * c->channels;
    *p = (acc_packed){.page = c->page};
    *hp = (acc_hparams){.n_layers = c->layers,
                        .n_embd = c->embd,
                        .n_ff = c->ff,
                        .n_heads = c->heads,
                        .n_kv_heads = c->kv_heads,
                        .head_dim = c->head_dim,
                        .n_vocab = c->vocab,
                        .norm_eps = 1e-5f,
                        .attn_scale = 0.2f,
                        .tied = c->tied};
    for (uint32_t i = 0; i < c->head_dim / 2; i++) hp->rope_steps[i] = acc_random(8, i) >> (3 + i / 4);
    draw_weight(&p->embd, c->head, c->vocab, c->embd, c->level2);
    if (c->tied)
        p->output = p->embd;
    else
        draw_weight(&p->output, c->head, c->vocab, c->embd, c->level2);
    p->output_norm = draw_vector(c->embd, 1, 0.5f);
    if (c->embd_scale) p->embd_scale = draw_vector(c->embd, 1, 0.5f);
    p->layers = take(c->layers * sizeof *p->layers);
    memset(p->layers, 0, c->layers * sizeof *p->layers);
    for (uint32_t i = 0; i < c->layers; i++) draw_layer(&p->layers[i], c);
}

/* The image of a case on a fresh device; lines of its channels. */
int golden_kernel_open(int id, int channels)
{
    const kernel_case *c = &cases[id];
    const acc_compile_params params = {(uint32_t)channels, c->sinks, c->window, c->kv_bits, c->near};
    accllm_error err;
    acc_packed p;
    acc_image im;
    if (device.ops) acc_device_close(&device);
    draw_model(&p, c);
    must(acc_compile(&im, &p, &params, &err), &err);
    must(acc_image_check(&im, &err), &err);
    const acc_image_region *last = &im.h.region[ACC_REGION_LOGITS];
    const uint32_t lines = last->line + last->lines;
    must(acc_device_model_open(&device, (uint32_t)channels, lines, NULL, 0, &err), &err);
    must(acc_device_load(&device, &im, &err), &err);
    acc_image_free(&im);
    model = device.self;
    return (int)lines;
}

int golden_kernel_vocab(void)
{
    return (int)device.h.n_vocab;
}

void golden_kernel_line(int channel, int line, svBitVecVal *data)
{
    memcpy(data, acc_model_line(model, (uint32_t)channel, (uint64_t)line), ACC_ISA_LINE_BYTES);
}

int golden_kernel_register(int offset)
{
    return (int)model->reg[offset / 4];
}

/* Flips an opcode's bit of an instruction, or flips it back. */
void golden_kernel_spoil(int at)
{
    acc_model_line(model, 0, 0)[at * 16 + 15] ^= 0x80;
}

/* Makes a row scale of the output's second row block infinite, or what it was. */
void golden_kernel_infinite(void)
{
    static float other = INFINITY;
    const acc_inst *mm = (const acc_inst *)(const void *)acc_model_line(model, 0, 0) + device.h.n_instructions - 3;
    const uint32_t lines = acc_block_lines(mm), channel = 1 % model->channels, own = 1 / model->channels;
    float *at = (float *)(void *)acc_model_line(model, channel, acc_inst_get(mm, ACC_F_STREAM) + (own + 1) * lines - 4);
    const float was = *at;
    *at = other;
    other = was;
}

static acc_inst with_masks(acc_inst i, unsigned wait, unsigned signal)
{
    i.w[1] = (i.w[1] & ~(UINT64_C(63) << 54)) | (uint64_t)wait << 57 | (uint64_t)signal << 54;
    return i;
}

static acc_inst store(uint32_t n, uint32_t block, acc_isa_region to, unsigned wait, unsigned signal)
{
    acc_inst i = acc_inst_make(ACC_OP_MOV, wait, signal);
    const bool ok = acc_inst_set(&i, ACC_F_OP, ACC_MOVE_STORE) && acc_inst_set(&i, ACC_F_N, n) &&
                    acc_inst_set(&i, ACC_F_BLOCK, block) && acc_inst_set(&i, ACC_F_ADDRESS, device.h.region[to].line);
    must(ok ? ACCLLM_OK : ACCLLM_E_ARG, &(accllm_error){0});
    return i;
}

/* The first layer's beginning, its gate and up twice beside its attention: one begins with it, the other in its midst.
 * The compiler never lets MM and ATT meet, but a program may. */
void golden_kernel_overlap(void)
{
    enum { E = 1 << ACC_QUEUE_ENGINE, K = 1 << ACC_QUEUE_CACHE, V = 1 << ACC_QUEUE_VECTOR };
    acc_inst *p = (acc_inst *)(void *)acc_model_line(model, 0, 0), out[32];
    uint32_t at = 2, n = 1; /* behind embedding and LOOP */
    out[0] = p[0];
    while (acc_inst_opcode(&p[at]) != ACC_OP_KVW) out[n++] = p[at++];
    const acc_inst kvw = p[at], att = p[at + 1];
    for (at += 4; acc_inst_opcode(&p[at]) != ACC_OP_MM;) at++; /* the first behind the output's */
    const acc_inst mm = p[at];
    const uint32_t pairs = acc_inst_get(&mm, ACC_F_BLOCKS) * ACC_ISA_LANES;
    out[n++] = with_masks(kvw, E, V | E);
    out[n++] = with_masks(mm, K, 0);
    out[n++] = with_masks(att, 0, V);
    out[n++] = store(device.h.n_embd, acc_inst_get(&p[0], ACC_F_BLOCK), ACC_REGION_TRACE, K, 0);
    for (int i = 0; i < 8; i++)
        out[n++] = store(device.h.n_embd, acc_inst_get(&p[0], ACC_F_BLOCK), ACC_REGION_TRACE, 0, i == 7 ? E : 0);
    out[n++] = with_masks(mm, V, V);
    out[n++] = store(pairs, acc_inst_get(&mm, ACC_F_DST), ACC_REGION_LOGITS, E, 0);
    out[n++] = store(device.h.g.n_heads * device.h.g.head_dim, acc_inst_get(&att, ACC_F_DST), ACC_REGION_TRACE, K, 0);
    out[n++] = acc_inst_make(ACC_OP_END, 0, 0);
    memcpy(p, out, n * sizeof *out);
}

/* A run whose last registers stand, but for this one. */
int golden_kernel_misplace(int offset, int value)
{
    accllm_error err;
    device.ops->set(device.self, (acc_isa_register)offset, (uint32_t)value);
    device.ops->set(device.self, ACC_REG_CONTROL, 1);
    must(device.ops->wait(device.self, &err), &err);
    return golden_kernel_register(ACC_REG_ERROR);
}

/* A token; its error, which leaves everything else in the registers. */
int golden_kernel_run(int token, int position, int logits)
{
    accllm_error err;
    const bool ok = acc_device_run(&device, (uint32_t)token, (uint64_t)position, logits != 0, &err) == ACCLLM_OK;
    return ok ? 0 : golden_kernel_register(ACC_REG_ERROR);
}
