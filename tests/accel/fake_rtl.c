/* An accelerator that takes the token of a run as its result some slices later; like the RTL it takes no arguments
 * during a run, nor a second start. A run of token 99 stands still. */
#include <stdlib.h>

#include "accel/rtl_plugin.h"

#define STANDS_STILL 99
#define SLICES 3 /* calls of run() until a run is done */

struct acc_rtl {
    uint32_t reg[256];
    uint64_t cycles, moved;
    unsigned left;
};

static acc_rtl *open_it(uint8_t *memory, uint64_t bytes, const acc_rtl_timing *timing)
{
    (void)memory;
    (void)bytes;
    (void)timing;
    return calloc(1, sizeof(acc_rtl));
}

static void close_it(acc_rtl *r)
{
    free(r);
}

static bool get(acc_rtl *r, uint32_t address, uint32_t *value)
{
    *value = r->reg[address & 255];
    return true;
}

static bool set(acc_rtl *r, uint32_t address, uint32_t value)
{
    if (r->left) return true;
    r->reg[address & 255] = value;
    if (address == ACC_REG_CONTROL && value & 1) r->left = SLICES;
    return true;
}

static acc_rtl_stop run(acc_rtl *r, uint64_t limit, bool retired)
{
    (void)retired;
    r->cycles += limit;
    if (r->left && r->reg[ACC_REG_TOKEN] == STANDS_STILL) return ACC_RTL_CYCLES;
    r->moved = r->cycles;
    if (r->left == 0 || --r->left > 0) return ACC_RTL_CYCLES;
    r->reg[ACC_REG_BEST_TOKEN] = r->reg[ACC_REG_TOKEN];
    return ACC_RTL_DONE;
}

static uint64_t cycles(const acc_rtl *r)
{
    return r->cycles;
}

static uint64_t moved(const acc_rtl *r)
{
    return r->moved;
}

static void look(const acc_rtl *r, acc_rtl_view *view)
{
    (void)r;
    (void)view;
}

const acc_rtl_plugin acc_rtl_plugin_table = {ACC_RTL_VERSION, 1, open_it, close_it, get, set, run, cycles, moved, look};
