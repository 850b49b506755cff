#include "accel/device_model.h"

#include <string.h>

#include "accel/model_internal.h"
#include "core/hash.h"
#include "core/memory.h"

#define START 1u
#define DONE 2u
#define IDLE 4u
#define READY 8u

/* ---- a run ---- */

static void execute(acc_model *d, const acc_inst *i)
{
    static void (*const unit[ACC_OP_COUNT])(acc_model *, const acc_inst *) = {
        [ACC_OP_MM] = acc_model_mm,   [ACC_OP_ATT] = acc_model_att, [ACC_OP_KVW] = acc_model_kvw,
        [ACC_OP_VEC] = acc_model_vec, [ACC_OP_MOV] = acc_model_mov, [ACC_OP_TOP] = acc_model_top};
    unit[acc_inst_opcode(i)](d, i);
}

/* A ready queue, drawn; -1: none is. */
static int draw_queue(acc_model *d)
{
    int ready[ACC_QUEUE_COUNT], n = 0;
    for (int q = 0; q < ACC_QUEUE_COUNT; q++)
        if (acc_sequencer_ready(&d->sequencer, q)) ready[n++] = q;
    return n ? ready[acc_random(d->seed, d->drawn++) % (uint64_t)n] : -1;
}

static void report(acc_model *d, acc_isa_error error, const acc_issue *at)
{
    d->reg[ACC_REG_ERROR / 4] = error;
    d->reg[ACC_REG_ERROR_AT / 4] = at ? at->pc : 0;
    d->reg[ACC_REG_ERROR_ROUND / 4] = at ? at->round : 0;
    d->reg[ACC_REG_ERROR_CHANNEL / 4] = d->error_channel;
}

/* The program lies at the beginning of channel 0; the first error ends the run. */
static void begin(acc_model *d)
{
    const uint32_t room = d->lines * (ACC_ISA_LINE_BYTES / (uint32_t)sizeof(acc_inst));
    d->sequencer = acc_sequencer_start((const acc_inst *)(const void *)d->memory,
                                       room < ACC_ISA_PROGRAM_MAX ? room : ACC_ISA_PROGRAM_MAX,
                                       acc_model_reg(d, ACC_REG_WANT_LOGITS) != 0);
    d->error = ACC_ERROR_NONE;
    d->error_channel = 0;
    report(d, ACC_ERROR_NONE, NULL);
}

/* The instruction that is ready in the queue; false where the run ends with it. */
static bool step(acc_model *d, int queue)
{
    const acc_issue i = *acc_sequencer_ready(&d->sequencer, queue);
    execute(d, &i.inst);
    if (d->error == ACC_ERROR_NONE && !acc_sequencer_retire(&d->sequencer, queue)) d->error = ACC_ERROR_BAD_FIELD;
    if (d->error != ACC_ERROR_NONE) report(d, d->error, &i);
    return d->error == ACC_ERROR_NONE;
}

static void finish(acc_model *d)
{
    acc_sequencer *s = &d->sequencer;
    if (d->error != ACC_ERROR_NONE) return;
    while (!acc_sequencer_done(s)) {
        const int q = draw_queue(d);
        if (q < 0) {
            report(d, ACC_ERROR_DEADLOCK, acc_sequencer_oldest(s));
            return;
        }
        if (!step(d, q)) return;
    }
    report(d, s->error, &(acc_issue){.pc = s->error ? s->pc : 0, .round = s->error ? s->round : 0});
}

bool acc_device_model_step(acc_device *device, int queue, acc_issue *ended)
{
    acc_model *d = device->self;
    const acc_issue *i = d->error == ACC_ERROR_NONE ? acc_sequencer_ready(&d->sequencer, queue) : NULL;
    if (!i) return false;
    *ended = *i;
    return step(d, queue);
}

/* ---- the driver's table ---- */

static accllm_status access(const acc_model *d, uint32_t channel, uint64_t address, size_t bytes, accllm_error *err)
{
    const uint64_t room = (uint64_t)d->lines * ACC_ISA_LINE_BYTES;
    if (channel < d->channels && address <= room && bytes <= room - address) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_ARG, "accelerator: channel %u has no %zu bytes at %llu", channel, bytes,
                    (unsigned long long)address);
}

static accllm_status write_memory(void *self, uint32_t channel, uint64_t address, const void *data, size_t bytes,
                                  accllm_error *err)
{
    acc_model *d = self;
    ACC_TRY(access(d, channel, address, bytes, err));
    memcpy(acc_model_line(d, channel, 0) + address, data, bytes);
    return ACCLLM_OK;
}

static accllm_status read_memory(void *self, uint32_t channel, uint64_t address, void *data, size_t bytes,
                                 accllm_error *err)
{
    const acc_model *d = self;
    ACC_TRY(access(d, channel, address, bytes, err));
    memcpy(data, acc_model_line(d, channel, 0) + address, bytes);
    return ACCLLM_OK;
}

static uint32_t get(void *self, acc_isa_register r)
{
    acc_model *d = self;
    const uint32_t value = d->reg[r / 4];
    if (r == ACC_REG_CONTROL) d->reg[r / 4] &= ~(DONE | READY);
    return value;
}

static void set(void *self, acc_isa_register r, uint32_t value)
{
    acc_model *d = self;
    if (r == ACC_REG_CONTROL) {
        d->reg[r / 4] = (d->reg[r / 4] & ~IDLE) | (value & START);
        if (value & START) begin(d);
    } else if (r >= ACC_REG_TOKEN && r < ACC_REG_ERROR) {
        d->reg[r / 4] = value;
    }
}

static accllm_status wait_done(void *self, accllm_error *err)
{
    acc_model *d = self;
    uint32_t *control = &d->reg[ACC_REG_CONTROL / 4];
    if (!(*control & START)) return acc_fail(err, ACCLLM_E_ARG, "accelerator: nothing was started");
    finish(d);
    *control = DONE | IDLE | READY;
    return ACCLLM_OK;
}

static void close_model(void *self)
{
    acc_model *d = self;
    acc_pages_free(d->memory, d->bytes);
    acc_free(d->vmem);
    acc_free(d->codes);
    acc_free(d->gain);
    acc_free(d->quads);
    acc_free(d->heads);
    acc_free(d);
}

static accllm_status take_memory(acc_model *d, accllm_error *err)
{
    const size_t workers = d->pool ? acc_pool_size(d->pool) : 1;
    const struct {
        void **place;
        size_t n, size;
    } all[] = {{(void **)&d->vmem, ACC_ISA_VMEM_BLOCKS * ACC_ISA_LANES, sizeof *d->vmem},
               {(void **)&d->codes, ACC_ISA_CODES_MAX, sizeof *d->codes},
               {(void **)&d->gain, 2 * ACC_ISA_CODES_MAX, sizeof *d->gain},
               {(void **)&d->quads, ACC_MODEL_QUADS, sizeof *d->quads},
               {(void **)&d->heads, workers, sizeof *d->heads}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ACC_TRY(acc_alloc(all[i].place, all[i].n, all[i].size, "device model", err));
    d->bytes = (size_t)d->channels * d->lines * ACC_ISA_LINE_BYTES;
    d->memory = acc_pages_alloc(d->bytes);
    if (d->memory) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: device model (%.1f MB)", (double)d->bytes / 1e6);
}

accllm_status acc_device_model_open(acc_device *d, uint32_t channels, uint32_t lines, acc_pool *pool, uint64_t seed,
                                    accllm_error *err)
{
    static const acc_device_ops ops = {write_memory, read_memory, get, set, wait_done, close_model};
    void *p;
    *d = (acc_device){0};
    if (channels == 0 || channels > ACC_ISA_CHANNELS_MAX || lines == 0 || lines > ACC_ISA_CHANNEL_LINES)
        return acc_fail(err, ACCLLM_E_ARG, "device model: %u channels of %u lines", channels, lines);
    ACC_TRY(acc_alloc(&p, 1, sizeof(acc_model), "device model", err));
    acc_model *m = p;
    *m = (acc_model){.channels = channels, .lines = lines, .pool = pool, .seed = seed};
    acc_kernels_init_scalar(&m->scalar);
    m->reg[ACC_REG_CONTROL / 4] = IDLE;
    m->reg[ACC_REG_CAP_MAGIC / 4] = ACC_DEVICE_MAGIC;
    m->reg[ACC_REG_CAP_VERSION / 4] = ACC_ISA_VERSION;
    m->reg[ACC_REG_CAP_CHANNELS / 4] = channels;
    m->reg[ACC_REG_CAP_LANES / 4] = ACC_ISA_LANES;
    m->reg[ACC_REG_CAP_TOKENS / 4] = ACC_ISA_TOKENS;
    m->reg[ACC_REG_CAP_LINES / 4] = lines;
    const accllm_status s = take_memory(m, err);
    if (s != ACCLLM_OK) {
        close_model(m);
        return s;
    }
    *d = (acc_device){.ops = &ops, .self = m};
    return ACCLLM_OK;
}
