/*
 * Memory of the engine: a step takes none, a session says beforehand what it takes, and every failing allocation is a
 * clean E_NOMEM. The linker sends the library's allocation calls through the counters here (--wrap).
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/batch.h"
#include "core/memory.h"
#include "support/pack.h"

static atomic_long calls;              /* allocations so far */
static atomic_long fail_at = LONG_MAX; /* this one and all after it fail */
static atomic_llong mapped;            /* bytes of live mappings */

static bool count(void)
{
    return atomic_fetch_add(&calls, 1) >= atomic_load(&fail_at);
}

/* The names are the linker's. */
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__real_mmap64(void *p, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *p, size_t n, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *p, size_t n);
int __wrap_munmap(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return count() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return count() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return count() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return count() ? NULL : __real_aligned_alloc(align, n);
}

void *__wrap_mmap64(void *p, size_t n, int prot, int flags, int fd, off_t offset)
{
    if (count()) return MAP_FAILED;
    void *m = __real_mmap64(p, n, prot, flags, fd, offset);
    if (m != MAP_FAILED) (void)atomic_fetch_add(&mapped, (long long)n);
    return m;
}

int __wrap_munmap(void *p, size_t n)
{
    (void)atomic_fetch_sub(&mapped, (long long)n);
    return __real_munmap(p, n);
}

static char *make_model(void)
{
    tiny_options t = tiny_defaults();
    pack_options p = pack_defaults(ACC_FMT_W2S); /* repacked by some kernel sets */
    accllm_error err;
    char *path = tiny_path("memory.gguf");
    assert_non_null(path);
    if (pack_tiny(path, &t, &p, &err) != ACCLLM_OK) fail_msg("%s", err.text);
    return path;
}

static accllm_runtime *make_runtime(uint32_t threads)
{
    accllm_runtime_params p;
    accllm_runtime *rt;
    accllm_runtime_params_init(&p);
    p.n_threads = threads;
    assert_int_equal(accllm_runtime_create(&rt, &p, NULL), ACCLLM_OK);
    return rt;
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    char *path = make_model();
    accllm_runtime *rt = make_runtime(2);
    accllm_model *m;
    accllm_session *s;
    accllm_session_params p;
    const float *logits;
    int32_t ids[100];
    for (int i = 0; i < 100; i++) ids[i] = i;
    assert_int_equal(accllm_model_open(&m, rt, path, NULL, NULL), ACCLLM_OK);
    accllm_session_params_init(&p);
    p.chunk = 32;
    p.trace = true;
    assert_int_equal(accllm_session_create(&s, m, &p, NULL), ACCLLM_OK);
    long before = calls;
    uint64_t bytes = accllm_session_bytes(s);
    assert_int_equal(accllm_session_eval(s, ids, 100, 1, &logits, NULL), ACCLLM_OK);
    for (int i = 0; i < 100; i++) assert_int_equal(accllm_session_eval(s, ids + i, 1, 1, &logits, NULL), ACCLLM_OK);
    accllm_session_reset(s);
    assert_int_equal(accllm_session_fill(s, 1 << 20, NULL), ACCLLM_OK);
    assert_int_equal(accllm_session_eval(s, ids, 50, 0, NULL, NULL), ACCLLM_OK);
    assert_int_equal(calls, before);
    assert_true(accllm_session_bytes(s) == bytes);
    accllm_session_free(&s);
    accllm_model_free(&m);
    accllm_runtime_free(&rt);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* Sessions that join, leave, fail and mix prompts with decoding take nothing either. */
static void a_batched_step_allocates_nothing(void **state)
{
    (void)state;
    char *path = make_model();
    accllm_runtime *rt = make_runtime(2);
    accllm_model *m;
    accllm_batch *b;
    accllm_session *s[4];
    accllm_session_params p;
    int32_t ids[32], bad = -1;
    for (int i = 0; i < 32; i++) ids[i] = 3 * i;
    assert_int_equal(accllm_model_open(&m, rt, path, NULL, NULL), ACCLLM_OK);
    accllm_session_params_init(&p);
    p.trace = true;
    p.batch_only = true;
    for (int i = 0; i < 4; i++) assert_int_equal(accllm_session_create(&s[i], m, &p, NULL), ACCLLM_OK);
    assert_int_equal(accllm_batch_create(&b, m, NULL, NULL), ACCLLM_OK);
    long before = calls;
    uint64_t bytes = accllm_batch_bytes(b);
    for (uint32_t i = 0; i < 40; i++) {
        accllm_batch_item items[4];
        uint32_t n = 1 + i % 4;
        for (uint32_t k = 0; k < n; k++)
            items[k] =
                (accllm_batch_item){.session = s[(i + k) % 4], .ids = ids, .n = k == 1 ? 32 : 1, .n_logits = k < 2};
        if (i % 7 == 3) items[n - 1].ids = &bad;
        accllm_status status = accllm_batch_step(b, items, n, NULL);
        assert_int_equal(status, i % 7 == 3 ? ACCLLM_E_ARG : ACCLLM_OK);
    }
    assert_int_equal(calls, before);
    assert_true(accllm_batch_bytes(b) == bytes);
    for (int i = 0; i < 4; i++) accllm_session_free(&s[i]);
    accllm_batch_free(&b);
    accllm_model_free(&m);
    accllm_runtime_free(&rt);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* The same for a batch; and what a session need not hold itself when it advances in batches only. */
static void a_batch_says_what_it_takes(void **state)
{
    (void)state;
    char *path = make_model();
    accllm_runtime *rt = make_runtime(2);
    accllm_model *m;
    uint64_t last = 0, sizes[2];
    assert_int_equal(accllm_model_open(&m, rt, path, NULL, NULL), ACCLLM_OK);
    for (uint32_t tokens = 1; tokens <= 1000; tokens *= 10) {
        accllm_batch *b;
        accllm_batch_params p;
        accllm_batch_params_init(&p);
        p.max_sessions = 1;
        p.max_tokens = tokens;
        long long before = mapped;
        assert_int_equal(accllm_batch_create(&b, m, &p, NULL), ACCLLM_OK);
        uint64_t took = (uint64_t)(mapped - before), says = accllm_batch_bytes(b);
        assert_true(says >= took && says < took + 10000 && says > last);
        last = says;
        accllm_batch_free(&b);
        assert_true(mapped == before);
    }
    for (int i = 0; i < 2; i++) {
        accllm_session *s;
        accllm_session_params p;
        accllm_session_params_init(&p);
        p.batch_only = i;
        assert_int_equal(accllm_session_create(&s, m, &p, NULL), ACCLLM_OK);
        sizes[i] = accllm_session_bytes(s);
        accllm_session_free(&s);
    }
    assert_true(sizes[1] < sizes[0] / 2);
    accllm_model_free(&m);
    accllm_runtime_free(&rt);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* The mappings hold nearly all of a session; what it says is what they are, and a little more for small structs. */
static void a_session_says_what_it_takes(void **state)
{
    (void)state;
    char *path = make_model();
    accllm_runtime *rt = make_runtime(1);
    accllm_model *m;
    assert_int_equal(accllm_model_open(&m, rt, path, NULL, NULL), ACCLLM_OK);
    for (uint32_t window = 16; window <= 496; window += 160) {
        accllm_session *s;
        accllm_session_params p;
        accllm_session_params_init(&p);
        p.window = window;
        long long before = mapped;
        assert_int_equal(accllm_session_create(&s, m, &p, NULL), ACCLLM_OK);
        uint64_t took = (uint64_t)(mapped - before), says = accllm_session_bytes(s);
        assert_true(says >= took && says < took + 1000000);
        accllm_session_free(&s);
        assert_true(mapped == before);
    }
    accllm_model_free(&m);
    accllm_runtime_free(&rt);
    assert_int_equal(unlink(path), 0);
    free(path);
}

/* Fails the k-th allocation and all after it, for every k, until all goes well. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    char *path = make_model();
    long k = 0;
    for (bool done = false; !done; k++) {
        accllm_runtime *rt = NULL;
        accllm_model *m = NULL;
        accllm_session *s = NULL;
        accllm_batch *b = NULL;
        accllm_runtime_params p;
        accllm_error err = {0};
        accllm_runtime_params_init(&p);
        p.n_threads = 1;
        long long before = mapped;
        fail_at = calls + k;
        accllm_status status = accllm_runtime_create(&rt, &p, &err);
        if (status == ACCLLM_OK) status = accllm_model_open(&m, rt, path, NULL, &err);
        if (status == ACCLLM_OK) status = accllm_session_create(&s, m, NULL, &err);
        if (status == ACCLLM_OK) status = accllm_batch_create(&b, m, NULL, &err);
        done = status == ACCLLM_OK;
        fail_at = LONG_MAX;
        if (!done && status != ACCLLM_E_NOMEM && status != ACCLLM_E_IO) fail_msg("%ld: %s", k, err.text);
        assert_true(done == (b != NULL));
        accllm_batch_free(&b);
        accllm_session_free(&s);
        accllm_model_free(&m);
        accllm_runtime_free(&rt);
        assert_true(mapped == before);
    }
    assert_true(k > 20);
    assert_int_equal(unlink(path), 0);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_allocates_nothing),     cmocka_unit_test(a_batched_step_allocates_nothing),
        cmocka_unit_test(a_session_says_what_it_takes), cmocka_unit_test(a_batch_says_what_it_takes),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("model memory", tests, NULL, NULL);
}
