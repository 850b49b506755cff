/*
 * What the benches of the cache units compare with: KVW and ATT of the device model (src/accel/model_cache.c) on drawn
 * geometries, positions, vectors and memory. The units read and write a copy of memory and vector memory as they were
 * before; in the end the two must be alike.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accel/image.h"
#include "accel/model_internal.h"
#include "cache/policy.h"
#include "core/hash.h"
#include "svdpi.h"

#define VMEM_FLOATS (ACC_ISA_VMEM_BLOCKS * ACC_ISA_LANES)

static acc_device device;
static acc_model *model;
static uint8_t *memory; /* the units' own */
static float vmem[VMEM_FLOATS];
static acc_inst inst;
static acc_geometry g;
static uint64_t stream, drawn;

static uint32_t draw(void)
{
    return (uint32_t)acc_random(stream, drawn++);
}

static float draw_float(uint32_t exponent, uint32_t spread)
{
    const uint32_t u = (draw() & 0x807fffff) | (exponent + draw() % spread) << 23;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static void draw_geometry(uint32_t most_heads)
{
    static const uint32_t dims[] = {2, 6, 24, 32, 36, 48, 64, 80, 100, 128, 192, 250, 256};
    g = (acc_geometry){.head_dim = draw() % 3 ? dims[draw() % (sizeof dims / sizeof *dims)] : 2 + 2 * (draw() % 128),
                       .n_kv_heads = 1 + draw() % most_heads,
                       .kv_bits = draw() % 3 ? 4 : 8,
                       .page = 16u << draw() % 3,
                       .sinks = draw() % 3 ? draw() % 40 : 0};
    g.n_heads = g.n_kv_heads * (1 + draw() % 3);
    g.window = 1 + draw() % (3 * g.page);
    if (draw() % 8 == 0) { /* more than a segment at 8 bits */
        g.n_heads = g.n_kv_heads = 1;
        g.window = 500 + draw() % 600;
        g.sinks = draw() % 2 ? 500 + draw() % 100 : 0;
    }
    const bool large = draw() % 6 == 0; /* far more of the ring than is seen */
    if (large) {
        g.head_dim = dims[draw() % 4];
        g.n_heads = g.n_kv_heads = 1;
        g.page <<= draw() % 7;
    }
    g.ring_pages = (g.window + 2 * g.page - 1) / g.page + draw() % (large ? (1u << 18) / g.page : 2);
    if (g.kv_bits == 4 && draw() % 4) {
        g.near = 1 + draw() % 40;
        g.near_positions = (g.near + 31) / 16 * 16 + 16 * (draw() % 2);
    }
}

static void set(acc_isa_register r, uint64_t value)
{
    model->reg[r / 4] = (uint32_t)value;
}

static void set_registers(void)
{
    const uint64_t some = g.sinks + draw() % (2 * g.ring_pages * g.page), kind = draw() % 8;
    const uint64_t t = kind == 0 && g.sinks ? draw() % g.sinks
                       : kind == 1          ? (UINT64_C(1) << 32) - 20 + draw() % 40
                       : kind == 2          ? UINT64_MAX - 60 + draw() % 50
                       : kind == 3          ? some * 1000
                       : kind == 4          ? (1 + draw() % 9) * ACC_ISA_SEGMENT4 + draw() % g.window
                                            : some;
    const float scale = draw_float(120, 16);
    set(ACC_REG_HEADS, g.n_heads);
    set(ACC_REG_KV_HEADS, g.n_kv_heads);
    set(ACC_REG_HEAD_DIM, g.head_dim);
    set(ACC_REG_PAGE, g.page);
    set(ACC_REG_SINKS, g.sinks);
    set(ACC_REG_WINDOW, g.window);
    set(ACC_REG_NEAR, g.near);
    set(ACC_REG_KV_BITS, g.kv_bits);
    set(ACC_REG_RING_PAGES, g.ring_pages);
    set(ACC_REG_NEAR_POSITIONS, g.near_positions);
    set(ACC_REG_POSITION_LOW, t);
    set(ACC_REG_POSITION_HIGH, t >> 32);
    set(ACC_REG_RING_PAGE, t / g.page % g.ring_pages);
    set(ACC_REG_NEAR_SLOT, g.near ? t % g.near_positions : 0);
    memcpy(&model->reg[ACC_REG_ATTENTION_SCALE / 4], &scale, sizeof scale);
}

/* What breaks a rule now and then: by a register or by a field of the instruction. */
static void spoil(void)
{
    switch (draw() % 10) {
    case 0:
        set(ACC_REG_HEAD_DIM, 255);
        break;
    case 1:
        set(ACC_REG_PAGE, 24);
        break;
    case 2:
        set(ACC_REG_HEADS, g.n_kv_heads * 2 + 1);
        break;
    case 3:
        set(ACC_REG_RING_PAGES, g.window / g.page);
        break;
    case 4:
        set(ACC_REG_ROPE, model->lines);
        break;
    case 5:
        (void)acc_inst_set(&inst, ACC_F_CACHE, model->lines - 1);
        break;
    case 6:
        (void)acc_inst_set(&inst, acc_inst_opcode(&inst) == ACC_OP_KVW ? ACC_F_VALUES : ACC_F_DST, 1023);
        break;
    case 7: /* the last two: beyond their rings, by one or in the upper bits */
        set(ACC_REG_RING_PAGE,
            draw() % 2 ? g.ring_pages : model->reg[ACC_REG_RING_PAGE / 4] | 1u << (18 + draw() % 14));
        break;
    case 8:
        set(ACC_REG_NEAR_SLOT,
            draw() % 2 ? g.near_positions : model->reg[ACC_REG_NEAR_SLOT / 4] | 1u << (9 + draw() % 23));
        break;
    default:
        (void)acc_inst_set(&inst, ACC_F_PARAMS, model->lines - 1);
        break;
    }
}

/* Vectors of one kind: of the usual size, with an outlier, tiny, zero, beyond f16, not finite, all nearly of one size.
 */
static void draw_vector(float *x, uint32_t n, uint32_t kind)
{
    const uint32_t exponent = kind == 2 ? 96 : kind == 4 ? 144 : 122, size = 122u << 23 | draw() % (1u << 23);
    for (uint32_t i = 0; i < n; i++) x[i] = kind == 3 ? 0.0f : draw_float(exponent, 6);
    for (uint32_t i = 0, k = draw() % 16; kind == 6 && i < n; i++) {
        const uint32_t u = size ^ (draw() & (0x80000000 | ((1u << k) - 1)));
        memcpy(&x[i], &u, sizeof u);
    }
    if (kind == 1) x[draw() % n] *= 256.0f;
    if (kind == 5) x[draw() % n] = draw() % 2 ? __builtin_nanf("") : __builtin_inff();
}

static void draw_vmem(void)
{
    const uint32_t n = g.head_dim;
    for (uint32_t i = 0; i + n <= VMEM_FLOATS / 8; i += n) {
        const uint32_t kind = draw() % 64;
        draw_vector(model->vmem + i, n,
                    kind < 38   ? 0
                    : kind < 48 ? 6
                    : kind < 54 ? 1
                    : kind < 58 ? 2
                    : kind < 63 ? 3
                                : 4 + draw() % 2);
    }
}

static void draw_memory(uint32_t params)
{
    const uint32_t n = g.n_kv_heads * g.head_dim;
    float x[ACC_ISA_HEAD_DIM_MAX * 8];
    for (size_t i = 0; i < model->bytes; i += sizeof(uint64_t)) {
        const uint64_t u = acc_random(stream, drawn++);
        memcpy(model->memory + i, &u, sizeof u);
    }
    for (uint32_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < n; i++) x[i] = draw_float(k ? 115 : 120, 8);
        (void)acc_model_store(model, params + k * acc_vector_lines(n, model->channels), x, n);
    }
}

/* Scales and zeros of a position that a cache can hold, for every head; below f16's normal numbers where all are tiny.
 */
static void draw_scales(const acc_cache_map *map, uint32_t cache, acc_kv_part part, uint64_t slot)
{
    const bool tiny = stream % 8 == 3;
    for (uint32_t i = 0; i < 2 * g.n_kv_heads; i++) {
        const uint32_t p = slot % ACC_ISA_STRIP, exponent = tiny ? 0 : 3 + draw() % 10;
        const uint32_t scale = draw() % 16 ? exponent << 10 | draw() % 1024 : 0;
        uint32_t channel;
        uint64_t line;
        acc_cache_place(map, part, i / 2, i % 2 != 0, (uint32_t)slot, &channel, &line);
        uint8_t *at = acc_model_line(model, channel, cache + line + acc_cache_block_lines(map, part) - 1);
        at[2 * p] = (uint8_t)scale;
        at[2 * p + 1] = (uint8_t)(scale >> 8);
        at[32 + p] = map->bits[part] == 4 ? draw() % 16 : 0;
    }
}

/* Means a few units in the last place beside the turned keys, so that nothing but the keys' last bits is left. */
static void cancel(uint32_t keys, uint32_t rope, uint32_t params)
{
    const uint32_t n = g.head_dim;
    uint64_t steps[ACC_ISA_HEAD_DIM_MAX / 2];
    float cos[ACC_ISA_HEAD_DIM_MAX / 2], sin[ACC_ISA_HEAD_DIM_MAX / 2], mean[ACC_ISA_HEAD_DIM_MAX * 5];
    (void)acc_model_load(model, rope, steps, n);
    acc_rope_angles(acc_model_position(model) % g.page, steps, n, cos, sin);
    for (uint32_t h = 0; h < g.n_kv_heads; h++) {
        float *x = model->vmem + keys * ACC_ISA_LANES + h * n;
        for (uint32_t i = 0; i < n; i++) x[i] = draw_float(138, 4);
        model->scalar.kv_turn(x, cos, sin, NULL, n, 1, mean + h * n);
    }
    for (uint32_t i = 0; i < g.n_kv_heads * n; i++) {
        uint32_t u;
        memcpy(&u, &mean[i], sizeof u);
        u += draw() % 16;
        memcpy(&mean[i], &u, sizeof u);
    }
    (void)acc_model_store(model, params, mean, g.n_kv_heads * n);
}

/* Of all that the query sees; codes, and what it does not see, are as drawn. */
static void draw_cache(const acc_cache_map *map, uint32_t cache)
{
    const acc_kv_policy p = {g.sinks, g.window, g.page, g.near, g.ring_pages};
    const uint64_t t = acc_model_position(model);
    for (uint64_t pos = 0; pos < acc_policy_sinks_end(&p, t); pos++) draw_scales(map, cache, ACC_KV_SINKS, pos);
    for (uint64_t pos = acc_policy_window_begin(&p, t); pos <= t; pos++)
        draw_scales(map, cache, ACC_KV_WINDOW, acc_policy_slot(&p, pos));
    for (uint64_t pos = acc_policy_near_begin(&p, t); g.near && pos <= t; pos++)
        draw_scales(map, cache, ACC_KV_NEAR, pos % g.near_positions);
}

/* Draws a case and lets the model execute it; its error, or -1 where the bench cannot hold it. */
int golden_cache_open(int op, int channels, int seed)
{
    accllm_error err;
    stream = (uint64_t)seed;
    drawn = 0;
    draw_geometry(op == ACC_OP_ATT ? 2 : 5);
    const acc_cache_map map = acc_cache_plan((uint32_t)channels, &g);
    const uint32_t n = g.n_kv_heads * g.head_dim, far = draw() % 4 ? 0 : draw() % (1u << 16) / (uint32_t)channels;
    const uint32_t rope = far + draw() % 3,
                   params = rope + acc_vector_lines(g.head_dim, (uint32_t)channels) + draw() % 3;
    const uint32_t cache = params + 2 * acc_vector_lines(n, (uint32_t)channels) + draw() % 3;
    const uint32_t lines = cache + (uint32_t)map.layer_lines;
    if (device.ops) device.ops->close(device.self);
    if (acc_device_model_open(&device, (uint32_t)channels, lines, NULL, 0, &err) != ACCLLM_OK) return -1;
    model = device.self;
    free(memory);
    memory = malloc(model->bytes);
    if (!memory) return -1;
    set_registers();
    set(ACC_REG_ROPE, rope);
    inst = acc_inst_make((acc_isa_opcode)op, 0, 0);
    bool ok = acc_inst_set(&inst, ACC_F_CACHE, cache) && acc_inst_set(&inst, ACC_F_PARAMS, params) &&
              acc_inst_set(&inst, ACC_F_MEAN, draw() % 2);
    const uint32_t first = draw() % 4, second = first + (uint32_t)acc_blocks_of(g.n_heads * g.head_dim) + draw() % 3;
    if (op == ACC_OP_KVW)
        ok = ok && acc_inst_set(&inst, ACC_F_KEYS, first) && acc_inst_set(&inst, ACC_F_VALUES, second) &&
             acc_inst_set(&inst, ACC_F_DIRECTION, draw() % 2);
    else
        ok = ok && acc_inst_set(&inst, ACC_F_QUERIES, first) && acc_inst_set(&inst, ACC_F_DST, second);
    draw_memory(params);
    if (op == ACC_OP_ATT) draw_cache(&map, cache);
    draw_vmem();
    if (op == ACC_OP_KVW && acc_inst_get(&inst, ACC_F_MEAN) && draw() % 2) cancel(first, rope, params);
    if (draw() % 12 == 0) spoil();
    memcpy(memory, model->memory, model->bytes);
    memcpy(vmem, model->vmem, sizeof vmem);
    if (!ok) return -1;
    (op == ACC_OP_KVW ? acc_model_kvw : acc_model_att)(model, &inst);
    return (int)model->error;
}

int golden_cache_lines(void)
{
    return (int)model->lines;
}

/* As acc_unit_pkg::settings_t orders them. */
void golden_cache_settings(svBitVecVal *s)
{
    static const acc_isa_register order[] = {
        ACC_REG_HEADS,      ACC_REG_KV_HEADS,       ACC_REG_HEAD_DIM,      ACC_REG_PAGE,
        ACC_REG_SINKS,      ACC_REG_WINDOW,         ACC_REG_NEAR,          ACC_REG_KV_BITS,
        ACC_REG_RING_PAGES, ACC_REG_NEAR_POSITIONS, ACC_REG_POSITION_HIGH, ACC_REG_POSITION_LOW,
        ACC_REG_RING_PAGE,  ACC_REG_NEAR_SLOT,      ACC_REG_ROPE,          ACC_REG_ATTENTION_SCALE};
    for (int k = 0; k < 16; k++) s[15 - k] = acc_model_reg(model, order[k]);
}

void golden_cache_inst(svBitVecVal *i)
{
    memcpy(i, &inst, sizeof inst);
}

void golden_cache_read(int channel, int line, svBitVecVal *data)
{
    memcpy(data, memory + ((size_t)channel * model->lines + (size_t)line) * ACC_ISA_LINE_BYTES, ACC_ISA_LINE_BYTES);
}

void golden_cache_write(int channel, int line, const svBitVecVal *data, const svBitVecVal *strb)
{
    uint8_t *at = memory + ((size_t)channel * model->lines + (size_t)line) * ACC_ISA_LINE_BYTES;
    for (int k = 0; k < (int)ACC_ISA_LINE_BYTES; k++)
        if (strb[k / 32] >> k % 32 & 1) at[k] = (uint8_t)(data[k / 4] >> k % 4 * 8);
}

void golden_cache_vmem_read(int word, svBitVecVal *data)
{
    memcpy(data, vmem + (size_t)word * 16, 64);
}

void golden_cache_vmem_write(int word, const svBitVecVal *data, int mask)
{
    for (int k = 0; k < 16; k++)
        if (mask >> k & 1) memcpy(vmem + (size_t)word * 16 + k, &data[k], sizeof *data);
}

/* What is not as the model left it, on stderr; how many places. */
int golden_cache_differences(void)
{
    int n = 0;
    for (size_t i = 0; i < model->bytes; i++)
        if (memory[i] != model->memory[i] && n++ < 8)
            (void)fprintf(stderr, "channel %zu, line %zu, byte %zu: %02x, not %02x\n", i / 64 / model->lines,
                          i / 64 % model->lines, i % 64, memory[i], model->memory[i]);
    for (size_t i = 0; i < VMEM_FLOATS; i++)
        if (memcmp(&vmem[i], &model->vmem[i], sizeof *vmem) && n++ < 8)
            (void)fprintf(stderr, "vector memory, float %zu: %a, not %a\n", i, (double)vmem[i], (double)model->vmem[i]);
    return n;
}

/* A line on the case, for messages. */
void golden_cache_say(void)
{
    (void)fprintf(
        stderr,
        "%u channels; heads %u / %u x %u; sinks %u, window %u, page %u, %u bits, near %u; ring %u pages, near ring "
        "%u; position %llu\n",
        model->channels, g.n_heads, g.n_kv_heads, g.head_dim, g.sinks, g.window, g.page, g.kv_bits, g.near,
        g.ring_pages, g.near_positions, (unsigned long long)acc_model_position(model));
}
