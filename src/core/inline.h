/* How inner loops ask the compiler for inlining and unrolling, whatever the optimisation level. */
#ifndef ACC_CORE_INLINE_H
#define ACC_CORE_INLINE_H

#define ACC_INLINE static inline __attribute__((always_inline))

/* Loops over register arrays. */
#if defined(__clang__)
#define ACC_UNROLL _Pragma("unroll")
#else
#define ACC_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
