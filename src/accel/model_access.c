/* What the units of the device model share: memory, vector memory, registers, errors. */
#include <string.h>

#include "accel/model_internal.h"

float acc_model_float(const acc_model *d, acc_isa_register r)
{
    float x;
    memcpy(&x, &d->reg[r / 4], sizeof x);
    return x;
}

bool acc_model_fail(acc_model *d, acc_isa_error e, uint32_t channel)
{
    if (d->error == ACC_ERROR_NONE) {
        d->error = e;
        d->error_channel = channel;
    }
    return false;
}

bool acc_model_has_lines(acc_model *d, uint64_t line, uint64_t n)
{
    return line + n <= d->lines || acc_model_fail(d, ACC_ERROR_BAD_ADDRESS, 0);
}

bool acc_model_has_blocks(acc_model *d, uint64_t block, uint64_t n)
{
    return block + n <= ACC_ISA_VMEM_BLOCKS || acc_model_fail(d, ACC_ERROR_BAD_FIELD, 0);
}

bool acc_model_load(acc_model *d, uint32_t line, void *x, uint32_t n)
{
    const size_t bytes = (size_t)n * 4;
    if (!acc_model_has_lines(d, line, acc_vector_lines(n, d->channels))) return false;
    for (size_t at = 0, k = 0; at < bytes; at += ACC_ISA_LINE_BYTES, k++)
        memcpy((uint8_t *)x + at, acc_model_line(d, (uint32_t)(k % d->channels), line + k / d->channels),
               bytes - at < ACC_ISA_LINE_BYTES ? bytes - at : ACC_ISA_LINE_BYTES);
    return true;
}

bool acc_model_store(acc_model *d, uint32_t line, const float *x, uint32_t n)
{
    const size_t bytes = (size_t)n * sizeof *x;
    if (!acc_model_has_lines(d, line, acc_vector_lines(n, d->channels))) return false;
    for (size_t at = 0, k = 0; at < bytes; at += ACC_ISA_LINE_BYTES, k++)
        memcpy(acc_model_line(d, (uint32_t)(k % d->channels), line + k / d->channels), (const uint8_t *)x + at,
               bytes - at < ACC_ISA_LINE_BYTES ? bytes - at : ACC_ISA_LINE_BYTES);
    return true;
}

bool acc_model_geometry(acc_model *d, acc_geometry *g)
{
    *g = (acc_geometry){.n_heads = acc_model_reg(d, ACC_REG_HEADS),
                        .n_kv_heads = acc_model_reg(d, ACC_REG_KV_HEADS),
                        .head_dim = acc_model_reg(d, ACC_REG_HEAD_DIM),
                        .sinks = acc_model_reg(d, ACC_REG_SINKS),
                        .window = acc_model_reg(d, ACC_REG_WINDOW),
                        .page = acc_model_reg(d, ACC_REG_PAGE),
                        .kv_bits = acc_model_reg(d, ACC_REG_KV_BITS),
                        .near = acc_model_reg(d, ACC_REG_NEAR),
                        .ring_pages = acc_model_reg(d, ACC_REG_RING_PAGES),
                        .near_positions = acc_model_reg(d, ACC_REG_NEAR_POSITIONS)};
    return !acc_geometry_bad(g) || acc_model_fail(d, ACC_ERROR_BAD_FIELD, 0);
}

void acc_model_run_job(acc_model *d, acc_job *job, void *ctx)
{
    if (d->pool)
        acc_pool_run(d->pool, job, ctx);
    else
        job(ctx, 0, 1);
}
