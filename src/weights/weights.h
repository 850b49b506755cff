/*
 * Packed weight formats (design section 2): 64-row tiles, groups of G columns. One file per format packs, unpacks and
 * validates it; kernels read the same bytes.
 */
#ifndef ACC_WEIGHTS_WEIGHTS_H
#define ACC_WEIGHTS_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define ACC_TILE_ROWS 64
#define ACC_W2S_CODES 121     /* 0..120; 121..127 are reserved */
#define ACC_W2S_ZERO 96       /* the code of the all-zero quad */
#define ACC_W2S_QUAD_BYTES 56 /* one quad of columns for 64 rows */
#define ACC_W2_QUAD_BYTES 64
#define ACC_W2_PAD (-3) /* the level of padding: W2 has no zero */
#define ACC_W4_QUAD_BYTES 128
#define ACC_W8_QUAD_BYTES 256

typedef enum acc_format { ACC_FMT_W2S, ACC_FMT_W2, ACC_FMT_W4, ACC_FMT_W8, ACC_FMT_COUNT } acc_format;

/* A packed matrix. data (64-byte aligned) holds tiles in order of column group, then row block; rscale [rows]. */
typedef struct acc_weight {
    acc_format format;
    uint32_t rows, cols;             /* true shape */
    uint32_t row_blocks, col_groups; /* rows padded to 64, columns to group */
    uint32_t group;
    uint8_t level1, level2; /* W2S magnitudes: (1,2), (1,3), (2,5) */
    const uint8_t *data;
    const float *rscale;
    const uint8_t *repacked; /* the kernel set's own layout, NULL: it reads data (kernels.h) */
} acc_weight;

const char *acc_format_name(acc_format f); /* "w2s" */
int acc_format_parse(const char *name);    /* -1: unknown */

/* Shape fields of *w from the arguments (group 0: the rule of design section 2); E_UNSUPPORTED / E_FORMAT for shapes,
 * groups or levels that break the overflow proof. data stays NULL. */
accllm_status acc_weight_init(acc_weight *w, acc_format f, uint32_t rows, uint32_t cols, uint32_t group,
                              uint32_t level1, uint32_t level2, accllm_error *err) ACC_MUST_CHECK;
size_t acc_weight_tile_bytes(const acc_weight *w);  /* of one 64-row tile */
size_t acc_weight_tiles_bytes(const acc_weight *w); /* of all tiles: where rscale stands in the blob */
size_t acc_weight_bytes(const acc_weight *w);       /* whole blob: tiles, then rscale[rows] */
/* The bytes of column group cg, row block rb; its m[64] follow the quads (not in W8). */
static inline const uint8_t *acc_weight_tile(const acc_weight *w, size_t tile_bytes, uint32_t cg, uint32_t rb)
{
    return w->data + ((size_t)cg * w->row_blocks + rb) * tile_bytes;
}
/* Points data and rscale into a blob of acc_weight_bytes(). */
void acc_weight_bind(acc_weight *w, const uint8_t *blob);

/* The largest m that the overflow proof allows for this format and number of columns. */
uint32_t acc_weight_mmax(const acc_weight *w);

/*
 * Packs rows [64 * rb, ...) of one row block into a blob under construction.
 * codes: W2S one byte per quad, [64][col_groups * group / 4]; W2 (-3, -1, 1, 3), W4 (-8..7) and W8 (-127..127) one int8
 * per weight, [64][col_groups * group]. m: [64][col_groups] (ignored for W8). Padding rows: m 0. Padding rows and
 * columns: code of zero; W2, which has none, ACC_W2_PAD, so that padding columns rely on activations of 0.
 */
void acc_weight_pack_block(const acc_weight *w, uint8_t *blob, uint32_t rb, const int8_t *codes, const uint8_t *m);
/* The inverse: integer weights [64][col_groups * group] (quads expanded) and m of one row block (m may be NULL; W8: 1).
 */
void acc_weight_unpack_block(const acc_weight *w, uint32_t rb, int8_t *ints, uint8_t *m);
/* Row r dequantised to float, [cols]: code * m * rscale, as docs/numerics.md defines embedding rows. */
void acc_weight_dequant_row(const acc_weight *w, uint32_t row, float *out);

/* Scales finite and >= 0, m <= mmax; with codes also every code (reserved W2S codes, W8 -128). */
accllm_status acc_weight_check(const acc_weight *w, const char *name, int codes, accllm_error *err) ACC_MUST_CHECK;

/* The 64 codes of one quad of columns: row r's at bit 7r of 56 bytes. */
void acc_w2s_codes(const uint8_t src[ACC_W2S_QUAD_BYTES], uint8_t codes[ACC_TILE_ROWS]);
/* The quad of a W2S code under levels (l1, l2); reserved codes give zeros. */
void acc_w2s_quad(unsigned code, int l1, int l2, int8_t quad[4]);
/* The code of a quad, or -1 if no code has it. */
int acc_w2s_code(const int8_t quad[4], int l1, int l2);

#endif
