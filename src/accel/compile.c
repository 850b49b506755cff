/*
 * Passes over the same steps: those without data only count lines, the last one writes. Layers whose matrices are alike
 * in shape and format stand one behind the other and share the instructions of a loop.
 */
#include "accel/compile_internal.h"

#include <string.h>

#include "cache/policy.h"
#include "core/hash.h"
#include "core/memory.h"

/* ---- instructions ---- */

acc_inst *acc_build_emit(acc_builder *b, acc_isa_opcode op, unsigned wait, unsigned signal)
{
    if (b->n == ACC_ISA_PROGRAM_MAX) {
        b->overflow = true;
        b->n--;
    }
    b->program[b->n] = acc_inst_make(op, wait, signal);
    return &b->program[b->n++];
}

void acc_build_set(acc_builder *b, acc_inst *i, acc_isa_operand f, uint64_t value)
{
    if (!acc_inst_set(i, f, value)) b->overflow = true;
}

/* ---- data ---- */

/* Reserves n lines in every channel; the pass that counts has no data to write to. */
uint64_t acc_build_take(acc_builder *b, uint64_t n)
{
    uint64_t at = b->line;
    b->line += n;
    return at;
}

static bool writing(const acc_builder *b)
{
    return b->im->data != NULL;
}

/* n floats (or what else has 4 bytes), line i on channel i mod C. */
uint64_t acc_build_vector(acc_builder *b, const void *x, uint32_t n)
{
    const uint32_t channels = b->im->h.channels;
    uint64_t at = acc_build_take(b, acc_vector_lines(n, channels));
    const size_t bytes = (size_t)n * 4;
    for (size_t done = 0, i = 0; writing(b) && done < bytes; done += ACC_ISA_LINE_BYTES, i++)
        memcpy(acc_image_line(b->im, (uint32_t)(i % channels), (uint32_t)(at + i / channels)),
               (const uint8_t *)x + done, bytes - done < ACC_ISA_LINE_BYTES ? bytes - done : ACC_ISA_LINE_BYTES);
    return at;
}

/* ---- what stands around the layers ---- */

static void put_head(acc_builder *b)
{
    const acc_hparams *hp = &b->m->hp;
    const uint32_t logits = b->im->h.region[ACC_REGION_LOGITS].line;
    const acc_linear head = {
        .part = {{&b->m->output, NULL}}, .n = 1, .target = ACC_TARGET_MEMORY, .dst = logits, .signal = ACC_ON_VECTOR};
    acc_inst *i = acc_build_emit(b, ACC_OP_END, 0, 0);
    acc_build_set(b, i, ACC_F_WHEN, ACC_WHEN_NO_LOGITS);
    acc_build_codes(b, ACC_VECTOR_NORM, hp->n_embd, b->at.x, acc_build_vector(b, b->m->output_norm, hp->n_embd), 0,
                    true);
    acc_build_linear(b, &head, true);
    i = acc_build_emit(b, ACC_OP_TOP, ACC_ON_ENGINE, 0);
    acc_build_set(b, i, ACC_F_N, hp->n_vocab);
    acc_build_set(b, i, ACC_F_ADDRESS, logits);
    (void)acc_build_emit(b, ACC_OP_END, 0, 0);
}

/* The embedding row by row; scratch: a row block as integers. */
static void put_embedding(acc_builder *b, const acc_inst *mov, int8_t *ints, uint8_t *m)
{
    const acc_weight *w = &b->m->embd;
    const uint32_t channels = b->im->h.channels, lines = acc_embedding_lines(mov), cols = w->col_groups * w->group;
    const bool grouped = acc_inst_get(mov, ACC_F_GROUPED) != 0;
    const uint64_t at = acc_build_take(b, (uint64_t)(w->rows + channels - 1) / channels * lines);
    for (uint32_t row = 0; writing(b) && row < w->rows; row++) {
        const uint32_t r = row % ACC_TILE_ROWS;
        if (r == 0) acc_weight_unpack_block(w, row / ACC_TILE_ROWS, ints, m);
        uint8_t *dst = acc_image_line(b->im, row % channels, (uint32_t)(at + (uint64_t)(row / channels) * lines));
        memcpy(dst, ints + (size_t)r * cols, w->cols);
        if (grouped) memcpy(dst + (size_t)acc_lines_of(w->cols) * 64, m + (size_t)r * w->col_groups, w->col_groups);
        memcpy(dst + (size_t)(lines - 1) * 64, &w->rscale[row], sizeof(float));
    }
}

static void region(acc_builder *b, acc_isa_region r, uint64_t first, uint64_t end)
{
    b->im->h.region[r] = (acc_image_region){(uint32_t)first, (uint32_t)(end - first)};
    if (end > ACC_ISA_CHANNEL_LINES) b->overflow = true;
}

/* One pass: everything at its place. */
static void build(acc_builder *b, int8_t *ints, uint8_t *m)
{
    acc_image_header *h = &b->im->h;
    const acc_hparams *hp = &b->m->hp;
    const acc_weight *e = &b->m->embd;
    const uint64_t program = acc_lines_of((uint64_t)b->n * sizeof(acc_inst)), weights = program;
    b->n = 0;
    b->line = weights;
    h->rope = (uint32_t)acc_build_vector(b, hp->rope_steps, hp->head_dim);
    acc_inst *mov = acc_build_emit(b, ACC_OP_MOV, 0, 0);
    acc_build_set(b, mov, ACC_F_OP, ACC_MOVE_EMBED);
    acc_build_set(b, mov, ACC_F_N, hp->n_embd);
    acc_build_set(b, mov, ACC_F_BLOCK, b->at.x);
    acc_build_set(b, mov, ACC_F_ADDRESS, h->region[ACC_REGION_EMBEDDING].line);
    acc_build_set(b, mov, ACC_F_SCALED, b->m->embd_scale != NULL);
    acc_build_set(b, mov, ACC_F_SCALE, b->m->embd_scale ? acc_build_vector(b, b->m->embd_scale, hp->n_embd) : 0);
    acc_build_set(b, mov, ACC_F_GROUP, acc_stream_group(e));
    acc_build_set(b, mov, ACC_F_GROUPED, e->format != ACC_FMT_W8);
    acc_build_layers(b);
    put_head(b);
    const uint64_t embedding = b->line;
    put_embedding(b, &b->program[0], ints, m);
    const uint64_t cache = b->line, trace = cache + hp->n_layers * b->cache.layer_lines;
    const uint64_t logits = trace + (uint64_t)hp->n_layers * acc_vector_lines(hp->n_embd, h->channels);
    region(b, ACC_REGION_PROGRAM, 0, program);
    region(b, ACC_REGION_WEIGHTS, weights, embedding);
    region(b, ACC_REGION_EMBEDDING, embedding, cache);
    region(b, ACC_REGION_CACHE, cache, trace);
    region(b, ACC_REGION_TRACE, trace, logits);
    region(b, ACC_REGION_LOGITS, logits,
           logits + (uint64_t)(b->m->output.row_blocks + h->channels - 1) / h->channels * 4);
}

static accllm_status place_vectors(acc_builder *b, accllm_error *err)
{
    const acc_hparams *hp = &b->m->hp;
    const uint32_t q = acc_blocks_of(hp->n_heads * hp->head_dim), kv = acc_blocks_of(hp->n_kv_heads * hp->head_dim);
    const uint32_t x = acc_blocks_of(hp->n_embd), ff = acc_blocks_of(hp->n_ff);
    b->at = (acc_places){.q = x, .k = x + q, .v = x + q + kv, .att = x + q + 2 * kv};
    b->at.pairs = b->at.att + q;
    b->at.ff = b->at.pairs + 2 * ff;
    if (b->at.ff + ff > ACC_ISA_VMEM_BLOCKS)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "accelerator: activations of %u blocks; its vector memory has %u",
                        b->at.ff + ff, ACC_ISA_VMEM_BLOCKS);
    return ACCLLM_OK;
}

static void fill_header(acc_image_header *h, const acc_packed *m, const acc_compile_params *p)
{
    const acc_hparams *hp = &m->hp;
    const uint32_t near = p->kv_bits == 4 ? p->near : 0;
    *h = (acc_image_header){.magic = ACC_IMAGE_MAGIC,
                            .version = ACC_ISA_VERSION,
                            .channels = p->channels,
                            .lanes = ACC_ISA_LANES,
                            .tokens = ACC_ISA_TOKENS,
                            .n_layers = hp->n_layers,
                            .n_embd = hp->n_embd,
                            .n_ff = hp->n_ff,
                            .n_vocab = hp->n_vocab,
                            .g = {.n_heads = hp->n_heads,
                                  .n_kv_heads = hp->n_kv_heads,
                                  .head_dim = hp->head_dim,
                                  .sinks = p->sinks,
                                  .window = p->window,
                                  .page = m->page,
                                  .kv_bits = p->kv_bits,
                                  .near = near,
                                  .ring_pages = (uint32_t)acc_policy_pages(p->window, 1, m->page, false),
                                  .near_positions = near ? (uint32_t)acc_round_up(near + 16, 16) : 0},
                            .attention_scale = hp->attn_scale,
                            .norm_epsilon = hp->norm_eps};
}

static uint64_t hash_floats(uint64_t h, const float *x, size_t n)
{
    return x ? acc_fnv1a(h, x, n * sizeof *x) : h;
}

static uint64_t hash_model(const acc_packed *m)
{
    const acc_hparams *hp = &m->hp;
    const size_t kv = (size_t)hp->n_kv_heads * hp->head_dim, q = (size_t)hp->n_heads * hp->head_dim;
    uint64_t h = acc_fnv1a(ACC_FNV_START, m->embd.data, acc_weight_bytes(&m->embd));
    if (!hp->tied) h = acc_fnv1a(h, m->output.data, acc_weight_bytes(&m->output));
    h = hash_floats(hash_floats(h, m->embd_scale, hp->n_embd), m->output_norm, hp->n_embd);
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        const acc_packed_layer *l = &m->layers[i];
        for (int k = 0; k < ACC_N_LINEAR; k++) h = acc_fnv1a(h, l->linear[k].data, acc_weight_bytes(&l->linear[k]));
        h = hash_floats(hash_floats(h, l->attn_norm, hp->n_embd), l->ffn_norm, hp->n_embd);
        h = hash_floats(hash_floats(hash_floats(h, l->q_bias, q), l->k_bias, kv), l->v_bias, kv);
        h = hash_floats(hash_floats(h, l->k_mean, kv), l->q_direction, kv);
    }
    return h;
}

static accllm_status write_image(acc_builder *b, accllm_error *err)
{
    void *ints = NULL, *m = NULL, *data = NULL, *program = NULL;
    acc_image_header *h = &b->im->h;
    const acc_weight *e = &b->m->embd;
    accllm_status status;
    ACC_TRY_GOTO(acc_alloc(&program, ACC_ISA_PROGRAM_MAX, sizeof(acc_inst), "program", err));
    ACC_TRY_GOTO(acc_alloc(&ints, ACC_TILE_ROWS, (size_t)e->col_groups * e->group, "a row block", err));
    ACC_TRY_GOTO(acc_alloc(&m, ACC_TILE_ROWS, e->col_groups, "a row block", err));
    b->program = program;
    build(b, ints, m); /* finds how many instructions there are, */
    build(b, ints, m); /* with that, where everything lies, */
    status = ACCLLM_OK;
    if (b->overflow)
        status = acc_fail(err, ACCLLM_E_UNSUPPORTED,
                          "accelerator: the model does not fit %u channels of %u MB, or the fields of an instruction",
                          h->channels, ACC_ISA_CHANNEL_LINES / 16384);
    if (status != ACCLLM_OK) goto fail;
    h->lines = h->region[ACC_REGION_CACHE].line;
    h->n_instructions = b->n;
    ACC_TRY_GOTO(acc_alloc(&data, h->channels, (size_t)h->lines * ACC_ISA_LINE_BYTES, "image", err));
    b->im->data = data;
    build(b, ints, m); /* and now all of it is put there */
    memcpy(data, program, b->n * sizeof(acc_inst));
    h->model = hash_model(b->m);
    h->content = acc_image_content(b->im);
fail:
    acc_free(ints);
    acc_free(m);
    acc_free(program);
    return status;
}

accllm_status acc_compile(acc_image *im, const acc_packed *m, const acc_compile_params *p, accllm_error *err)
{
    *im = (acc_image){0};
    if (p->channels == 0 || p->channels > ACC_ISA_CHANNELS_MAX)
        return acc_fail(err, ACCLLM_E_ARG, "accelerator: %u memory channels; 1 to %u are possible", p->channels,
                        ACC_ISA_CHANNELS_MAX);
    fill_header(&im->h, m, p);
    acc_builder b = {.m = m, .im = im};
    const char *bad = acc_geometry_bad(&im->h.g);
    if (bad) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "accelerator: %s out of its range", bad);
    b.cache = acc_cache_plan(p->channels, &im->h.g);
    ACC_TRY(place_vectors(&b, err));
    return write_image(&b, err);
}
