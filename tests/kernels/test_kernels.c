/*
 * Runs the kernel checks for every set of this architecture; those that the machine lacks count as skipped.
 * `test_kernels PATTERN` runs the tests of matching names ("avx512*");
 * `test_kernels --auto SET` only asks whether "auto" takes that set;
 * `test_kernels --bench [ISA [FORMAT | other]]` prints CSV instead.
 */
#include "check.h"

#include <string.h>

static const char *const sets[] = {
    "scalar",
#ifdef ACC_HAVE_X86
    "avx2",   "avxvnni", "avx512", "amx",
#endif
#ifdef ACC_HAVE_NEON
    "neon",   "dotprod", "i8mm",
#endif
};

#define N_SETS (sizeof sets / sizeof *sets)

static const struct {
    const char *name;
    CMUnitTestFunction check;
} checks[] = {
    {"matvec", check_matvec},         {"matmul", check_matmul}, {"attn4", check_attn4}, {"attn8", check_attn8},
    {"attn_query", check_attn_query}, {"a8", check_a8},         {"kv", check_kv},       {"norm_a8", check_norm_a8},
    {"silu_mul", check_silu_mul},     {"scale", check_scale},
};

#define N_CHECKS (sizeof checks / sizeof *checks)

static int bench(const char *isa, const char *only)
{
    const char *names[8];
    acc_kernels_available(names);
    (void)puts("kernel,isa,shape,ns,GB/s,Gweight/s");
    for (size_t i = 0; names[i]; i++) {
        acc_kernels k;
        if (isa && strcmp(isa, names[i]) != 0) continue;
        if (acc_kernels_select(&k, names[i], NULL) != ACCLLM_OK) return 1;
        if (!only || strcmp(only, "other") != 0) bench_linear(&k, only);
        if (!only || strcmp(only, "other") == 0) bench_other(&k);
    }
    return 0;
}

static int takes(const char *isa)
{
    acc_kernels k;
    if (acc_kernels_select(&k, "auto", NULL) != ACCLLM_OK) return 1;
    if (strcmp(k.name, isa) == 0) return 0;
    (void)fprintf(stderr, "auto takes %s, not %s\n", k.name, isa);
    return 1;
}

static void unknown_sets_are_refused(void **state)
{
    (void)state;
    acc_kernels k;
    accllm_error err;
    assert_int_equal(acc_kernels_select(&k, "avx1024", &err), ACCLLM_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "avx1024"));
    assert_non_null(strstr(err.text, "scalar"));
    assert_int_equal(acc_kernels_select(&k, "auto", &err), ACCLLM_OK);
    assert_int_equal(acc_kernels_select(&k, NULL, &err), ACCLLM_OK);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) return bench(argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
    if (argc > 2 && strcmp(argv[1], "--auto") == 0) return takes(argv[2]);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    struct CMUnitTest tests[N_SETS * N_CHECKS + 1];
    char names[N_SETS * N_CHECKS][64];
    size_t n = 0;
    for (size_t s = 0; s < N_SETS; s++)
        for (size_t c = 0; c < N_CHECKS; c++, n++) {
            (void)snprintf(names[n], sizeof names[n], "%s %s", sets[s], checks[c].name);
            char *set = (char *)(uintptr_t)sets[s]; /* cmocka's state is not const */
            tests[n] = (struct CMUnitTest){names[n], checks[c].check, NULL, NULL, set};
        }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(unknown_sets_are_refused);
    return _cmocka_run_group_tests("kernels", tests, n, NULL, NULL);
}
