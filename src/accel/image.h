/*
 * The image: what the accelerator's memory holds before a run, made of a model for one cache geometry. A header, then
 * the first `lines` lines of every channel. Numbers are little-endian; a channel's bytes are lines of 64.
 *
 * Linear layers lie as streams (one MM each): row blocks of 64 rows, block b on channel b mod C, one after the other;
 * a block is its tiles by ascending column group, then 4 lines of row scales and, with a bias, 4 lines of it. A tile:
 *   W2S: octets of quad columns, 7 lines for 8 of them: line i holds the 56 bytes of column i and, in bytes 56..63,
 * bytes 8i..8i+7 of column 7; so every line but the last of 8 brings a whole column, and nothing is shifted; W2, W4,
 * W8: the file's lines (design section 2); then, but for W8, one line of m. Every channel has as many blocks; those
 * beyond the matrix are zero. Vectors: line i on channel i mod C. Embedding: row t on channel t mod C: codes a byte
 * each, then m lines where the format has them, then a line with the row scale.
 */
#ifndef ACC_ACCEL_IMAGE_H
#define ACC_ACCEL_IMAGE_H

#include "accel/cache_map.h"
#include "accel/program.h"

#define ACC_IMAGE_MAGIC 0x31474d494c434341u /* "ACCLIMG1" */

typedef struct acc_image_region {
    uint32_t line, lines; /* the same in every channel */
} acc_image_region;

typedef struct acc_image_header {
    uint64_t magic;
    uint64_t model;   /* FNV-1a of the model's tensors */
    uint64_t content; /* FNV-1a of this header, with 0 here, and all that follows */
    uint32_t version, channels, lanes, tokens;
    uint32_t lines;          /* of each channel that follow */
    uint32_t n_instructions; /* from line 0 of channel 0 on */
    acc_image_region region[ACC_REGION_COUNT];
    uint32_t n_layers, n_embd, n_ff, n_vocab;
    acc_geometry g;
    uint32_t rope; /* line of the rotation steps, uint64 [head_dim / 2] */
    float attention_scale, norm_epsilon;
    uint32_t spare;
} acc_image_header;

typedef struct acc_image {
    acc_image_header h;
    uint8_t *data; /* [channels][lines * 64]; owned */
} acc_image;

static inline uint8_t *acc_image_line(const acc_image *im, uint32_t channel, uint32_t line)
{
    return im->data + ((size_t)channel * im->h.lines + line) * ACC_ISA_LINE_BYTES;
}

static inline const acc_inst *acc_image_program(const acc_image *im)
{
    return (const acc_inst *)(const void *)im->data;
}

static inline uint32_t acc_lines_of(uint64_t bytes)
{
    return (uint32_t)((bytes + ACC_ISA_LINE_BYTES - 1) / ACC_ISA_LINE_BYTES);
}

/* Lines that a vector of n floats takes in each channel. */
static inline uint32_t acc_vector_lines(uint32_t n, uint32_t channels)
{
    return (acc_lines_of((uint64_t)n * 4) + channels - 1) / channels;
}

/* Blocks of the vector memory that n floats take, row blocks of a matrix of n rows. */
static inline uint64_t acc_blocks_of(uint64_t n)
{
    return (n + ACC_ISA_LANES - 1) / ACC_ISA_LANES;
}

/* Beats of a quad column, and lines of a tile of `group` columns. */
static inline uint32_t acc_tile_lines(acc_isa_format f, uint32_t group)
{
    const uint32_t quads = group / 4;
    return f == ACC_FORMAT_W2S  ? quads / 8 * 7 + 1
           : f == ACC_FORMAT_W2 ? quads + 1
           : f == ACC_FORMAT_W4 ? 2 * quads + 1
                                : 4 * quads;
}

/* Lines of a row block of an MM. */
static inline uint32_t acc_block_lines(const acc_inst *mm)
{
    uint32_t group = 32u << acc_inst_get(mm, ACC_F_GROUP);
    return acc_inst_get(mm, ACC_F_GROUPS) * acc_tile_lines((acc_isa_format)acc_inst_get(mm, ACC_F_FORMAT), group) +
           (acc_inst_get(mm, ACC_F_BIAS) ? 8 : 4);
}

/* Lines of an embedding row, by the MOV that reads it. */
static inline uint32_t acc_embedding_lines(const acc_inst *mov)
{
    uint32_t n = acc_inst_get(mov, ACC_F_N), group = 32u << acc_inst_get(mov, ACC_F_GROUP);
    return acc_lines_of(n) + (acc_inst_get(mov, ACC_F_GROUPED) ? acc_lines_of((n + group - 1) / group) : 0) + 1;
}

uint64_t acc_image_content(const acc_image *im);
/* The image in one piece of *bytes, acc_free() it. */
accllm_status acc_image_write(const acc_image *im, uint8_t **out, size_t *bytes, accllm_error *err) ACC_MUST_CHECK;
/* The inverse for bytes from anywhere: magic, version, sizes and hash are checked, then acc_image_check(). */
accllm_status acc_image_read(acc_image *im, const uint8_t *bytes, size_t n, accllm_error *err) ACC_MUST_CHECK;
/* Header, regions, program, every address that the program forms in any round, and of the streams every code that
 * could be wrong (W2S, W8) and that rows' scales and biases are finite; group scales stand as they are. E_FORMAT or
 * E_UNSUPPORTED with what is wrong and where. */
accllm_status acc_image_check(const acc_image *im, accllm_error *err) ACC_MUST_CHECK;
void acc_image_free(acc_image *im);

#endif
