/*
 * What the sequencer's bench compares with: random programs, good and spoilt, played by the library's own sequencer
 * (src/accel/sequencer.c) as the hardware reports what it begins and ends; and the geometry's check.
 */
#include <string.h>

#include "accel/cache_map.h"
#include "accel/sequencer.h"
#include "core/hash.h"
#include "svdpi.h"

#define LIMIT 128 /* instructions: the bench's channel has 32 lines */

static acc_inst program[LIMIT];
static acc_sequencer seq;
static uint64_t stream, drawn; /* of acc_random() */

static uint32_t draw(uint32_t below)
{
    return (uint32_t)(acc_random(stream, drawn++) % below);
}

/* An instruction that is good by itself, of any fields. */
static acc_inst draw_inst(acc_isa_opcode op)
{
    const acc_isa_layout *l = &acc_isa_layouts[op];
    const char *why;
    acc_inst i;
    do {
        i = acc_inst_make(op, 0, 0);
        for (uint32_t k = 0; k < l->n_fields; k++)
            (void)acc_inst_set(&i, l->fields[k].id,
                               acc_random(stream, drawn++) & ((UINT64_C(1) << l->fields[k].width) - 1));
    } while (acc_inst_bad(&i, &why) != ACC_ERROR_NONE);
    return i;
}

static acc_inst draw_masked(acc_isa_opcode op, unsigned wait, unsigned signal)
{
    const acc_inst body = draw_inst(op), masks = acc_inst_make(op, wait, signal);
    return (acc_inst){{body.w[0], body.w[1] | masks.w[1]}};
}

/* n instructions for the queues; what is signalled among them is waited for among them. */
static uint32_t draw_body(acc_inst *p, uint32_t n, uint32_t coupling)
{
    static const acc_isa_opcode ops[] = {ACC_OP_MM, ACC_OP_ATT, ACC_OP_KVW, ACC_OP_VEC, ACC_OP_MOV, ACC_OP_TOP};
    uint32_t up[ACC_QUEUE_COUNT][ACC_QUEUE_COUNT] = {{0}}, left = 0;
    for (uint32_t at = 0;; at++) {
        const acc_isa_opcode op = ops[draw(6)];
        const int q = acc_isa_layouts[op].queue;
        unsigned wait = 0, signal = 0;
        for (int other = 0; other < ACC_QUEUE_COUNT; other++) {
            if (other == q) continue;
            if (up[other][q] > 0 && (at >= n || draw(2))) {
                wait |= 1u << other;
                up[other][q]--;
                left--;
            }
            if (at < n && draw(8) < coupling) {
                signal |= 1u << other;
                up[q][other]++;
                left++;
            }
        }
        p[at] = draw_masked(op, wait, signal);
        if (at + 1 >= n && left == 0) return at + 1;
        if (at == n + 24) return 0;
    }
}

/* A program that passes the check; its length. */
static uint32_t draw_program(void)
{
    accllm_error err;
    uint32_t n = 0;
    do {
        const uint32_t coupling = draw(4), parts = 1 + draw(3);
        bool ok = true;
        n = 0;
        for (uint32_t part = 0; part < parts && ok; part++) {
            const uint32_t loop = n;
            if (draw(4) == 0) n++;
            const uint32_t body = draw_body(program + n, 1 + draw(7), coupling);
            ok = body > 0;
            if (loop < n) {
                program[loop] = draw_inst(ACC_OP_LOOP);
                ok &= acc_inst_set(&program[loop], ACC_F_LENGTH, body) &&
                      acc_inst_set(&program[loop], ACC_F_ROUNDS, 1 + draw(12));
            }
            n += body;
            if (draw(4) == 0) {
                program[n] = acc_inst_make(ACC_OP_END, 0, 0);
                ok &= acc_inst_set(&program[n++], ACC_F_WHEN, ACC_WHEN_NO_LOGITS);
            }
        }
        program[n++] = acc_inst_make(ACC_OP_END, 0, 0);
        if (!ok) n = 0;
    } while (n == 0 || acc_program_check(program, n, &err) != ACCLLM_OK);
    return n;
}

/* Of a pair of queues: n signals come before the first of those that wait for one of them. */
static void fill_semaphore(acc_inst *p, uint32_t pair, uint32_t n)
{
    static const acc_isa_opcode ops[] = {ACC_OP_MM, ACC_OP_KVW, ACC_OP_VEC};
    const uint32_t from = pair / 2, to = (from + 1 + pair % 2) % 3, third = 3 - from - to;
    for (uint32_t k = 1; k <= n; k++) *p++ = draw_masked(ops[from], 0, 1u << to | (k < n ? 0 : 1u << third));
    *p++ = draw_masked(ops[third], 1u << from, 1u << to);
    for (uint32_t k = 0; k < n; k++) *p++ = draw_masked(ops[to], 1u << from | (k ? 0 : 1u << third), 0);
    *p = acc_inst_make(ACC_OP_END, 0, 0);
}

/* 0: a good program; 1: one bit of it is wrong; 2: one of its masks; 3: an instruction is nonsense; 4: it has no end,
 * and nor has the channel; 5: a semaphore is filled, by odd seeds too much. */
void golden_program_open(int kind, int seed)
{
    stream = (uint64_t)(uint32_t)seed;
    drawn = 0;
    memset(program, 0, sizeof program);
    if (kind == 5) {
        fill_semaphore(program, (uint32_t)seed / 2 % 6, ACC_ISA_SEMAPHORE_MAX + (uint32_t)seed % 2);
        return;
    }
    const uint32_t n = draw_program(), at = draw(n);
    const unsigned bit = kind == 1 ? draw(128) : 118 + draw(6);
    if (kind == 1 || kind == 2) program[at].w[bit / 64] ^= UINT64_C(1) << bit % 64;
    if (kind == 3) program[at] = (acc_inst){{acc_random(stream, drawn++), acc_random(stream, drawn++)}};
    for (uint32_t i = n - 1; kind == 4 && i < LIMIT; i++) program[i] = draw_inst(ACC_OP_VEC);
}

int golden_program_word(int at, int k)
{
    return (int)(uint32_t)(program[at].w[k / 2] >> (32 * (k % 2)));
}

void golden_seq_start(int logits)
{
    seq = acc_sequencer_start(program, LIMIT, logits != 0);
}

static acc_issue present; /* what the questions below are about */

/* The queue's first instruction: may it begin? */
int golden_seq_ready(int queue)
{
    const acc_issue *i = acc_sequencer_ready(&seq, queue);
    if (i) present = *i;
    return i != NULL;
}

int golden_seq_word(int k)
{
    return (int)(uint32_t)(present.inst.w[k / 2] >> (32 * (k % 2)));
}

int golden_seq_pc(void)
{
    return (int)present.pc;
}

int golden_seq_round(void)
{
    return (int)present.round;
}

/* The queues' instructions have ended in the same cycle; the queues (a mask) that signalled too much. */
int golden_seq_retire(int queues)
{
    int over = 0;
    for (int q = 0; q < ACC_QUEUE_COUNT; q++)
        if (queues >> q & 1) (void)acc_sequencer_retire(&seq, q);
    for (int q = 0; q < ACC_QUEUE_COUNT; q++)
        for (int other = 0; other < ACC_QUEUE_COUNT; other++)
            if (seq.level[q][other] > ACC_ISA_SEMAPHORE_MAX) over |= 1 << q;
    return over;
}

int golden_seq_done(void)
{
    return acc_sequencer_done(&seq);
}

/* The refused instruction's error, 0: none; the questions are about it. */
int golden_seq_refused(void)
{
    present = (acc_issue){.pc = seq.pc, .round = seq.round};
    return (int)seq.error;
}

/* Whether none can begin; the questions are about the oldest. */
int golden_seq_stuck(void)
{
    for (int q = 0; q < ACC_QUEUE_COUNT; q++)
        if (acc_sequencer_ready(&seq, q)) return 0;
    const acc_issue *i = acc_sequencer_oldest(&seq);
    if (i) present = *i;
    return i != NULL;
}

/* In the order of acc_geometry. */
int golden_geometry_bad(int heads, int kv_heads, int head_dim, int sinks, int window, int page, int kv_bits, int near,
                        int ring_pages, int near_positions)
{
    const acc_geometry g = {.n_heads = (uint32_t)heads,
                            .n_kv_heads = (uint32_t)kv_heads,
                            .head_dim = (uint32_t)head_dim,
                            .sinks = (uint32_t)sinks,
                            .window = (uint32_t)window,
                            .page = (uint32_t)page,
                            .kv_bits = (uint32_t)kv_bits,
                            .near = (uint32_t)near,
                            .ring_pages = (uint32_t)ring_pages,
                            .near_positions = (uint32_t)near_positions};
    return acc_geometry_bad(&g) != NULL;
}
