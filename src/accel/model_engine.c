/* The engine of the device model: MM. */
#include <math.h>
#include <string.h>

#include "accel/model_internal.h"
#include "kernels/picks.h"

typedef struct engine {
    acc_model *d;
    acc_isa_format format;
    uint32_t group, groups, blocks, step, lines;
    uint64_t stream, dst;
    acc_isa_target target;
    bool bias;
} engine;

/* Each pick is L1 or L2 times an activation code; a lane adds two of them. */
static void make_quads(acc_model *d, uint32_t quads, uint32_t levels)
{
    static const int magnitudes[4][2] = {
        [ACC_LEVELS_1_2] = {1, 2}, [ACC_LEVELS_1_3] = {1, 3}, [ACC_LEVELS_2_5] = {2, 5}, [3] = {1, 2}, /* reserved */
    };
    const int l1 = magnitudes[levels][0], l2 = magnitudes[levels][1];
    const int value[4] = {-l2, -l1, l1, l2};
    for (uint32_t q = 0; q < quads; q++)
        for (unsigned c = 0; c < 128; c++) {
            const unsigned p = acc_w2s_picks(c);
            d->quads[q][c] = (int16_t)(value[p & 3] * d->codes[4 * q + (p >> 2 & 3)] +
                                       value[p >> 4 & 3] * d->codes[4 * q + (p >> 6 & 3)]);
        }
}

/* Lines of one octet of quad columns: column 7 stands in the ends of the other seven. */
static void add_octet(const acc_model *d, const uint8_t *lines, uint32_t quad, int32_t *sum)
{
    uint8_t last[ACC_W2S_QUAD_BYTES], codes[ACC_TILE_ROWS];
    for (int k = 0; k < 7; k++) memcpy(last + 8 * k, lines + 64 * k + ACC_W2S_QUAD_BYTES, 8);
    for (uint32_t k = 0; k < 8; k++) {
        const int16_t *t = d->quads[quad + k];
        acc_w2s_codes(k < 7 ? lines + 64 * k : last, codes);
        for (int r = 0; r < ACC_TILE_ROWS; r++) sum[r] += t[codes[r]];
    }
}

/* One quad column of a dense format; a: its 4 activation codes. */
typedef void column_fn(const uint8_t *lines, const int8_t *a, int32_t *sum);

static void add_w2(const uint8_t *lines, const int8_t *a, int32_t *sum)
{
    for (int f = 0; f < 4; f++)
        for (int r = 0; r < 16; r++)
            for (int k = 0; k < 4; k++) sum[r + 16 * f] += (2 * (lines[4 * r + k] >> (2 * f) & 3) - 3) * a[k];
}

static void add_w4(const uint8_t *lines, const int8_t *a, int32_t *sum)
{
    for (int f = 0; f < 2; f++)
        for (int r = 0; r < 32; r++)
            for (int k = 0; k < 4; k++) sum[r + 32 * f] += ((lines[4 * r + k] >> (4 * f) & 15) - 8) * a[k];
}

static void add_w8(const uint8_t *lines, const int8_t *a, int32_t *sum)
{
    for (int r = 0; r < 64; r++)
        for (int k = 0; k < 4; k++) sum[r] += (int8_t)lines[4 * r + k] * a[k];
}

/* The sums of one tile; tile_lines: without those of m. */
static void tile_sums(const engine *e, const uint8_t *lines, uint32_t tile_lines, uint32_t quad, int32_t *sum)
{
    static column_fn *const add[ACC_FORMAT_COUNT] = {NULL, add_w2, add_w4, add_w8};
    const uint32_t quads = e->group / 4;
    memset(sum, 0, ACC_TILE_ROWS * sizeof *sum);
    if (e->format == ACC_FORMAT_W2S) {
        for (uint32_t q = 0; q < quads; q += 8, lines += 7 * 64) add_octet(e->d, lines, quad + q, sum);
        return;
    }
    const size_t column = (size_t)64 * tile_lines / quads;
    for (uint32_t q = 0; q < quads; q++, lines += column)
        add[e->format](lines, e->d->codes + (size_t)4 * (quad + q), sum);
}

/* The integer sums of a row block; returns what follows its tiles. */
static const uint8_t *block_sums(const engine *e, const uint8_t *lines, int32_t *isum)
{
    const bool has_m = e->format != ACC_FORMAT_W8;
    const uint32_t tile = acc_tile_lines(e->format, e->group);
    memset(isum, 0, ACC_TILE_ROWS * sizeof *isum);
    for (uint32_t g = 0; g < e->groups; g++, lines += (size_t)64 * tile) {
        int32_t sum[ACC_TILE_ROWS];
        const uint8_t *m = lines + (size_t)64 * (tile - 1);
        tile_sums(e, lines, tile - has_m, g * e->group / 4, sum);
        for (int r = 0; r < ACC_TILE_ROWS; r++)
            isum[r] = (int32_t)((uint32_t)isum[r] + (has_m ? m[r] : 1u) * (uint32_t)sum[r]);
    }
    return lines;
}

static void one_block(engine *e, uint32_t block)
{
    acc_model *d = e->d;
    const uint32_t channel = block % d->channels, own = block / d->channels;
    int32_t isum[ACC_TILE_ROWS];
    float y[ACC_TILE_ROWS], rscale[ACC_TILE_ROWS], bias[ACC_TILE_ROWS];
    const uint8_t *rest = block_sums(e, acc_model_line(d, channel, e->stream + (uint64_t)own * e->lines), isum);
    memcpy(rscale, rest, sizeof rscale);
    if (e->bias) memcpy(bias, rest + sizeof rscale, sizeof bias);
    for (int r = 0; r < ACC_TILE_ROWS; r++) {
        y[r] = (float)isum[r] * (rscale[r] * d->scale);
        if (e->bias) y[r] += bias[r];
    }
    if (e->target == ACC_TARGET_MEMORY) {
        memcpy(acc_model_line(d, channel, e->dst + (uint64_t)own * 4), y, sizeof y);
        return;
    }
    float *x = d->vmem + (e->dst + (uint64_t)block * e->step) * ACC_ISA_LANES;
    for (int r = 0; r < ACC_TILE_ROWS; r++) x[r] = e->target == ACC_TARGET_ADD ? x[r] + y[r] : y[r];
}

static void some_blocks(void *ctx, uint32_t worker, uint32_t n_workers)
{
    engine *e = ctx;
    uint32_t b0, b1;
    acc_share(e->blocks, worker, n_workers, &b0, &b1);
    for (uint32_t b = b0; b < b1; b++) one_block(e, b);
}

static bool all_finite(const uint8_t *row_block)
{
    float y[ACC_TILE_ROWS];
    bool ok = true;
    memcpy(y, row_block, sizeof y);
    for (int r = 0; r < ACC_TILE_ROWS; r++) ok &= isfinite(y[r]) != 0;
    return ok;
}

void acc_model_mm(acc_model *d, const acc_inst *i)
{
    engine e = {.d = d,
                .format = (acc_isa_format)acc_inst_get(i, ACC_F_FORMAT),
                .group = 32u << acc_inst_get(i, ACC_F_GROUP),
                .groups = acc_inst_get(i, ACC_F_GROUPS),
                .blocks = acc_inst_get(i, ACC_F_BLOCKS),
                .step = acc_inst_get(i, ACC_F_STEP),
                .lines = acc_block_lines(i),
                .stream = acc_inst_get(i, ACC_F_STREAM),
                .dst = acc_inst_get(i, ACC_F_DST),
                .target = (acc_isa_target)acc_inst_get(i, ACC_F_TARGET),
                .bias = acc_inst_get(i, ACC_F_BIAS) != 0};
    const uint64_t own = (e.blocks + d->channels - 1) / d->channels;
    if (e.groups * e.group > ACC_ISA_CODES_MAX) {
        (void)acc_model_fail(d, ACC_ERROR_BAD_FIELD, 0);
        return;
    }
    if (!acc_model_has_lines(d, e.stream, own * e.lines)) return;
    if (e.target == ACC_TARGET_MEMORY ? !acc_model_has_lines(d, e.dst, own * 4)
                                      : !acc_model_has_blocks(d, e.dst, (uint64_t)(e.blocks - 1) * e.step + 1))
        return;
    if (e.format == ACC_FORMAT_W2S) make_quads(d, e.groups * e.group / 4, acc_inst_get(i, ACC_F_LEVELS));
    acc_model_run_job(d, some_blocks, &e);
    for (uint32_t b = 0; b < e.blocks && e.target == ACC_TARGET_MEMORY; b++)
        if (!all_finite(acc_model_line(d, b % d->channels, e.dst + (uint64_t)(b / d->channels) * 4)))
            (void)acc_model_fail(d, ACC_ERROR_NOT_FINITE, b % d->channels);
}
