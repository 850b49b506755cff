#include "accel/program.h"

#include <stdio.h>
#include <string.h>

#include "accel/sequencer.h"

#define OPERAND_BITS 118u     /* below the masks */
#define MOST_STEPS (1u << 20) /* with loops unrolled: a bound on the time of the check */

static const acc_isa_field *field(const acc_inst *i, acc_isa_operand f)
{
    unsigned op = acc_inst_opcode(i);
    if (op >= ACC_OP_COUNT) return NULL;
    const acc_isa_layout *l = &acc_isa_layouts[op];
    for (uint32_t k = 0; k < l->n_fields; k++)
        if (l->fields[k].id == f) return &l->fields[k];
    return NULL;
}

static void put(acc_inst *i, unsigned low, unsigned width, uint64_t value)
{
    for (unsigned b = 0; b < width; b++) {
        uint64_t bit = UINT64_C(1) << ((low + b) % 64), *w = &i->w[(low + b) / 64];
        *w = value >> b & 1 ? *w | bit : *w & ~bit;
    }
}

uint32_t acc_inst_get(const acc_inst *i, acc_isa_operand f)
{
    const acc_isa_field *at = field(i, f);
    return at ? (uint32_t)acc_inst_bits(i, at->low, at->width) : 0;
}

acc_inst acc_inst_make(acc_isa_opcode op, unsigned wait, unsigned signal)
{
    acc_inst i = {{0, 0}};
    put(&i, 124, 4, op);
    put(&i, 121, 3, wait);
    put(&i, 118, 3, signal);
    return i;
}

bool acc_inst_set(acc_inst *i, acc_isa_operand f, uint64_t value)
{
    const acc_isa_field *at = field(i, f);
    if (!at || value >> at->width) return false;
    put(i, at->low, at->width, value);
    return true;
}

static void mask_text(unsigned mask, const char *word, char *buf, size_t cap)
{
    size_t n = strlen(buf);
    if (mask)
        (void)snprintf(buf + n, cap - n, " %s=%s%s%s", word, mask & 1 << ACC_QUEUE_ENGINE ? "E" : "",
                       mask & 1 << ACC_QUEUE_CACHE ? "C" : "", mask & 1 << ACC_QUEUE_VECTOR ? "V" : "");
}

void acc_inst_text(const acc_inst *i, char *buf, size_t cap)
{
    unsigned op = acc_inst_opcode(i);
    if (op >= ACC_OP_COUNT) {
        (void)snprintf(buf, cap, "opcode %u", op);
        return;
    }
    const acc_isa_layout *l = &acc_isa_layouts[op];
    (void)snprintf(buf, cap, "%s", l->name);
    for (uint32_t k = 0; k < l->n_fields; k++) {
        size_t n = strlen(buf);
        (void)snprintf(buf + n, cap - n, " %s=%u", acc_isa_operand_names[l->fields[k].id],
                       acc_inst_get(i, l->fields[k].id));
    }
    mask_text(acc_inst_wait(i), "wait", buf, cap);
    mask_text(acc_inst_signal(i), "signal", buf, cap);
}

acc_inst acc_inst_at_round(const acc_inst *i, const acc_inst *loop, uint32_t round)
{
    static const acc_isa_operand of[] = {
        [ACC_STRIDE_WEIGHTS] = ACC_F_WEIGHTS, [ACC_STRIDE_CACHE] = ACC_F_CACHE, [ACC_STRIDE_TRACE] = ACC_F_TRACE};
    acc_inst out = *i;
    const acc_isa_layout *l = &acc_isa_layouts[acc_inst_opcode(i)];
    for (uint32_t k = 0; k < l->n_fields; k++) {
        const acc_isa_field *f = &l->fields[k];
        if (f->stride == ACC_STRIDE_NONE) continue;
        put(&out, f->low, f->width, acc_inst_get(i, f->id) + (uint64_t)round * acc_inst_get(loop, of[f->stride]));
    }
    return out;
}

/* ---- the check ---- */

static accllm_status bad(accllm_error *err, uint32_t at, const acc_inst *i, const char *why)
{
    char text[200];
    acc_inst_text(i, text, sizeof text);
    return acc_fail(err, ACCLLM_E_FORMAT, "instruction %u, %s: %s", at, text, why);
}

/* Bits between the operands and the masks. */
static bool has_spare_bits(const acc_inst *i)
{
    const acc_isa_layout *l = &acc_isa_layouts[acc_inst_opcode(i)];
    const acc_isa_field *last = &l->fields[l->n_fields - 1];
    for (unsigned low = last->low + last->width; low < OPERAND_BITS; low += 32)
        if (acc_inst_bits(i, low, low + 32 < OPERAND_BITS ? 32 : OPERAND_BITS - low)) return true;
    return false;
}

static const char *bad_operand(const acc_inst *i)
{
    switch ((acc_isa_opcode)acc_inst_opcode(i)) {
    case ACC_OP_MM:
        if (acc_inst_get(i, ACC_F_LEVELS) >= ACC_LEVELS_COUNT) return "unknown levels";
        if (acc_inst_get(i, ACC_F_GROUP) > 2) return "unknown group";
        if (acc_inst_get(i, ACC_F_TARGET) >= ACC_TARGET_COUNT) return "unknown target";
        if (!acc_inst_get(i, ACC_F_BLOCKS) || !acc_inst_get(i, ACC_F_GROUPS)) return "an empty matrix";
        if (!acc_inst_get(i, ACC_F_STEP)) return "a step of 0";
        return NULL;
    case ACC_OP_VEC:
        if (acc_inst_get(i, ACC_F_OP) >= ACC_VECTOR_COUNT) return "unknown operation";
        return acc_inst_get(i, ACC_F_N) ? NULL : "an empty vector";
    case ACC_OP_MOV:
        if (acc_inst_get(i, ACC_F_GROUP) > 2) return "unknown group";
        return acc_inst_get(i, ACC_F_N) ? NULL : "an empty vector";
    case ACC_OP_TOP:
        return acc_inst_get(i, ACC_F_N) ? NULL : "an empty vector";
    case ACC_OP_LOOP:
        if (!acc_inst_get(i, ACC_F_LENGTH)) return "an empty loop";
        return acc_inst_get(i, ACC_F_ROUNDS) ? NULL : "a loop of no rounds";
    default:
        return NULL;
    }
}

acc_isa_error acc_inst_bad(const acc_inst *i, const char **why)
{
    const unsigned op = acc_inst_opcode(i), masks = acc_inst_wait(i) | acc_inst_signal(i);
    *why = "unknown";
    if (op >= ACC_OP_COUNT) return ACC_ERROR_BAD_OPCODE;
    const int queue = acc_isa_layouts[op].queue;
    if (has_spare_bits(i))
        *why = "bits that have no meaning";
    else if (queue < 0 && masks)
        *why = "the sequencer has no semaphores";
    else if (queue >= 0 && (masks >> queue & 1))
        *why = "a queue does not wait for itself";
    else
        *why = bad_operand(i);
    return *why ? ACC_ERROR_BAD_FIELD : ACC_ERROR_NONE;
}

static accllm_status check_one(const acc_inst *p, uint32_t at, accllm_error *err)
{
    const char *why;
    return acc_inst_bad(&p[at], &why) == ACC_ERROR_NONE ? ACCLLM_OK : bad(err, at, &p[at], why);
}

/* Loops stand side by side, with neither LOOP nor END in them; the last END, and it alone, is unconditional. */
static accllm_status check_shape(const acc_inst *p, uint32_t n, accllm_error *err)
{
    uint32_t body_end = 0;
    uint64_t unrolled = n;
    for (uint32_t i = 0; i < n; i++) {
        unsigned op = acc_inst_opcode(&p[i]);
        if (op != ACC_OP_LOOP && op != ACC_OP_END) continue;
        if (i < body_end) return bad(err, i, &p[i], "inside a loop");
        if (op == ACC_OP_LOOP) {
            uint32_t length = acc_inst_get(&p[i], ACC_F_LENGTH);
            if (length >= n - i) return bad(err, i, &p[i], "the loop reaches beyond the program");
            unrolled += (uint64_t)length * acc_inst_get(&p[i], ACC_F_ROUNDS);
            if (unrolled > MOST_STEPS) return bad(err, i, &p[i], "the program takes too many steps");
            body_end = i + 1 + length;
        } else if ((acc_inst_get(&p[i], ACC_F_WHEN) == ACC_WHEN_ALWAYS) != (i + 1 == n)) {
            return bad(err, i, &p[i], "an end that is not the last, or a last one that is conditional");
        }
    }
    if (acc_inst_opcode(&p[n - 1]) != ACC_OP_END) return bad(err, n - 1, &p[n - 1], "the program does not end");
    return ACCLLM_OK;
}

/* Runs the queue's first instruction, if it may begin. */
static accllm_status step(acc_sequencer *s, int queue, bool *begun, accllm_error *err)
{
    const acc_issue *i = acc_sequencer_ready(s, queue);
    *begun = i != NULL;
    if (!i) return ACCLLM_OK;
    const uint32_t pc = i->pc;
    return acc_sequencer_retire(s, queue) ? ACCLLM_OK : bad(err, pc, &s->p[pc], "a semaphore overflows");
}

/* What is ready stays ready, so whether all come to their end does not depend on the order. The semaphores of one
 * queue are fullest when that queue is held back until the others can do nothing more. */
static accllm_status check_flow(const acc_inst *p, uint32_t n, bool logits, int held, accllm_error *err)
{
    acc_sequencer s = acc_sequencer_start(p, n, logits);
    for (bool going = true, begun; going;) {
        going = false;
        for (int q = 0; q < ACC_QUEUE_COUNT; q++)
            for (begun = q != held; begun; going |= begun) ACC_TRY(step(&s, q, &begun, err));
        if (!going) ACC_TRY(step(&s, held, &going, err));
    }
    if (!acc_sequencer_done(&s)) {
        const acc_issue *i = acc_sequencer_oldest(&s);
        return bad(err, i->pc, &p[i->pc], "waits for ever");
    }
    for (int q = 0; q < ACC_QUEUE_COUNT; q++)
        for (int other = 0; other < ACC_QUEUE_COUNT; other++)
            if (s.level[q][other])
                return acc_fail(err, ACCLLM_E_FORMAT, "a semaphore is still up at the program's end");
    return ACCLLM_OK;
}

accllm_status acc_program_check(const acc_inst *p, uint32_t n, accllm_error *err)
{
    if (n == 0 || n > ACC_ISA_PROGRAM_MAX)
        return acc_fail(err, ACCLLM_E_FORMAT, "a program of %u instructions; 1 to %u are possible", n,
                        ACC_ISA_PROGRAM_MAX);
    for (uint32_t i = 0; i < n; i++) ACC_TRY(check_one(p, i, err));
    ACC_TRY(check_shape(p, n, err));
    for (int held = 0; held < ACC_QUEUE_COUNT; held++)
        for (int logits = 0; logits < 2; logits++) ACC_TRY(check_flow(p, n, logits, held, err));
    return ACCLLM_OK;
}
