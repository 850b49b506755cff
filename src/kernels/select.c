/* Which kernel sets this build and machine can run, and the choice of one. */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "kernels/attn_scratch.h"
#include "kernels/kernels.h"

#ifdef ACC_HAVE_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct cpuid_regs {
    unsigned a, b, c, d;
} cpuid_regs;

static cpuid_regs cpuid(unsigned leaf, unsigned sub)
{
    cpuid_regs r = {0, 0, 0, 0};
    if (!__get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d)) memset(&r, 0, sizeof r);
    return r;
}

/* The register states that the operating system saves (XCR0); 0 without XGETBV. */
static unsigned saved_states(void)
{
    if (!(cpuid(1, 0).c & bit_OSXSAVE)) return 0;
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

#define STATES_AVX 0x06u    /* SSE, AVX */
#define STATES_AVX512 0xe6u /* and opmask, upper halves, upper registers */

static bool has_avx2(void)
{
    const unsigned need = bit_AVX | bit_F16C;
    return (saved_states() & STATES_AVX) == STATES_AVX && (cpuid(1, 0).c & need) == need && (cpuid(7, 0).b & bit_AVX2);
}

#ifdef ACC_SIMDE /* the sets above AVX2 are emulated */
#define EMULATED true
#define has_avxvnni has_avx2
#define has_avx512 has_avx2
#define has_amx has_avx2
#else
#define EMULATED false

static bool has_avxvnni(void)
{
    return has_avx2() && (cpuid(7, 1).a & bit_AVXVNNI);
}

static bool has_avx512(void)
{
    const unsigned b = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ, c = bit_AVX512VBMI | bit_AVX512VNNI;
    const cpuid_regs r = cpuid(7, 0);
    return has_avx2() && (saved_states() & STATES_AVX512) == STATES_AVX512 && (r.b & b) == b && (r.c & c) == c;
}

#define STATES_AMX 0x60000u /* tile configuration, tile data */

/* Linux gives a process its tile registers when it asks for them (Documentation/arch/x86/xstate.rst). */
static bool has_amx(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    const unsigned need = 1u << 24 | 1u << 25; /* AMX-TILE, AMX-INT8 */
    return has_avx512() && (saved_states() & STATES_AMX) == STATES_AMX && (cpuid(7, 0).d & need) == need &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif
#endif

#ifdef ACC_HAVE_NEON
#include <sys/auxv.h>

/* The kernel's words for what the processor has and it supports. Every AArch64 processor that runs Linux has NEON. */
static bool has_dotprod(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}

static bool has_i8mm(void)
{
    return has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM);
}
#endif

typedef struct kernel_set {
    const char *name;
    bool emulated; /* never chosen by "auto" */
    bool (*here)(void);
    void (*init)(acc_kernels *k); /* overrides what the sets before it filled in */
} kernel_set;

static bool always(void)
{
    return true;
}

/* In order of preference, the last the best. */
static const kernel_set sets[] = {
    {"scalar", false, always, acc_kernels_init_scalar},
#ifdef ACC_HAVE_X86
    {"avx2", false, has_avx2, acc_kernels_init_avx2},
    {"avxvnni", EMULATED, has_avxvnni, acc_kernels_init_avxvnni},
    {"avx512", EMULATED, has_avx512, acc_kernels_init_avx512},
    {"amx", EMULATED, has_amx, acc_kernels_init_amx},
#endif
#ifdef ACC_HAVE_NEON
    {"neon", false, always, acc_kernels_init_neon},
    {"dotprod", false, has_dotprod, acc_kernels_init_dotprod},
    {"i8mm", false, has_i8mm, acc_kernels_init_i8mm},
#endif
};

#define N_SETS (sizeof sets / sizeof *sets)

void acc_kernels_available(const char *names[8])
{
    size_t n = 0;
    for (size_t i = 0; i < N_SETS; i++)
        if (sets[i].here()) names[n++] = sets[i].name;
    names[n] = NULL;
}

static bool is_auto(const char *isa)
{
    return isa == NULL || strcmp(isa, "auto") == 0;
}

/* The index of the wanted set, or -1. */
static int find_set(const char *isa)
{
    int best = -1;
    for (size_t i = 0; i < N_SETS; i++) {
        const bool wanted = is_auto(isa) ? !sets[i].emulated : strcmp(isa, sets[i].name) == 0;
        if (wanted && sets[i].here()) best = (int)i;
    }
    return best;
}

accllm_status acc_kernels_select(acc_kernels *k, const char *isa, accllm_error *err)
{
    memset(k, 0, sizeof *k);
    const int chosen = find_set(isa);
    if (chosen < 0) {
        const char *names[8];
        char list[64] = "";
        acc_kernels_available(names);
        for (size_t i = 0, at = 0; names[i]; i++)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", names[i]);
        return acc_fail(err, ACCLLM_E_UNSUPPORTED, "instruction set %s is not available here; available: %s", isa,
                        list);
    }
    for (int i = 0; i <= chosen; i++) sets[i].init(k);
    return ACCLLM_OK;
}

size_t acc_kernel_scratch_bytes(uint32_t max_cols, uint32_t max_tokens)
{
    /* Linear: decode tables (64 bytes per column at most), one dense tile, or the tokens' codes as int16 with one
     * 32-bit correction per 32 columns and a row block's sums. Columns are padded to a group. */
    const size_t cols = acc_round_up(max_cols, 128);
    const size_t linear = 65536 + cols * 64 + (size_t)(max_tokens + 8) * (cols * 2 + cols / 32 * 4 + 256);
    /* Attention: a group of heads at a time; the scalar set one head. */
    const size_t attention = sizeof(acc_attn_scratch);
    return acc_round_up(linear > attention ? linear : attention, ACC_ALIGN);
}
