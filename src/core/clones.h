/*
 * ACC_CLONES in front of a function: compiled for wider vectors too, the right one chosen when the program is loaded.
 * For plain loops outside the contract's kernels. The bits stay the same: no multiply-adds are fused and no sums
 * reordered (meson.build).
 */
#ifndef ACC_CORE_CLONES_H
#define ACC_CORE_CLONES_H

/* Sanitizers are not ready yet when the choice is made. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define ACC_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ACC_CLONES
#endif

#endif
