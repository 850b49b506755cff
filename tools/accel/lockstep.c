#include "lockstep.h"

#include <string.h>

#include "accel/device_model.h"
#include "accel/model_internal.h"
#include "core/memory.h"

typedef struct lockstep {
    acc_device model, rtl;
    acc_image_header h;
    acc_rtl_view *view;
    acc_issue last;                 /* instruction that ended last */
    bool written[ACC_REGION_COUNT]; /* since the last comparison */
    lockstep_counts counts;
} lockstep;

/* ---- differences ---- */

static accllm_status differs(const lockstep *p, accllm_error *err, const char *what, uint64_t at, uint64_t index,
                             uint32_t rtl, uint32_t model)
{
    char text[90];
    acc_inst_text(&p->last.inst, text, sizeof text);
    return acc_fail(err, ACCLLM_E_IO, "instruction %u, round %u: %s %llu, %llu: RTL %08x, model %08x: %s", p->last.pc,
                    p->last.round, what, (unsigned long long)at, (unsigned long long)index, rtl, model, text);
}

static uint32_t word(const void *x, size_t i)
{
    uint32_t u;
    memcpy(&u, (const uint8_t *)x + 4 * i, sizeof u);
    return u;
}

/* The words of two pieces of memory in rows of so many words. */
static accllm_status compare(const lockstep *p, const char *what, const void *rtl, const void *model, size_t words,
                             uint32_t per_row, uint64_t first_row, accllm_error *err)
{
    if (memcmp(rtl, model, words * 4) == 0) return ACCLLM_OK;
    size_t i = 0;
    while (word(rtl, i) == word(model, i)) i++;
    return differs(p, err, what, first_row + i / per_row, i % per_row, word(rtl, i), word(model, i));
}

static accllm_status compare_lines(lockstep *p, const char *what, uint32_t line, uint32_t lines, accllm_error *err)
{
    for (uint32_t c = 0; c < p->h.channels; c++) {
        char name[40];
        uint64_t bytes;
        const uint64_t at = (uint64_t)line * ACC_ISA_LINE_BYTES;
        const uint8_t *rtl = acc_rtl_memory(&p->rtl, c, &bytes);
        (void)snprintf(name, sizeof name, "channel %u, %s: line, word", c, what);
        ACC_TRY(compare(p, name, rtl + at, acc_model_line(p->model.self, c, line),
                        (size_t)lines * ACC_ISA_LINE_BYTES / 4, ACC_ISA_LINE_BYTES / 4, line, err));
    }
    return ACCLLM_OK;
}

static accllm_status compare_state(lockstep *p, accllm_error *err)
{
    const acc_model *m = p->model.self;
    const acc_rtl_view *v = p->view;
    ACC_TRY(compare(p, "vector memory: block, row", v->vmem, m->vmem, sizeof v->vmem / 4, ACC_ISA_LANES, 0, err));
    ACC_TRY(compare(p, "activation codes: quad, code", v->codes, m->codes, sizeof v->codes / 4, 1, 0, err));
    ACC_TRY(compare(p, "scale of the codes:", &v->scale, &m->scale, 1, 1, 0, err));
    for (int r = 0; r < ACC_REGION_COUNT; r++) {
        const acc_image_region *region = &p->h.region[r];
        if (p->written[r]) ACC_TRY(compare_lines(p, acc_isa_region_names[r], region->line, region->lines, err));
        p->written[r] = false;
    }
    p->counts.compared++;
    return ACCLLM_OK;
}

static accllm_status compare_end(lockstep *p, accllm_error *err)
{
    static const struct {
        acc_isa_register r;
        const char *name;
    } all[] = {{ACC_REG_ERROR, "register: error"},
               {ACC_REG_ERROR_AT, "register: error at"},
               {ACC_REG_ERROR_ROUND, "register: error's round"},
               {ACC_REG_ERROR_CHANNEL, "register: error's channel"},
               {ACC_REG_BEST_TOKEN, "register: best token"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const uint32_t rtl = p->rtl.ops->get(p->rtl.self, all[i].r);
        const uint32_t model = p->model.ops->get(p->model.self, all[i].r);
        if (rtl != model) return differs(p, err, all[i].name, all[i].r, 0, rtl, model);
    }
    const acc_image_region *last = &p->h.region[ACC_REGION_LOGITS];
    return compare_lines(p, "memory", 0, last->line + last->lines, err);
}

/* ---- a run ---- */

static void note_writes(lockstep *p, const acc_inst *i)
{
    switch (acc_inst_opcode(i)) {
    case ACC_OP_KVW:
        p->written[ACC_REGION_CACHE] = true;
        break;
    case ACC_OP_MOV:
        p->written[ACC_REGION_TRACE] |= acc_inst_get(i, ACC_F_OP) == ACC_MOVE_STORE;
        break;
    case ACC_OP_MM:
        p->written[ACC_REGION_LOGITS] |= acc_inst_get(i, ACC_F_TARGET) == ACC_TARGET_MEMORY;
        break;
    default:
        break;
    }
}

/* The model does what has ended in the RTL. */
static accllm_status follow(lockstep *p, accllm_error *err)
{
    const acc_rtl_view *v = p->view;
    for (int q = 0; q < ACC_QUEUE_COUNT; q++) {
        if (!v->ended[q]) continue;
        if (!acc_device_model_step(&p->model, q, &p->last))
            return acc_fail(err, ACCLLM_E_IO,
                            "instruction %u, round %u: it ended in the RTL; in the model it cannot begin, or fails",
                            v->pc[q], v->round[q]);
        if (p->last.pc != v->pc[q] || p->last.round != v->round[q])
            return acc_fail(err, ACCLLM_E_IO, "the RTL ended instruction %u, round %u; the model has %u, %u", v->pc[q],
                            v->round[q], p->last.pc, p->last.round);
        note_writes(p, &p->last.inst);
        p->counts.instructions++;
    }
    return v->quiet ? compare_state(p, err) : ACCLLM_OK;
}

static accllm_status wait_both(void *self, accllm_error *err)
{
    lockstep *p = self;
    for (;;) {
        bool done;
        ACC_TRY(acc_rtl_go_on(&p->rtl, true, &done, err));
        if (done) break;
        acc_rtl_look(&p->rtl, p->view);
        ACC_TRY(follow(p, err));
    }
    ACC_TRY(p->model.ops->wait(p->model.self, err)); /* nothing, or the instruction that failed in the RTL too */
    return compare_end(p, err);
}

/* ---- the driver's table: both are told all, the RTL answers ---- */

static accllm_status write_both(void *self, uint32_t channel, uint64_t address, const void *data, size_t bytes,
                                accllm_error *err)
{
    lockstep *p = self;
    ACC_TRY(p->model.ops->write(p->model.self, channel, address, data, bytes, err));
    return p->rtl.ops->write(p->rtl.self, channel, address, data, bytes, err);
}

static accllm_status read_rtl(void *self, uint32_t channel, uint64_t address, void *data, size_t bytes,
                              accllm_error *err)
{
    lockstep *p = self;
    return p->rtl.ops->read(p->rtl.self, channel, address, data, bytes, err);
}

static uint32_t get_rtl(void *self, acc_isa_register r)
{
    lockstep *p = self;
    return p->rtl.ops->get(p->rtl.self, r);
}

static void set_both(void *self, acc_isa_register r, uint32_t value)
{
    lockstep *p = self;
    p->model.ops->set(p->model.self, r, value);
    p->rtl.ops->set(p->rtl.self, r, value);
}

static void close_both(void *self)
{
    lockstep *p = self;
    acc_device_close(&p->model);
    acc_device_close(&p->rtl);
    acc_free(p->view);
    acc_free(p);
}

accllm_status lockstep_open(acc_device *d, const acc_image_header *h, accllm_runtime *rt, const acc_rtl_timing *timing,
                            accllm_error *err)
{
    static const acc_device_ops ops = {write_both, read_rtl, get_rtl, set_both, wait_both, close_both};
    accllm_status status;
    void *place;
    *d = (acc_device){0};
    ACC_TRY(acc_alloc(&place, 1, sizeof(lockstep), "lockstep", err));
    lockstep *p = place;
    p->h = *h;
    ACC_TRY_GOTO(acc_alloc((void **)&p->view, 1, sizeof *p->view, "lockstep", err));
    ACC_TRY_GOTO(acc_accel_open_model(&p->model, h, rt, err));
    ACC_TRY_GOTO(acc_rtl_open_timed(&p->rtl, h, rt, timing, err));
    *d = (acc_device){.ops = &ops, .self = p};
    return ACCLLM_OK;
fail:
    close_both(p);
    return status;
}

const acc_device *lockstep_rtl(const acc_device *d)
{
    const lockstep *p = d->self;
    return &p->rtl;
}

lockstep_counts lockstep_count(const acc_device *d)
{
    const lockstep *p = d->self;
    return p->counts;
}
