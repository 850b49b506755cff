/* Shapes, sizes, tiles and checks that the packed formats share (design section 2). */
#include <math.h>
#include <string.h>

#include "weights/format.h"

#define MAX_ROWS (1u << 27) /* sizes of any allowed shape fit 64 bits with room to spare */
#define MAX_COLS (1u << 25)

static const acc_weight_ops *ops_of(acc_format f)
{
    static const acc_weight_ops *const ops[ACC_FMT_COUNT] = {&acc_w2s_ops, &acc_w2_ops, &acc_w4_ops, &acc_w8_ops};
    return ops[f];
}

const char *acc_format_name(acc_format f)
{
    return (unsigned)f < ACC_FMT_COUNT ? ops_of(f)->name : "unknown";
}

int acc_format_parse(const char *name)
{
    for (int f = 0; f < ACC_FMT_COUNT; f++)
        if (strcmp(name, ops_of((acc_format)f)->name) == 0) return f;
    return -1;
}

static size_t tile_bytes(const acc_weight_ops *ops, uint32_t group)
{
    return (size_t)ops->quad_bytes * (group / 4) + (ops->has_m ? ACC_TILE_ROWS : 0);
}

static uint32_t groups_of(uint32_t cols, uint32_t group)
{
    return cols / group + (cols % group != 0);
}

/* int16 group sums of W2S: Q * G / 4 * 127 <= 32767 iff Q * G <= 1024. */
static bool group_fits(acc_format f, const acc_weight_ops *ops, uint32_t group, uint32_t l1, uint32_t l2)
{
    return f != ACC_FMT_W2S || ops->magnitude(l1, l2) * group <= 1024;
}

/* W4: 32, an eighth of a bit more than 64 and a quarter less error (docs/quality.md, "One-shot W4"). Else the largest
 * of 128, 64, 32 that divides cols, or the one with the fewest bytes, ties to the larger. */
static uint32_t choose_group(acc_format f, const acc_weight_ops *ops, uint32_t cols, uint32_t l1, uint32_t l2)
{
    if (f == ACC_FMT_W4) return 32;
    uint32_t best = 0;
    size_t best_bytes = SIZE_MAX;
    for (uint32_t g = 128; g >= 32; g /= 2)
        if (cols % g == 0 && group_fits(f, ops, g, l1, l2)) return g;
    for (uint32_t g = 128; g >= 32; g /= 2) {
        if (!group_fits(f, ops, g, l1, l2)) continue;
        const size_t bytes = tile_bytes(ops, g) * groups_of(cols, g);
        if (bytes < best_bytes) {
            best = g;
            best_bytes = bytes;
        }
    }
    return best;
}

accllm_status acc_weight_init(acc_weight *w, acc_format f, uint32_t rows, uint32_t cols, uint32_t group,
                              uint32_t level1, uint32_t level2, accllm_error *err)
{
    memset(w, 0, sizeof *w);
    if ((unsigned)f >= ACC_FMT_COUNT) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "unknown weight format %d", (int)f);
    const acc_weight_ops *ops = ops_of(f);
    if (rows == 0 || cols == 0 || rows > MAX_ROWS || cols > MAX_COLS)
        return acc_fail(err, ACCLLM_E_FORMAT, "%s matrix of %u x %u is out of range", ops->name, rows, cols);
    if (ops->magnitude(level1, level2) == 0)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s levels (%u, %u); known: (1, 2), (1, 3), (2, 5)", ops->name,
                        level1, level2);
    if (group == 0) group = choose_group(f, ops, cols, level1, level2);
    if (group != 32 && group != 64 && group != 128)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "group of %u columns; known: 32, 64, 128", group);
    if (!group_fits(f, ops, group, level1, level2))
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s levels (%u, %u) overflow 16 bits in groups of %u", ops->name,
                        level1, level2, group);
    w->format = f;
    w->rows = rows;
    w->cols = cols;
    w->row_blocks = groups_of(rows, ACC_TILE_ROWS);
    w->col_groups = groups_of(cols, group);
    w->group = group;
    w->level1 = f == ACC_FMT_W2S ? (uint8_t)level1 : 0;
    w->level2 = f == ACC_FMT_W2S ? (uint8_t)level2 : 0;
    if (acc_weight_mmax(w) == 0)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "%s rows of %u columns overflow 32 bits", ops->name, cols);
    return ACCLLM_OK;
}

size_t acc_weight_tile_bytes(const acc_weight *w)
{
    return tile_bytes(ops_of(w->format), w->group);
}

size_t acc_weight_tiles_bytes(const acc_weight *w)
{
    return acc_weight_tile_bytes(w) * w->row_blocks * w->col_groups;
}

size_t acc_weight_bytes(const acc_weight *w)
{
    return acc_weight_tiles_bytes(w) + (size_t)w->rows * sizeof(float);
}

void acc_weight_bind(acc_weight *w, const uint8_t *blob)
{
    w->data = blob;
    w->rscale = (const float *)(const void *)(blob + acc_weight_tiles_bytes(w));
}

uint32_t acc_weight_mmax(const acc_weight *w)
{
    /* Per quad of columns: magnitude * 127 * m. A part of a quad counts as a whole one. */
    const uint64_t quads = (w->cols + 3) / 4;
    const uint64_t most = INT32_MAX / (127ull * ops_of(w->format)->magnitude(w->level1, w->level2) * quads);
    const uint32_t cap = ops_of(w->format)->has_m ? 255 : 1;
    return most > cap ? cap : (uint32_t)most;
}

void acc_weight_pack_block(const acc_weight *w, uint8_t *blob, uint32_t rb, const int8_t *codes, const uint8_t *m)
{
    const acc_weight_ops *ops = ops_of(w->format);
    const uint32_t quads = w->group / 4, per_col = 4 / ops->codes;
    const uint32_t rows = w->rows - rb * ACC_TILE_ROWS < ACC_TILE_ROWS ? w->rows - rb * ACC_TILE_ROWS : ACC_TILE_ROWS;
    const size_t stride = (size_t)w->col_groups * quads * ops->codes, bytes = acc_weight_tile_bytes(w);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        uint8_t *tile = blob + ((size_t)cg * w->row_blocks + rb) * bytes;
        for (uint32_t q = 0; q < quads; q++) {
            int8_t quad[ACC_TILE_ROWS][4];
            memset(quad, ops->pad, sizeof quad);
            const size_t at = (size_t)(cg * quads + q) * ops->codes;
            for (uint32_t r = 0; r < rows; r++)
                for (uint32_t k = 0; k < ops->codes; k++)
                    if ((at + k) * per_col < w->cols) quad[r][k] = codes[r * stride + at + k];
            ops->pack(tile + (size_t)q * ops->quad_bytes, quad);
        }
        if (!ops->has_m) continue;
        uint8_t *tm = tile + (size_t)quads * ops->quad_bytes;
        for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) tm[r] = r < rows ? m[(size_t)r * w->col_groups + cg] : 0;
    }
}

void acc_weight_unpack_block(const acc_weight *w, uint32_t rb, int8_t *ints, uint8_t *m)
{
    const acc_weight_ops *ops = ops_of(w->format);
    const uint32_t quads = w->group / 4;
    const size_t stride = (size_t)w->col_groups * w->group, bytes = acc_weight_tile_bytes(w);
    for (uint32_t cg = 0; cg < w->col_groups; cg++) {
        const uint8_t *tile = acc_weight_tile(w, bytes, cg, rb);
        for (uint32_t q = 0; q < quads; q++) {
            int8_t quad[ACC_TILE_ROWS][4];
            ops->unpack(w, tile + (size_t)q * ops->quad_bytes, quad);
            for (uint32_t r = 0; r < ACC_TILE_ROWS; r++)
                memcpy(ints + r * stride + (size_t)(cg * quads + q) * 4, quad[r], 4);
        }
        if (m == NULL) continue;
        const uint8_t *tm = tile + (size_t)quads * ops->quad_bytes;
        for (uint32_t r = 0; r < ACC_TILE_ROWS; r++) m[(size_t)r * w->col_groups + cg] = ops->has_m ? tm[r] : 1;
    }
}

/* One row's quad without unpacking the other 63. */
static void row_quad(const acc_weight *w, const uint8_t *src, uint32_t r, int8_t quad[4])
{
    if (w->format == ACC_FMT_W2S) {
        const uint32_t bit = 7 * r, byte = bit / 8; /* a code may span two bytes; m stands after the last one */
        const unsigned two = src[byte] | (unsigned)src[byte + 1] << 8;
        acc_w2s_quad(two >> (bit % 8) & 127, w->level1, w->level2, quad);
    } else if (w->format == ACC_FMT_W2) {
        for (int k = 0; k < 4; k++) quad[k] = (int8_t)(2 * (src[4 * (r % 16) + k] >> (r / 16 * 2) & 3) - 3);
    } else if (w->format == ACC_FMT_W4) {
        for (int k = 0; k < 4; k++) quad[k] = (int8_t)((src[4 * (r % 32) + k] >> (r / 32 * 4) & 15) - 8);
    } else {
        memcpy(quad, src + 4 * r, 4);
    }
}

void acc_weight_dequant_row(const acc_weight *w, uint32_t row, float *out)
{
    const acc_weight_ops *ops = ops_of(w->format);
    const size_t bytes = acc_weight_tile_bytes(w);
    const uint32_t rb = row / ACC_TILE_ROWS, r = row % ACC_TILE_ROWS;
    for (uint32_t c = 0; c < w->cols; c += 4) {
        const uint8_t *tile = acc_weight_tile(w, bytes, c / w->group, rb);
        int8_t quad[4];
        row_quad(w, tile + (size_t)(c % w->group / 4) * ops->quad_bytes, r, quad);
        const int32_t m = ops->has_m ? tile[(size_t)w->group / 4 * ops->quad_bytes + r] : 1;
        for (uint32_t k = 0; k < 4 && c + k < w->cols; k++) out[c + k] = (float)(quad[k] * m) * w->rscale[row];
    }
}

static accllm_status check_tile(const acc_weight *w, const char *name, int codes, uint32_t cg, uint32_t rb,
                                accllm_error *err)
{
    const acc_weight_ops *ops = ops_of(w->format);
    const uint8_t *tile = acc_weight_tile(w, acc_weight_tile_bytes(w), cg, rb);
    const uint32_t quads = w->group / 4, mmax = acc_weight_mmax(w);
    const uint8_t *m = tile + (size_t)quads * ops->quad_bytes;
    for (uint32_t r = 0; ops->has_m && r < ACC_TILE_ROWS; r++)
        if (m[r] > mmax)
            return acc_fail(err, ACCLLM_E_FORMAT, "%s: row %u, group %u: m %u above %u", name, rb * ACC_TILE_ROWS + r,
                            cg, m[r], mmax);
    for (uint32_t q = 0; codes && q < quads; q++) {
        const int r = ops->bad(tile + (size_t)q * ops->quad_bytes);
        if (r >= 0)
            return acc_fail(err, ACCLLM_E_FORMAT, "%s: row %u, column %u: reserved code", name,
                            rb * ACC_TILE_ROWS + (uint32_t)r, cg * w->group + 4 * q);
    }
    return ACCLLM_OK;
}

accllm_status acc_weight_check(const acc_weight *w, const char *name, int codes, accllm_error *err)
{
    for (uint32_t r = 0; r < w->rows; r++)
        if (!isfinite(w->rscale[r]) || w->rscale[r] < 0)
            return acc_fail(err, ACCLLM_E_FORMAT, "%s: row %u: scale is negative or not finite", name, r);
    /* Where no m can be too large the tiles are left alone: a large file then loads without being read. */
    if (!codes && (!ops_of(w->format)->has_m || acc_weight_mmax(w) == 255)) return ACCLLM_OK;
    for (uint32_t cg = 0; cg < w->col_groups; cg++)
        for (uint32_t rb = 0; rb < w->row_blocks; rb++) ACC_TRY(check_tile(w, name, codes, cg, rb, err));
    return ACCLLM_OK;
}
