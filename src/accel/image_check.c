/* What an image must hold to before a device gets it: everything that the hardware takes on trust. */
#include <math.h>
#include <string.h>

#include "accel/image.h"
#include "weights/weights.h"

typedef struct checker {
    const acc_image *im;
    const acc_inst *p, *loop; /* the program; the loop around the present instruction, NULL: none */
    uint32_t at;
    acc_cache_map cache;
    accllm_error *err;
} checker;

static accllm_status no(const checker *c, const char *why)
{
    char text[160];
    acc_inst_text(&c->p[c->at], text, sizeof text);
    return acc_fail(c->err, ACCLLM_E_FORMAT, "image: instruction %u, %s: %s", c->at, text, why);
}

/* ---- header ---- */

static accllm_status check_regions(const acc_image_header *h, accllm_error *err)
{
    uint64_t at = 0;
    for (int r = 0; r < ACC_REGION_COUNT; r++) {
        if (h->region[r].line != at)
            return acc_fail(err, ACCLLM_E_FORMAT, "image: region %s is not where the one before it ends",
                            acc_isa_region_names[r]);
        at += h->region[r].lines;
        if (r == ACC_REGION_EMBEDDING && at != h->lines)
            return acc_fail(err, ACCLLM_E_FORMAT, "image: %u lines a channel do not end with the embedding", h->lines);
    }
    if (at > ACC_ISA_CHANNEL_LINES)
        return acc_fail(err, ACCLLM_E_FORMAT, "image: %llu lines a channel; there are %u", (unsigned long long)at,
                        ACC_ISA_CHANNEL_LINES);
    if (h->n_instructions == 0 || h->n_instructions > ACC_ISA_PROGRAM_MAX ||
        acc_lines_of((uint64_t)h->n_instructions * sizeof(acc_inst)) != h->region[ACC_REGION_PROGRAM].lines)
        return acc_fail(err, ACCLLM_E_FORMAT, "image: %u instructions in a program of %u lines", h->n_instructions,
                        h->region[ACC_REGION_PROGRAM].lines);
    return ACCLLM_OK;
}

static accllm_status check_header(const acc_image_header *h, accllm_error *err)
{
    if (h->lanes != ACC_ISA_LANES || h->tokens != ACC_ISA_TOKENS)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "image: made for %u lanes and %u tokens; this is %u and %u",
                        h->lanes, h->tokens, ACC_ISA_LANES, ACC_ISA_TOKENS);
    const char *what = acc_geometry_bad(&h->g);
    if (h->n_layers == 0 || h->n_vocab == 0 || h->n_embd == 0) what = "layers, width or vocabulary";
    if (!isfinite(h->attention_scale) || !(h->norm_epsilon > 0) || !isfinite(h->norm_epsilon)) what = "constants";
    if (what) return acc_fail(err, ACCLLM_E_FORMAT, "image: %s out of range", what);
    return check_regions(h, err);
}

/* ---- addresses ---- */

/* Lines [operand, operand + n) are in the region in every round. */
static accllm_status lines_in(const checker *c, acc_isa_operand f, acc_isa_stride stride, uint64_t n,
                              acc_isa_region region)
{
    static const acc_isa_operand of[] = {ACC_F_COUNT, ACC_F_WEIGHTS, ACC_F_CACHE, ACC_F_TRACE};
    const acc_image_region *r = &c->im->h.region[region];
    uint64_t first = acc_inst_get(&c->p[c->at], f), last = first;
    if (c->loop && stride != ACC_STRIDE_NONE)
        last += (uint64_t)(acc_inst_get(c->loop, ACC_F_ROUNDS) - 1) * acc_inst_get(c->loop, of[stride]);
    if (first >= r->line && last + n <= (uint64_t)r->line + r->lines) return ACCLLM_OK;
    return no(c, "an address outside its region");
}

static accllm_status blocks_in(const checker *c, acc_isa_operand f, uint64_t n)
{
    if (acc_inst_get(&c->p[c->at], f) + n <= ACC_ISA_VMEM_BLOCKS) return ACCLLM_OK;
    return no(c, "reaches beyond the vector memory");
}

/* ---- streams ---- */

/* The codes of one line of an octet, or of a dense tile. */
static bool bad_octet(const uint8_t *lines)
{
    uint8_t column[ACC_W2S_QUAD_BYTES], codes[ACC_TILE_ROWS], bad = 0;
    for (int i = 0; i < 7; i++) memcpy(column + 8 * i, lines + 64 * i + 56, 8);
    for (int i = 0; i < 8; i++) {
        acc_w2s_codes(i < 7 ? lines + 64 * i : column, codes);
        for (int r = 0; r < ACC_TILE_ROWS; r++) bad |= codes[r] >= ACC_W2S_CODES;
    }
    return bad;
}

static bool bad_tile(acc_isa_format f, const uint8_t *lines, uint32_t n)
{
    bool bad = false;
    for (uint32_t i = 0; f == ACC_FORMAT_W2S && i + 7 < n; i += 7) bad |= bad_octet(lines + (size_t)64 * i);
    for (size_t i = 0; f == ACC_FORMAT_W8 && i < (size_t)64 * n; i++) bad |= lines[i] == 0x80;
    return bad;
}

static accllm_status check_stream(const checker *c, const acc_inst *mm)
{
    const acc_isa_format f = (acc_isa_format)acc_inst_get(mm, ACC_F_FORMAT);
    const uint32_t tile = acc_tile_lines(f, 32u << acc_inst_get(mm, ACC_F_GROUP)), channels = c->im->h.channels;
    const uint32_t n = (acc_inst_get(mm, ACC_F_BLOCKS) + channels - 1) / channels,
                   groups = acc_inst_get(mm, ACC_F_GROUPS);
    for (uint32_t channel = 0; channel < channels; channel++)
        for (uint32_t b = 0; b < n; b++) {
            const uint8_t *at =
                acc_image_line(c->im, channel, acc_inst_get(mm, ACC_F_STREAM) + b * acc_block_lines(mm));
            for (uint32_t g = 0; g < groups; g++, at += (size_t)64 * tile)
                if (bad_tile(f, at, tile)) return no(c, "a reserved weight code");
            for (uint32_t i = 0; i < acc_block_lines(mm) - groups * tile; i++, at += 64)
                for (uint32_t k = 0; k < 16; k++) {
                    float x;
                    memcpy(&x, at + 4 * k, sizeof x);
                    if (!isfinite(x)) return no(c, "a row scale or bias that is not finite");
                }
        }
    return ACCLLM_OK;
}

/* ---- instructions ---- */

static accllm_status check_mm(const checker *c, const acc_inst *i)
{
    const uint32_t channels = c->im->h.channels, blocks = acc_inst_get(i, ACC_F_BLOCKS);
    const uint64_t own = (blocks + channels - 1) / channels;
    if ((acc_inst_get(i, ACC_F_GROUPS) << acc_inst_get(i, ACC_F_GROUP)) * 32 > ACC_ISA_CODES_MAX)
        return no(c, "more columns than there are activation codes");
    ACC_TRY(lines_in(c, ACC_F_STREAM, ACC_STRIDE_WEIGHTS, own * acc_block_lines(i), ACC_REGION_WEIGHTS));
    if (acc_inst_get(i, ACC_F_TARGET) == ACC_TARGET_MEMORY)
        ACC_TRY(lines_in(c, ACC_F_DST, ACC_STRIDE_NONE, own * 4, ACC_REGION_LOGITS));
    else
        ACC_TRY(blocks_in(c, ACC_F_DST, (uint64_t)(blocks - 1) * acc_inst_get(i, ACC_F_STEP) + 1));
    const uint32_t rounds = c->loop ? acc_inst_get(c->loop, ACC_F_ROUNDS) : 1;
    if (rounds > 1 && acc_inst_get(c->loop, ACC_F_WEIGHTS) < own * acc_block_lines(i))
        return no(c, "streams of two rounds overlap");
    for (uint32_t r = 0; r < rounds; r++) {
        const acc_inst at = c->loop ? acc_inst_at_round(i, c->loop, r) : *i;
        ACC_TRY(check_stream(c, &at));
    }
    return ACCLLM_OK;
}

static accllm_status check_params(const checker *c, uint32_t vectors)
{
    const acc_image_header *h = &c->im->h;
    const uint64_t lines = (uint64_t)vectors * acc_vector_lines(h->g.n_kv_heads * h->g.head_dim, h->channels);
    ACC_TRY(lines_in(c, ACC_F_CACHE, ACC_STRIDE_CACHE, c->cache.layer_lines, ACC_REGION_CACHE));
    return vectors ? lines_in(c, ACC_F_PARAMS, ACC_STRIDE_WEIGHTS, lines, ACC_REGION_WEIGHTS) : ACCLLM_OK;
}

static accllm_status check_vec(const checker *c, const acc_inst *i)
{
    const uint32_t n = acc_inst_get(i, ACC_F_N), op = acc_inst_get(i, ACC_F_OP);
    if (n > ACC_ISA_CODES_MAX) return no(c, "more elements than there are activation codes");
    ACC_TRY(blocks_in(c, ACC_F_SRC, op == ACC_VECTOR_SILU ? 2 * acc_blocks_of(n) : acc_blocks_of(n)));
    if (op == ACC_VECTOR_SILU) ACC_TRY(blocks_in(c, ACC_F_DST, acc_blocks_of(n)));
    if (op != ACC_VECTOR_NORM) return ACCLLM_OK;
    return lines_in(c, ACC_F_GAIN, ACC_STRIDE_WEIGHTS, acc_vector_lines(n, c->im->h.channels), ACC_REGION_WEIGHTS);
}

static accllm_status check_mov(const checker *c, const acc_inst *i)
{
    const acc_image_header *h = &c->im->h;
    const uint32_t n = acc_inst_get(i, ACC_F_N), vector = acc_vector_lines(n, h->channels);
    if (n > ACC_ISA_CODES_MAX) return no(c, "more elements than a vector may have");
    ACC_TRY(blocks_in(c, ACC_F_BLOCK, acc_blocks_of(n)));
    if (acc_inst_get(i, ACC_F_OP) == ACC_MOVE_STORE)
        return lines_in(c, ACC_F_ADDRESS, ACC_STRIDE_TRACE, vector, ACC_REGION_TRACE);
    if (acc_inst_get(i, ACC_F_SCALED)) ACC_TRY(lines_in(c, ACC_F_SCALE, ACC_STRIDE_NONE, vector, ACC_REGION_WEIGHTS));
    const uint64_t rows = ((uint64_t)h->n_vocab + h->channels - 1) / h->channels;
    return lines_in(c, ACC_F_ADDRESS, ACC_STRIDE_NONE, rows * acc_embedding_lines(i), ACC_REGION_EMBEDDING);
}

static accllm_status check_inst(const checker *c)
{
    const acc_inst *i = &c->p[c->at];
    const acc_image_header *h = &c->im->h;
    switch ((acc_isa_opcode)acc_inst_opcode(i)) {
    case ACC_OP_MM:
        return check_mm(c, i);
    case ACC_OP_KVW:
        ACC_TRY(blocks_in(c, ACC_F_KEYS, acc_blocks_of((uint64_t)h->g.n_kv_heads * h->g.head_dim)));
        ACC_TRY(blocks_in(c, ACC_F_VALUES, acc_blocks_of((uint64_t)h->g.n_kv_heads * h->g.head_dim)));
        return check_params(c, acc_inst_get(i, ACC_F_MEAN) + acc_inst_get(i, ACC_F_DIRECTION));
    case ACC_OP_ATT:
        ACC_TRY(blocks_in(c, ACC_F_QUERIES, acc_blocks_of((uint64_t)h->g.n_heads * h->g.head_dim)));
        ACC_TRY(blocks_in(c, ACC_F_DST, acc_blocks_of((uint64_t)h->g.n_heads * h->g.head_dim)));
        return check_params(c, acc_inst_get(i, ACC_F_MEAN));
    case ACC_OP_VEC:
        return check_vec(c, i);
    case ACC_OP_MOV:
        return check_mov(c, i);
    case ACC_OP_TOP: {
        const uint64_t blocks = acc_blocks_of(acc_inst_get(i, ACC_F_N));
        return lines_in(c, ACC_F_ADDRESS, ACC_STRIDE_NONE, (blocks + h->channels - 1) / h->channels * 4,
                        ACC_REGION_LOGITS);
    }
    default:
        return ACCLLM_OK;
    }
}

accllm_status acc_image_check(const acc_image *im, accllm_error *err)
{
    const acc_image_header *h = &im->h;
    ACC_TRY(check_header(h, err));
    const uint32_t rope = acc_vector_lines(h->g.head_dim, h->channels); /* head_dim / 2 words of 64 bits */
    const acc_image_region *w = &h->region[ACC_REGION_WEIGHTS];
    if (h->rope < w->line || (uint64_t)h->rope + rope > (uint64_t)w->line + w->lines)
        return acc_fail(err, ACCLLM_E_FORMAT, "image: the rotation steps lie outside the weights");
    checker c = {.im = im, .p = acc_image_program(im), .err = err};
    c.cache = acc_cache_plan(h->channels, &h->g);
    accllm_status s = acc_program_check(c.p, h->n_instructions, err);
    if (s != ACCLLM_OK) return acc_prefix(err, s, "image");
    uint32_t loop_end = 0;
    for (c.at = 0; c.at < h->n_instructions; c.at++) {
        if (c.at >= loop_end) c.loop = NULL;
        if (acc_inst_opcode(&c.p[c.at]) == ACC_OP_LOOP) {
            c.loop = &c.p[c.at];
            loop_end = c.at + 1 + acc_inst_get(c.loop, ACC_F_LENGTH);
        }
        ACC_TRY(check_inst(&c));
    }
    return ACCLLM_OK;
}
