/* The vector unit of the device model: VEC, MOV, TOP. */
#include <string.h>

#include "accel/model_internal.h"
#include "core/memory.h"

static float *block(const acc_model *d, uint32_t b)
{
    return d->vmem + (size_t)b * ACC_ISA_LANES;
}

/* Gate and up blocks take turns. */
static const float *silu(const acc_model *d, const acc_inst *i, uint32_t n)
{
    const uint32_t src = acc_inst_get(i, ACC_F_SRC), dst = acc_inst_get(i, ACC_F_DST);
    for (uint32_t b = 0; b < acc_blocks_of(n); b++) {
        const uint32_t left = n - b * ACC_ISA_LANES;
        acc_silu_mul(block(d, src + 2 * b), block(d, src + 2 * b + 1), block(d, dst + b),
                     left < ACC_ISA_LANES ? left : ACC_ISA_LANES);
    }
    return block(d, dst);
}

void acc_model_vec(acc_model *d, const acc_inst *i)
{
    const uint32_t n = acc_inst_get(i, ACC_F_N), src = acc_inst_get(i, ACC_F_SRC);
    const acc_isa_vector op = (acc_isa_vector)acc_inst_get(i, ACC_F_OP);
    const uint32_t pad = (uint32_t)acc_round_up(n, 128);
    bool ok;
    if (n == 0 || n > ACC_ISA_CODES_MAX || op >= ACC_VECTOR_COUNT) {
        (void)acc_model_fail(d, ACC_ERROR_BAD_FIELD, 0);
        return;
    }
    if (!acc_model_has_blocks(d, src, (op == ACC_VECTOR_SILU ? 2 : 1) * acc_blocks_of(n))) return;
    if (op == ACC_VECTOR_SILU && !acc_model_has_blocks(d, acc_inst_get(i, ACC_F_DST), acc_blocks_of(n))) return;
    if (op == ACC_VECTOR_NORM) {
        if (!acc_model_load(d, acc_inst_get(i, ACC_F_GAIN), d->gain, n)) return;
        ok = acc_norm_a8(block(d, src), d->gain, n, pad, acc_model_float(d, ACC_REG_NORM_EPSILON), d->codes, &d->scale);
    } else {
        ok = acc_a8(op == ACC_VECTOR_SILU ? silu(d, i, n) : block(d, src), n, pad, d->codes, &d->scale);
    }
    if (!ok) (void)acc_model_fail(d, ACC_ERROR_NOT_FINITE, 0);
}

/* The token's row: codes, group scales, row scale. */
static void embed(acc_model *d, const acc_inst *i)
{
    const uint32_t n = acc_inst_get(i, ACC_F_N), token = acc_model_reg(d, ACC_REG_TOKEN),
                   lines = acc_embedding_lines(i);
    const uint32_t group = 32u << acc_inst_get(i, ACC_F_GROUP), channel = token % d->channels;
    const uint64_t line = acc_inst_get(i, ACC_F_ADDRESS) + (uint64_t)(token / d->channels) * lines;
    const bool grouped = acc_inst_get(i, ACC_F_GROUPED) != 0, scaled = acc_inst_get(i, ACC_F_SCALED) != 0;
    float rscale, *x = block(d, acc_inst_get(i, ACC_F_BLOCK));
    if (!acc_model_has_lines(d, line, lines)) return;
    if (scaled && !acc_model_load(d, acc_inst_get(i, ACC_F_SCALE), d->gain, n)) return;
    const uint8_t *codes = acc_model_line(d, channel, line), *m = codes + (size_t)64 * acc_lines_of(n);
    memcpy(&rscale, acc_model_line(d, channel, line + lines - 1), sizeof rscale);
    for (uint32_t k = 0; k < n; k++) {
        x[k] = (float)((int8_t)codes[k] * (grouped ? m[k / group] : 1)) * rscale;
        if (scaled) x[k] *= d->gain[k];
    }
    memset(x + n, 0, (size_t)(acc_blocks_of(n) * ACC_ISA_LANES - n) * sizeof *x);
}

void acc_model_mov(acc_model *d, const acc_inst *i)
{
    const uint32_t n = acc_inst_get(i, ACC_F_N), at = acc_inst_get(i, ACC_F_BLOCK);
    if (n == 0 || n > ACC_ISA_CODES_MAX) {
        (void)acc_model_fail(d, ACC_ERROR_BAD_FIELD, 0);
        return;
    }
    if (!acc_model_has_blocks(d, at, acc_blocks_of(n))) return;
    if (acc_inst_get(i, ACC_F_OP) == ACC_MOVE_EMBED)
        embed(d, i);
    else
        (void)acc_model_store(d, acc_inst_get(i, ACC_F_ADDRESS), block(d, at), n);
}

void acc_model_top(acc_model *d, const acc_inst *i)
{
    const uint32_t n = acc_inst_get(i, ACC_F_N), line = acc_inst_get(i, ACC_F_ADDRESS);
    float best = -__builtin_inff();
    uint32_t at = 0;
    if (n == 0) {
        (void)acc_model_fail(d, ACC_ERROR_BAD_FIELD, 0);
        return;
    }
    if (!acc_model_has_lines(d, line, (acc_blocks_of(n) + d->channels - 1) / d->channels * 4)) return;
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t b = k / ACC_ISA_LANES, r = k % ACC_ISA_LANES;
        float x;
        memcpy(&x, acc_model_line(d, b % d->channels, line + (uint64_t)(b / d->channels) * 4) + 4 * r, sizeof x);
        if (x > best) {
            best = x;
            at = k;
        }
    }
    d->reg[ACC_REG_BEST_TOKEN / 4] = at;
}
