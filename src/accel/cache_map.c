#include "accel/cache_map.h"

#include <string.h>

#include "accel/isa.h"

const char *acc_geometry_bad(const acc_geometry *g)
{
    const uint64_t ring = (uint64_t)g->ring_pages * g->page;
    if (g->n_heads == 0 || g->n_kv_heads == 0 || g->n_heads > ACC_ISA_HEADS_MAX || g->n_heads % g->n_kv_heads)
        return "heads";
    if (g->head_dim < 2 || g->head_dim > ACC_ISA_HEAD_DIM_MAX || g->head_dim % 2) return "head dimension";
    if (g->n_heads * g->head_dim > ACC_ISA_CODES_MAX) return "heads";
    if (g->page < ACC_ISA_STRIP || g->page > ACC_ISA_PAGE_MAX || (g->page & (g->page - 1))) return "page";
    if (g->sinks > ACC_ISA_SINKS_MAX) return "sinks";
    if (g->kv_bits != 4 && g->kv_bits != 8) return "cache bits";
    if (g->window == 0 || ring > ACC_ISA_RING_MAX || ring < (uint64_t)g->window + g->page) return "window or ring";
    const bool near = g->near > 0 && g->kv_bits == 4;
    if (g->near > ACC_ISA_NEAR_MAX || (g->near > 0) != near || g->near_positions % ACC_ISA_STRIP ||
        g->near_positions > ACC_ISA_NEAR_MAX + 2 * ACC_ISA_STRIP ||
        (near ? g->near_positions < g->near + ACC_ISA_STRIP : g->near_positions != 0))
        return "near ring";
    const uint32_t segment = g->kv_bits == 4 ? ACC_ISA_SEGMENT4 : ACC_ISA_SEGMENT8;
    if (g->sinks / ACC_ISA_SEGMENT8 + g->window / segment + 5 > ACC_ISA_SEGMENTS_MAX) return "window (segments)";
    return NULL;
}

acc_cache_map acc_cache_plan(uint32_t channels, const acc_geometry *g)
{
    acc_cache_map m = {.channels = channels,
                       .dims = (g->head_dim + 31) / 32 * 32,
                       .spread = channels > g->n_kv_heads ? channels / g->n_kv_heads : 1,
                       .bits = {8, g->kv_bits, 8},
                       .positions = {(g->sinks + 15) / 16 * 16, g->ring_pages * g->page, g->near_positions}};
    uint64_t at = 0;
    for (int part = 0; part < ACC_KV_PARTS; part++) {
        uint32_t blocks = (m.positions[part] / ACC_ISA_STRIP + m.spread - 1) / m.spread;
        uint64_t lines = (uint64_t)blocks * acc_cache_block_lines(&m, (acc_kv_part)part);
        m.keys[part] = at;
        m.values[part] = at + lines;
        at += 2 * lines;
    }
    m.head_lines = at;
    m.layer_lines = ((uint64_t)g->n_kv_heads * m.spread + channels - 1) / channels * at;
    return m;
}

void acc_cache_place(const acc_cache_map *m, acc_kv_part part, uint32_t head, bool value, uint32_t slot,
                     uint32_t *channel, uint64_t *line)
{
    uint32_t block = slot / ACC_ISA_STRIP, first = head * m->spread;
    *channel = (first + block % m->spread) % m->channels;
    *line = first / m->channels * m->head_lines + (value ? m->values : m->keys)[part] +
            (uint64_t)(block / m->spread) * acc_cache_block_lines(m, part);
}

/* Byte of dimension d at position p of a block, and the shift of its nibble. */
static size_t byte_of(const acc_cache_map *m, bool four, bool value, uint32_t p, uint32_t d, unsigned *shift)
{
    *shift = 0;
    if (!four && !value) return d / 4 * 64 + 4 * p + d % 4;
    if (!four) return (p / 4 * (m->dims / 16) + d / 16) * 64 + 4 * (d % 16) + p % 4;
    if (!value) {
        *shift = p % 2 * 4;
        return d / 8 * 64 + 8 * (p / 2) + d % 8;
    }
    *shift = d >= m->dims / 2 ? 4 : 0;
    d %= m->dims / 2;
    return (p / 4 * (m->dims / 32) + d / 16) * 64 + 4 * (d % 16) + p % 4;
}

void acc_cache_put(const acc_cache_map *m, acc_kv_part part, uint8_t *block, bool value, uint32_t p, uint32_t n,
                   const uint8_t *u, uint16_t scale, uint8_t zero)
{
    const bool four = m->bits[part] == 4;
    for (uint32_t d = 0; d < m->dims; d++) {
        unsigned shift, code = d < n ? u[d] : 0;
        uint8_t *byte = block + byte_of(m, four, value, p, d, &shift);
        *byte = (uint8_t)(four ? (*byte & ~(15u << shift)) | code << shift : code);
    }
    uint8_t *line = block + (size_t)(acc_cache_block_lines(m, part) - 1) * 64;
    line[2 * p] = (uint8_t)scale;
    line[2 * p + 1] = (uint8_t)(scale >> 8);
    line[32 + p] = zero;
}

void acc_cache_dot(const acc_cache_map *m, acc_kv_part part, const uint8_t *block, const int8_t *q, int32_t n[16])
{
    memset(n, 0, 16 * sizeof *n);
    if (m->bits[part] == 4) {
        for (uint32_t d = 0; d < m->dims; d += 8, block += 64)
            for (uint32_t i = 0; i < 64; i++) { /* byte i: one operand, two positions */
                n[i / 8 * 2] += q[d + i % 8] * (block[i] & 15);
                n[i / 8 * 2 + 1] += q[d + i % 8] * (block[i] >> 4);
            }
        return;
    }
    for (uint32_t d = 0; d < m->dims; d += 4, block += 64)
        for (uint32_t i = 0; i < 64; i++) n[i / 4] += q[d + i % 4] * (int8_t)block[i];
}

void acc_cache_weigh(const acc_cache_map *m, acc_kv_part part, const uint8_t *block, const uint32_t p[16],
                     uint32_t shift, uint32_t *acc)
{
    const bool four = m->bits[part] == 4;
    const uint32_t rows = four ? m->dims / 2 : m->dims; /* of bytes */
    for (uint32_t j = 0; j < ACC_ISA_STRIP; j += 4)
        for (uint32_t d = 0; d < rows; d += 16, block += 64)
            for (uint32_t i = 0; i < 64; i++) {
                uint32_t w = p[j + i % 4], *low = &acc[d + i / 4];
                *low += (four ? w * (block[i] & 15) : w * (uint32_t)(int8_t)block[i]) << shift;
                if (four) low[rows] += (w * (block[i] >> 4)) << shift;
            }
}
