/*
 * Failing allocation: the n-th allocation of an operation fails, for every n until the operation succeeds. Each failure
 * is E_NOMEM, nothing is half made, no file is left. (Leaks: run under a sanitizer.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/compress.h"
#include "core/runtime.h"
#include "model/packed.h"
#include "support/pack.h"

/* ---- the linker puts these before the library's calls (--wrap) ---- */

void *__real_aligned_alloc(size_t align, size_t n);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static long countdown = -1; /* < 0: nothing fails */

static bool fails(void)
{
    return countdown >= 0 && countdown-- == 0;
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(align, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return fails() ? NULL : __real_strndup(s, n);
}

/* ---- operations ---- */

typedef struct paths {
    char *source, *packed, *out;
} paths;

typedef accllm_status operation(const paths *p, accllm_error *err);

static accllm_status open_source(const paths *p, accllm_error *err)
{
    acc_source *s;
    ACC_TRY(acc_checkpoint_open(&s, p->source, false, err));
    s->close(s);
    return ACCLLM_OK;
}

static accllm_status open_packed(const paths *p, accllm_error *err)
{
    acc_packed *m;
    acc_source *s;
    ACC_TRY(acc_packed_open(&m, p->packed, false, true, err));
    accllm_status status = acc_packed_source(&s, m, err);
    if (status == ACCLLM_OK) s->close(s);
    acc_packed_free(&m);
    return status;
}

static accllm_status write_packed(const paths *p, accllm_error *err)
{
    pack_options o = pack_defaults(ACC_FMT_W2S);
    return pack_model(p->source, p->out, &o, err);
}

static accllm_status export_packed(const paths *p, accllm_error *err)
{
    accllm_runtime rt = {0};
    return accllm_export(&rt, p->packed, p->out, "f16", err);
}

static accllm_status random_model(const paths *p, accllm_error *err)
{
    (void)p;
    acc_packed *m;
    ACC_TRY(acc_packed_random(&m, "smollm2-135m", ACC_FMT_W2S, ACC_FMT_W4, err));
    acc_packed_free(&m);
    return ACCLLM_OK;
}

static void exhaust(const paths *p, operation *op, const char *name, int at_least)
{
    accllm_error err = {0};
    int failures = 0, survived = 0;
    for (;; failures++) {
        countdown = failures;
        accllm_status s = op(p, &err);
        bool all_done = countdown >= 0;
        countdown = -1;
        if (all_done) {
            if (s != ACCLLM_OK) fail_msg("%s: %s", name, err.text);
            break;
        }
        if (s == ACCLLM_OK) { /* one that only a nicety needed: syncing the folder */
            assert_true(++survived <= 1);
            (void)unlink(p->out);
            continue;
        }
        if (s != ACCLLM_E_NOMEM) fail_msg("%s: allocation %d: status %d", name, failures, s);
        assert_non_null(strstr(err.text, "out of memory"));
        assert_int_not_equal(access(p->out, F_OK), 0);
    }
    if (failures < at_least) fail_msg("%s: only %d allocations failed", name, failures);
    (void)unlink(p->out);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    accllm_error err;
    tiny_options t = tiny_defaults();
    pack_options o = pack_defaults(ACC_FMT_W4);
    paths p = {tiny_path("nomem.src"), tiny_path("nomem.gguf"), tiny_path("nomem.out")};
    t.n_layers = 1;
    assert_int_equal(tiny_write(p.source, &t, &err), ACCLLM_OK);
    assert_int_equal(pack_tiny(p.packed, &t, &o, &err), ACCLLM_OK);
    exhaust(&p, open_source, "open a source", 5);
    exhaust(&p, open_packed, "open a packed file", 8);
    exhaust(&p, write_packed, "write a packed file", 20);
    exhaust(&p, export_packed, "export", 15);
    exhaust(&p, random_model, "random weights", 3);
    assert_int_equal(unlink(p.source) | unlink(p.packed), 0);
    free(p.source);
    free(p.packed);
    free(p.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests_name("nomem", tests, NULL, NULL);
}
