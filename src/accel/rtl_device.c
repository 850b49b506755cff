#include "accel/rtl_device.h"

#include <stdlib.h>
#include <string.h>
#ifndef ACC_STATIC
#include <dlfcn.h>
#endif

#include "core/memory.h"
#include "core/runtime.h"

#define SLICE 65536u     /* cycles between looks at the abort flag */
#define STILL (1u << 20) /* cycles without traffic on any port after which a run is given up: no unit works so long */
#define DEAD_BUS 0xffffffffu /* what is read where nothing answers, as on a real bus */

const acc_rtl_timing acc_rtl_default_timing = {.latency = 64, .bursts = 64};

typedef struct acc_rtl_device {
    const acc_rtl_plugin *plugin;
    acc_rtl *rtl;
    uint8_t *memory; /* [channels][bytes] */
    uint64_t bytes;
    accllm_runtime *rt;
    bool started, dead; /* dead: a register did not answer */
} acc_rtl_device;

/* ---- the shared object; it stays loaded ---- */

#ifdef ACC_STATIC
static accllm_status load(const acc_rtl_plugin **p, accllm_error *err)
{
    (void)p;
    return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the RTL back end: a static program cannot load it");
}
#else
static accllm_status load(const acc_rtl_plugin **p, accllm_error *err)
{
    const char *path = getenv("ACCLLM_RTL");
    if (!path || !*path)
        return acc_fail(err, ACCLLM_E_UNSUPPORTED,
                        "the RTL back end is a file that ACCLLM_RTL names; scripts/build-rtl makes it");
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return acc_fail(err, ACCLLM_E_IO, "ACCLLM_RTL: %s", dlerror());
    *p = dlsym(handle, ACC_RTL_SYMBOL);
    if (*p && (*p)->version == ACC_RTL_VERSION) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_UNSUPPORTED, "ACCLLM_RTL: %s is not of this version; scripts/build-rtl makes it",
                    path);
}
#endif

accllm_status acc_rtl_channels(uint32_t *channels, accllm_error *err)
{
    const acc_rtl_plugin *p = NULL;
    ACC_TRY(load(&p, err));
    *channels = p->channels;
    return ACCLLM_OK;
}

/* ---- the driver's table ---- */

static accllm_status access(const acc_rtl_device *d, uint32_t channel, uint64_t address, size_t bytes,
                            accllm_error *err)
{
    if (channel < d->plugin->channels && address <= d->bytes && bytes <= d->bytes - address) return ACCLLM_OK;
    return acc_fail(err, ACCLLM_E_ARG, "accelerator: channel %u has no %zu bytes at %llu", channel, bytes,
                    (unsigned long long)address);
}

static accllm_status write_memory(void *self, uint32_t channel, uint64_t address, const void *data, size_t bytes,
                                  accllm_error *err)
{
    acc_rtl_device *d = self;
    ACC_TRY(access(d, channel, address, bytes, err));
    memcpy(d->memory + channel * d->bytes + address, data, bytes);
    return ACCLLM_OK;
}

static accllm_status read_memory(void *self, uint32_t channel, uint64_t address, void *data, size_t bytes,
                                 accllm_error *err)
{
    const acc_rtl_device *d = self;
    ACC_TRY(access(d, channel, address, bytes, err));
    memcpy(data, d->memory + channel * d->bytes + address, bytes);
    return ACCLLM_OK;
}

static uint32_t get(void *self, acc_isa_register r)
{
    acc_rtl_device *d = self;
    uint32_t value;
    if (d->plugin->get(d->rtl, r, &value)) return value;
    d->dead = true;
    return DEAD_BUS;
}

static void set(void *self, acc_isa_register r, uint32_t value)
{
    acc_rtl_device *d = self;
    if (!d->plugin->set(d->rtl, r, value)) d->dead = true;
    if (r == ACC_REG_CONTROL && value & 1) d->started = true;
}

static accllm_status go_on(acc_rtl_device *d, bool retired, bool *done, accllm_error *err)
{
    if (!d->started) return acc_fail(err, ACCLLM_E_ARG, "accelerator: nothing was started");
    for (;;) {
        if (d->dead) return acc_fail(err, ACCLLM_E_IO, "accelerator: a register does not answer");
        ACC_TRY(acc_check_abort(d->rt, err));
        const acc_rtl_stop stop = d->plugin->run(d->rtl, SLICE, retired);
        *done = stop == ACC_RTL_DONE;
        if (*done) d->started = false;
        if (stop != ACC_RTL_CYCLES) return ACCLLM_OK;
        if (d->plugin->cycles(d->rtl) - d->plugin->moved(d->rtl) > STILL)
            return acc_fail(err, ACCLLM_E_IO, "accelerator: the RTL stands still since cycle %llu (now %llu)",
                            (unsigned long long)d->plugin->moved(d->rtl),
                            (unsigned long long)d->plugin->cycles(d->rtl));
    }
}

static accllm_status wait_done(void *self, accllm_error *err)
{
    bool done;
    return go_on(self, false, &done, err);
}

static void close_device(void *self)
{
    acc_rtl_device *d = self;
    if (d->rtl) d->plugin->close(d->rtl);
    acc_pages_free(d->memory, d->bytes * d->plugin->channels);
    acc_free(d);
}

static const acc_device_ops table = {write_memory, read_memory, get, set, wait_done, close_device};

/* ---- opening ---- */

static accllm_status start(acc_rtl_device *r, const acc_image_header *h, const acc_rtl_timing *timing,
                           accllm_error *err)
{
    const acc_image_region *last = &h->region[ACC_REGION_LOGITS];
    if (h->channels != r->plugin->channels)
        return acc_fail(err, ACCLLM_E_ARG, "accelerator: an image for %u channels, RTL of %u", h->channels,
                        r->plugin->channels);
    r->bytes = (uint64_t)(last->line + last->lines) * ACC_ISA_LINE_BYTES;
    r->memory = acc_pages_alloc(r->bytes * h->channels);
    if (!r->memory)
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: channels of the RTL (%.1f MB)",
                        (double)(r->bytes * h->channels) / 1e6);
    r->rtl = r->plugin->open(r->memory, r->bytes, timing);
    return r->rtl ? ACCLLM_OK : acc_fail(err, ACCLLM_E_IO, "accelerator: the RTL does not come out of its reset");
}

accllm_status acc_rtl_open_timed(acc_device *d, const acc_image_header *h, accllm_runtime *rt,
                                 const acc_rtl_timing *timing, accllm_error *err)
{
    void *p;
    const acc_rtl_plugin *plugin = NULL;
    *d = (acc_device){0};
    ACC_TRY(load(&plugin, err));
    ACC_TRY(acc_alloc(&p, 1, sizeof(acc_rtl_device), "RTL device", err));
    acc_rtl_device *r = p;
    *r = (acc_rtl_device){.plugin = plugin, .rt = rt};
    const accllm_status status = start(r, h, timing, err);
    if (status == ACCLLM_OK)
        *d = (acc_device){.ops = &table, .self = r};
    else
        close_device(r);
    return status;
}

accllm_status acc_rtl_open(acc_device *d, const acc_image_header *h, accllm_runtime *rt, accllm_error *err)
{
    return acc_rtl_open_timed(d, h, rt, &acc_rtl_default_timing, err);
}

/* ---- for co-simulation ---- */

accllm_status acc_rtl_go_on(acc_device *d, bool retired, bool *done, accllm_error *err)
{
    return go_on(d->self, retired, done, err);
}

void acc_rtl_look(const acc_device *d, acc_rtl_view *view)
{
    const acc_rtl_device *r = d->self;
    r->plugin->look(r->rtl, view);
}

uint64_t acc_rtl_cycles(const acc_device *d)
{
    const acc_rtl_device *r = d->self;
    return r->plugin->cycles(r->rtl);
}

const uint8_t *acc_rtl_memory(const acc_device *d, uint32_t channel, uint64_t *bytes)
{
    const acc_rtl_device *r = d->self;
    *bytes = r->bytes;
    return r->memory + channel * r->bytes;
}
