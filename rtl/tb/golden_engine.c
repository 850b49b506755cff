/*
 * What the engine's bench compares with: the device model's own MM (src/accel/model_engine.c) over random lines, and
 * the sums of keys and values of src/accel/cache_map.c. Makes the stimulus too; floats travel as their bits.
 */
#include <string.h>

#include "accel/image.h"
#include "accel/model_internal.h"
#include "core/hash.h"
#include "svdpi.h"

#define MOST_LINES 4096
#define MOST_BLOCKS 8

static uint8_t memory[MOST_LINES * ACC_ISA_LINE_BYTES];
static float vmem[MOST_BLOCKS * ACC_ISA_LANES];
static int8_t codes[ACC_ISA_CODES_MAX];
static int16_t quads[ACC_MODEL_QUADS][128];
static acc_model model;

static uint64_t stream, drawn; /* of acc_random() */

static uint32_t draw(void)
{
    return (uint32_t)acc_random(stream, drawn++);
}

static void draw_bytes(uint8_t *p, size_t n)
{
    while (n-- > 0) *p++ = (uint8_t)draw();
}

static float draw_float(void)
{
    const uint32_t u = (draw() & 0x807fffff) | (110 + draw() % 30) << 23;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* One row block: tiles of any bits (every code, reserved ones too), m of the asked size, row scales and biases. */
static void draw_block(uint8_t *p, acc_isa_format format, uint32_t group, uint32_t groups, bool bias, uint32_t m_most)
{
    const size_t tile = (size_t)acc_tile_lines(format, group) * ACC_ISA_LINE_BYTES;
    for (uint32_t g = 0; g < groups; g++, p += tile) {
        draw_bytes(p, tile);
        for (uint32_t r = 0; format != ACC_FORMAT_W8 && r < ACC_ISA_LANES; r++)
            p[tile - ACC_ISA_LINE_BYTES + r] = (uint8_t)(draw() % (m_most + 1));
    }
    for (uint32_t r = 0; r < (bias ? 2 : 1) * ACC_ISA_LANES; r++, p += sizeof(float)) {
        const float x = draw_float();
        memcpy(p, &x, sizeof x);
    }
}

/* Draws a stream and runs it; its lines, or -1 if the model refused it. */
int golden_mm_open(int format, int levels, int group, int groups, int blocks, int bias, int m_most, int seed)
{
    acc_inst i = acc_inst_make(ACC_OP_MM, 0, 0);
    bool ok = acc_inst_set(&i, ACC_F_FORMAT, (uint64_t)format) && acc_inst_set(&i, ACC_F_LEVELS, (uint64_t)levels) &&
              acc_inst_set(&i, ACC_F_GROUP, (uint64_t)group) && acc_inst_set(&i, ACC_F_GROUPS, (uint64_t)groups) &&
              acc_inst_set(&i, ACC_F_BLOCKS, (uint64_t)blocks) && acc_inst_set(&i, ACC_F_BIAS, (uint64_t)bias) &&
              acc_inst_set(&i, ACC_F_STEP, 1) && acc_inst_set(&i, ACC_F_TARGET, ACC_TARGET_VMEM);
    const uint32_t lines = acc_block_lines(&i);
    if (!ok || lines * (uint32_t)blocks > MOST_LINES || blocks > MOST_BLOCKS) return -1;
    stream = (uint64_t)seed;
    drawn = 0;
    for (int b = 0; b < blocks; b++)
        draw_block(memory + (size_t)b * lines * ACC_ISA_LINE_BYTES, (acc_isa_format)format, 32u << group,
                   (uint32_t)groups, bias != 0, (uint32_t)m_most);
    for (int k = 0; k < groups * (32 << group); k++) codes[k] = (int8_t)((int32_t)(draw() % 255) - 127);
    model = (acc_model){.channels = 1,
                        .lines = lines * (uint32_t)blocks,
                        .memory = memory,
                        .vmem = vmem,
                        .codes = codes,
                        .quads = quads,
                        .scale = draw_float()};
    acc_model_mm(&model, &i);
    return model.error == ACC_ERROR_NONE ? (int)model.lines : -1;
}

static int word(const void *p, int k)
{
    int u;
    memcpy(&u, (const uint8_t *)p + (size_t)k * sizeof u, sizeof u);
    return u;
}

int golden_mm_line(int line, int k)
{
    return word(memory, line * 16 + k);
}

int golden_mm_quad(int quad)
{
    return word(codes, quad);
}

int golden_mm_scale(void)
{
    return word(&model.scale, 0);
}

int golden_mm_row(int row)
{
    return word(vmem, row);
}

/* A block of 16 keys or values with what it meets: 8-bit query codes or 8-bit probabilities. */
static int32_t kv_want[ACC_ISA_HEAD_DIM_MAX], kv_operand[ACC_ISA_HEAD_DIM_MAX];

int golden_kv_open(int bits, int value, int dims, int seed)
{
    acc_cache_map map = {.dims = (uint32_t)dims, .bits = {8, (uint32_t)bits, 8}};
    const uint32_t lines = acc_cache_block_lines(&map, ACC_KV_WINDOW) - 1;
    int8_t q[ACC_ISA_HEAD_DIM_MAX];
    uint32_t p[ACC_ISA_STRIP];
    stream = (uint64_t)seed;
    drawn = 0;
    draw_bytes(memory, (size_t)lines * ACC_ISA_LINE_BYTES);
    for (uint32_t i = 0; bits == 8 && i < lines * ACC_ISA_LINE_BYTES; i++)
        if (memory[i] == 0x80) memory[i] = 0x81;
    memset(kv_want, 0, sizeof kv_want);
    for (int d = 0; d < dims; d++) q[d] = (int8_t)((int32_t)(draw() % 255) - 127);
    for (int j = 0; j < ACC_ISA_STRIP; j++) p[j] = draw() % 256;
    for (int k = 0; k < dims; k++) kv_operand[k] = value ? (int32_t)p[k % ACC_ISA_STRIP] : q[k];
    if (value)
        acc_cache_weigh(&map, ACC_KV_WINDOW, memory, p, 0, (uint32_t *)kv_want);
    else
        acc_cache_dot(&map, ACC_KV_WINDOW, memory, q, kv_want);
    return (int)lines;
}

int golden_kv_operand(int k)
{
    return kv_operand[k];
}

int golden_kv_want(int k)
{
    return kv_want[k];
}
