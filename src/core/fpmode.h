/*
 * The default floating-point mode of docs/numerics.md: round to nearest even, gradual underflow, no traps. API entries
 * set it and give the caller's back; threads inherit it from the one that starts them.
 */
#ifndef ACC_CORE_FPMODE_H
#define ACC_CORE_FPMODE_H

#include <stdint.h>

#if defined(__x86_64__)
#define ACC_FP_DEFAULT 0x1f80u /* MXCSR: all exceptions masked, no FTZ, no DAZ */
#else
#define ACC_FP_DEFAULT 0u
#endif

static inline uint64_t acc_fp_get(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
#else
    return 0;
#endif
}

static inline void acc_fp_set(uint64_t mode)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

/* Sets the default mode; returns what acc_fp_leave() gives back. */
static inline uint64_t acc_fp_enter(void)
{
    uint64_t old = acc_fp_get();
    acc_fp_set(ACC_FP_DEFAULT);
    return old;
}

static inline void acc_fp_leave(uint64_t old)
{
    acc_fp_set(old);
}

#endif
