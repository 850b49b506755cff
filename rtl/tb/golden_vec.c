/*
 * What the vector unit's bench compares with: the device model's own VEC, MOV and TOP (src/accel/model_vector.c) on one
 * copy of the memories, while the hardware works on another. Draws instructions and what they work on; floats travel
 * as their bits. Each bench of a run has its own state.
 */
#include <math.h>
#include <string.h>

#include "accel/image.h"
#include "accel/model_internal.h"
#include "core/hash.h"
#include "svdpi.h"

#define BENCHES 3
#define CHANNELS 4
#define LINES 2048

enum what { NORM, CODES, SILU, EMBED, STORE, TOP };

typedef struct memories {
    uint8_t lines[CHANNELS * LINES * ACC_ISA_LINE_BYTES];
    float vmem[ACC_ISA_VMEM_BLOCKS * ACC_ISA_LANES];
    int8_t codes[ACC_ISA_CODES_MAX];
    float scale;
} memories;

static struct bench {
    memories want, got;
    float gain[2 * ACC_ISA_CODES_MAX];
    acc_model model; /* works on `want` */
    acc_inst inst;
    uint64_t stream, drawn; /* of acc_random() */
} benches[BENCHES];

static uint32_t draw(struct bench *b)
{
    return (uint32_t)acc_random(b->stream, b->drawn++);
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Kinds of vectors: of middling size, with zeros; below and about 2^-100; near the largest float; about -20 to 20. */
static float draw_float(struct bench *b, int kind)
{
    static const uint32_t edges[] = {0,          0x80000000, 0x41800000, 0xc1800000, 0x417fffff,
                                     0xc17fffff, 0x41800001, 0xc1800001, 0x00000001, 0xb5800000};
    const uint32_t u = draw(b) & 0x807fffff, r = draw(b);
    if (kind == 1) return float_of(u | (r % 8 == 0 ? 0 : 20 + r % 7) << 23);
    if (kind == 2) return float_of(u | (240 + r % 14) << 23);
    if (kind == 3) return r % 8 == 0 ? float_of(edges[r / 8 % 10]) : ((float)(r >> 8) * 0x1p-24f - 0.5f) * 40;
    return r % 16 == 0 ? float_of(u & 0x80000000) : float_of(u | (110 + r / 16 % 30) << 23);
}

static void put_block(struct bench *b, uint32_t block, uint32_t n, int kind)
{
    float *x = b->want.vmem + (size_t)block * ACC_ISA_LANES;
    for (uint32_t i = 0; i < n * ACC_ISA_LANES; i++) x[i] = draw_float(b, kind);
    if (draw(b) % 16 == 0) x[draw(b) % (n * ACC_ISA_LANES)] = draw(b) % 2 ? NAN : -INFINITY;
}

/* Lines [line, line + n) of every channel, as floats. */
static void put_lines(struct bench *b, uint32_t line, uint32_t n, int kind)
{
    for (uint32_t c = 0; c < b->model.channels; c++)
        for (uint32_t k = 0; k < n * 16; k++) {
            const float x = draw_float(b, kind);
            memcpy(acc_model_line(&b->model, c, line) + (size_t)4 * k, &x, sizeof x);
        }
}

static void set(struct bench *b, acc_isa_operand f, uint32_t value)
{
    (void)acc_inst_set(&b->inst, f, value);
}

static uint32_t draw_length(struct bench *b)
{
    const uint32_t r = draw(b);
    if (r % 64 == 0) return ACC_ISA_CODES_MAX - r / 64 % 70;
    return r % 4 == 0 ? 64 * (1 + r / 64 % 10) : 1 + r / 64 % 700;
}

static void draw_vec(struct bench *b, enum what what)
{
    const uint32_t n = draw_length(b), blocks = (uint32_t)acc_blocks_of(n);
    const uint32_t span = what == SILU ? 2 * blocks : blocks, src = draw(b) % (ACC_ISA_VMEM_BLOCKS + 1 - span);
    const uint32_t gain = draw(b) % (LINES + 1 - acc_vector_lines(n, b->model.channels));
    const uint32_t apart = draw(b) % (ACC_ISA_VMEM_BLOCKS + 1 - blocks), near = src + draw(b) % span;
    const uint32_t dst = draw(b) % 2 && near + blocks <= ACC_ISA_VMEM_BLOCKS ? near : apart;
    const int kind = what == SILU ? 3 : (int)(draw(b) % 4);
    b->inst = acc_inst_make(ACC_OP_VEC, draw(b) % 8, draw(b) % 8);
    set(b, ACC_F_OP, what == NORM ? ACC_VECTOR_NORM : what == CODES ? ACC_VECTOR_CODES : ACC_VECTOR_SILU);
    set(b, ACC_F_N, n);
    set(b, ACC_F_SRC, src);
    set(b, ACC_F_DST, dst);
    set(b, ACC_F_GAIN, gain);
    put_block(b, src, span, kind);
    if (what == NORM) put_lines(b, gain, acc_vector_lines(n, b->model.channels), kind == 2 ? 2 : 0);
    const uint32_t r = draw(b) % 24; /* what the hardware has to refuse */
    if (r == 0) set(b, ACC_F_N, draw(b) % 2 ? 0 : ACC_ISA_CODES_MAX + 1);
    if (r == 1) set(b, ACC_F_SRC, ACC_ISA_VMEM_BLOCKS + 1 - span);
    if (r == 2) set(b, ACC_F_OP, ACC_VECTOR_COUNT);
    if (r == 3 && what == NORM) set(b, ACC_F_GAIN, LINES + 1 - acc_vector_lines(n, b->model.channels));
    if (r == 3 && what == SILU) set(b, ACC_F_DST, ACC_ISA_VMEM_BLOCKS + 1 - blocks);
}

static void draw_mov(struct bench *b, enum what what)
{
    const uint32_t n = draw_length(b), vector = acc_vector_lines(n, b->model.channels);
    b->inst = acc_inst_make(ACC_OP_MOV, draw(b) % 8, draw(b) % 8);
    set(b, ACC_F_N, n);
    set(b, ACC_F_BLOCK, draw(b) % (ACC_ISA_VMEM_BLOCKS + 1 - (uint32_t)acc_blocks_of(n)));
    set(b, ACC_F_OP, what == EMBED ? ACC_MOVE_EMBED : ACC_MOVE_STORE);
    set(b, ACC_F_GROUP, draw(b) % 3);
    set(b, ACC_F_GROUPED, draw(b) % 2);
    set(b, ACC_F_SCALED, draw(b) % 2);
    const uint32_t lines = what == EMBED ? acc_embedding_lines(&b->inst) : vector;
    uint32_t address = draw(b) % (LINES + 1 - lines), scale = draw(b) % (LINES + 1 - vector), token = 0;
    if (what == EMBED) {
        put_lines(b, address, LINES - address, 0);
        put_lines(b, scale, vector, 0);
        token = draw(b) % ((LINES - address) / lines * b->model.channels);
    }
    const uint32_t r = draw(b) % 24;
    if (r == 0) set(b, ACC_F_N, draw(b) % 2 ? 0 : ACC_ISA_CODES_MAX + 1);
    if (r == 1) set(b, ACC_F_BLOCK, ACC_ISA_VMEM_BLOCKS + 1 - (uint32_t)acc_blocks_of(n));
    if (r == 2) address = LINES + 1 - lines;
    if (r == 3) scale = LINES + 1 - vector;
    if (r == 4) token = draw(b);
    if (r < 3 || r == 5) token %= b->model.channels; /* the first row: the last lines, or one too many */
    if (r == 5) address = LINES - lines;
    if (r == 6 || r == 7) /* its row a power of two behind one that is there */
        token = (uint32_t)(((UINT64_C(4096) << draw(b) % 20) / lines + 1) * b->model.channels);
    set(b, ACC_F_ADDRESS, address);
    set(b, ACC_F_SCALE, scale);
    b->model.reg[ACC_REG_TOKEN / 4] = token;
}

/* Logits: equal ones, NaN and infinities among them. */
static void draw_top(struct bench *b)
{
    const uint32_t n = 1 + draw(b) % (draw(b) % 4 == 0 ? 4096 * b->model.channels : 300);
    const uint32_t lines = ((uint32_t)acc_blocks_of(n) + b->model.channels - 1) / b->model.channels * 4;
    const uint32_t address = draw(b) % (LINES + 1 - lines), kind = draw(b) % 4;
    b->inst = acc_inst_make(ACC_OP_TOP, draw(b) % 8, draw(b) % 8);
    for (uint32_t c = 0; c < b->model.channels; c++)
        for (uint32_t k = 0; k < 16 * lines; k++) {
            const uint32_t r = draw(b);
            float x = kind == 0 ? (float)(r % 7) - 9 : draw_float(b, kind == 1 ? 3 : 0);
            if (kind == 2) x = r % 3 == 0 ? NAN : r % 3 == 1 ? -INFINITY : float_of(r & 0x80000000);
            if (kind == 3 && r % 64 == 0) x = NAN;
            memcpy(acc_model_line(&b->model, c, address) + (size_t)4 * k, &x, sizeof x);
        }
    const uint32_t r = draw(b) % 16;
    set(b, ACC_F_N, r == 0 ? 0 : n);
    set(b, ACC_F_ADDRESS, r == 1 ? LINES + 1 - lines : address);
}

/* Draws an instruction and what it works on. */
void golden_vec_draw(int id, int channels, int what, int seed)
{
    struct bench *b = &benches[id];
    const float epsilon = seed % 8 == 0 ? 0 : 1e-5f;
    b->stream = (uint64_t)seed;
    b->drawn = 0;
    b->model.channels = (uint32_t)channels;
    b->model.lines = LINES;
    b->model.memory = b->want.lines;
    b->model.vmem = b->want.vmem;
    b->model.codes = b->want.codes;
    b->model.gain = b->gain;
    b->model.scale = b->want.scale;
    b->model.error = ACC_ERROR_NONE;
    memcpy(&b->model.reg[ACC_REG_NORM_EPSILON / 4], &epsilon, sizeof epsilon);
    if (what <= SILU)
        draw_vec(b, (enum what)what);
    else if (what <= STORE)
        draw_mov(b, (enum what)what);
    else
        draw_top(b);
    b->got = b->want;
}

/* Words 0..3: the instruction; then token and epsilon. */
int golden_vec_word(int id, int k)
{
    const struct bench *b = &benches[id];
    if (k < 4) return (int)(uint32_t)(b->inst.w[k / 2] >> (32 * (k % 2)));
    return (int)b->model.reg[(k == 4 ? ACC_REG_TOKEN : ACC_REG_NORM_EPSILON) / 4];
}

/* Runs it on the model; its error. */
int golden_vec_run(int id)
{
    struct bench *b = &benches[id];
    const unsigned op = acc_inst_opcode(&b->inst);
    if (op == ACC_OP_VEC)
        acc_model_vec(&b->model, &b->inst);
    else if (op == ACC_OP_MOV)
        acc_model_mov(&b->model, &b->inst);
    else
        acc_model_top(&b->model, &b->inst);
    b->want.scale = b->model.scale;
    return (int)b->model.error;
}

/* 0: what the hardware has left is the same; else which memory is not: 1 vector memory, 2 lines, 3 codes, 4 scale. */
int golden_vec_differs(int id)
{
    const struct bench *b = &benches[id];
    if (memcmp(b->want.vmem, b->got.vmem, sizeof b->got.vmem) != 0) return 1;
    if (memcmp(b->want.lines, b->got.lines, sizeof b->got.lines) != 0) return 2;
    if (memcmp(b->want.codes, b->got.codes, sizeof b->got.codes) != 0) return 3;
    return memcmp(&b->want.scale, &b->got.scale, sizeof b->got.scale) != 0 ? 4 : 0;
}

int golden_vec_best(int id)
{
    return (int)benches[id].model.reg[ACC_REG_BEST_TOKEN / 4];
}

/* ---- the hardware's own memories: words of 4 bytes, in lines and words of 16 ---- */

static void *line_at(int id, int channel, int line, int k)
{
    return benches[id].got.lines + ((size_t)channel * LINES + (size_t)line) * ACC_ISA_LINE_BYTES +
           (size_t)4 * (size_t)k;
}

int golden_vec_line(int id, int channel, int line, int k)
{
    int u;
    memcpy(&u, line_at(id, channel, line, k), sizeof u);
    return u;
}

void golden_vec_put_line(int id, int channel, int line, int k, int u)
{
    memcpy(line_at(id, channel, line, k), &u, sizeof u);
}

int golden_vec_float(int id, int word, int k)
{
    int u;
    memcpy(&u, &benches[id].got.vmem[16 * word + k], sizeof u);
    return u;
}

void golden_vec_put_float(int id, int word, int k, int u)
{
    memcpy(&benches[id].got.vmem[16 * word + k], &u, sizeof u);
}

void golden_vec_put_codes(int id, int quad, int u)
{
    memcpy(&benches[id].got.codes[4 * quad], &u, sizeof u);
}

void golden_vec_put_scale(int id, int u)
{
    memcpy(&benches[id].got.scale, &u, sizeof u);
}
