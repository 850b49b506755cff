/* Errors, checked arithmetic, whole-or-nothing files, thread pool. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "accllm/runtime.h"
#include "core/exp.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/items.h"
#include "core/memory.h"
#include "core/threads.h"

static void errors_are_one_printable_line(void **state)
{
    (void)state;
    accllm_error err;
    assert_int_equal(acc_fail(&err, ACCLLM_E_FORMAT, "name %s", "a\nb\x1b[0m"), ACCLLM_E_FORMAT);
    assert_string_equal(err.text, "name a?b?[0m");
    (void)acc_prefix(&err, ACCLLM_E_FORMAT, "%s", "file");
    assert_string_equal(err.text, "file: name a?b?[0m");
    assert_int_equal(acc_fail(NULL, ACCLLM_E_IO, "x"), ACCLLM_E_IO);
}

static void sizes_do_not_wrap(void **state)
{
    (void)state;
    size_t x;
    assert_false(acc_mul(SIZE_MAX / 2, 3, &x));
    assert_false(acc_add(SIZE_MAX, 1, &x));
    assert_null(acc_calloc(SIZE_MAX / 8, 16));
    assert_null(acc_calloc(1, SIZE_MAX - 8));
    void *p = acc_calloc(0, 8);
    assert_non_null(p);
    acc_free(p);
}

static void a_file_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    accllm_error err;
    char dir[] = "/tmp/acc-core-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/out", dir);
    acc_writer w;
    assert_int_equal(acc_writer_open(&w, path, &err), ACCLLM_OK);
    acc_writer_put(&w, "abc", 3);
    assert_int_not_equal(access(path, F_OK), 0);
    acc_writer_abort(&w);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(acc_writer_open(&w, path, &err), ACCLLM_OK);
    acc_writer_put(&w, "abc", 3);
    acc_writer_pad(&w, 64);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_OK);
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        acc_file f;
        assert_int_equal(acc_file_open(&f, path, use_mmap, &err), ACCLLM_OK);
        assert_int_equal(f.size, 64);
        acc_file_forget(&f, 1, 63);
        acc_file_forget(&f, 1, 64); /* beyond the end: nothing */
        assert_memory_equal(f.data, "abc\0", 4);
        acc_file_close(&f);
    }
    acc_file f;
    assert_int_equal(acc_file_open(&f, dir, true, &err), ACCLLM_E_IO);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(acc_file_open(&f, path, true, &err), ACCLLM_E_IO);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)alarm(60);
    assert_int_equal(acc_file_open(&f, path, true, &err), ACCLLM_E_IO); /* at once, though nobody writes */
    (void)alarm(0);
    assert_int_equal(unlink(path) | rmdir(dir), 0);
}

static void padding_is_zeros(void **state)
{
    (void)state;
    static const uint8_t zeros[511];
    char path[] = "/tmp/acc-core-XXXXXX";
    const int fd = mkstemp(path);
    acc_writer w;
    acc_file f;
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(acc_writer_open(&w, path, NULL), ACCLLM_OK);
    acc_writer_put(&w, "x", 1);
    acc_writer_pad(&w, 512);
    acc_writer_pad(&w, 512);
    assert_int_equal(acc_writer_commit(&w, NULL), ACCLLM_OK);
    assert_int_equal(acc_file_open(&f, path, true, NULL), ACCLLM_OK);
    assert_int_equal(f.size, 512);
    assert_memory_equal(f.data + 1, zeros, sizeof zeros);
    acc_file_close(&f);
    assert_int_equal(unlink(path), 0);
}

static void forgotten_parts_leave_the_memory(void **state)
{
    (void)state;
    const size_t size = (size_t)32 << 20;
    char path[] = "/tmp/acc-core-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(close(fd), 0);
    acc_file f;
    assert_int_equal(acc_file_open(&f, path, true, NULL), ACCLLM_OK);
    unsigned sum = 0;
    for (size_t i = 0; i < size; i += 512) sum += f.data[i];
    assert_int_equal(sum, 0);
    const uint64_t held = accllm_rss_bytes();
    acc_file_forget(&f, 100, size - 100);
    assert_true(accllm_rss_bytes() + size / 2 < held);
    acc_file_close(&f);
    assert_int_equal(unlink(path), 0);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    accllm_error err;
    char dir[] = "/tmp/acc-core-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/full", dir);
    acc_writer w;
    assert_int_equal(acc_writer_open(&w, path, &err), ACCLLM_OK);
    assert_non_null(freopen("/dev/full", "wb", w.f));
    char block[8192] = {0};
    for (int i = 0; i < 4; i++) acc_writer_put(&w, block, sizeof block);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_E_IO);
    assert_non_null(strstr(err.text, "No space left"));
    /* there is room again, but something is missing by now */
    assert_int_equal(acc_writer_open(&w, path, &err), ACCLLM_OK);
    assert_non_null(freopen("/dev/full", "wb", w.f));
    for (int i = 0; i < 4; i++) acc_writer_put(&w, block, sizeof block);
    assert_non_null(freopen(w.tmp, "wb", w.f));
    acc_writer_put(&w, block, sizeof block);
    assert_int_equal(acc_writer_commit(&w, &err), ACCLLM_E_IO);
    assert_non_null(strstr(err.text, "No space left"));
    assert_int_equal(rmdir(dir), 0); /* nothing is left in it */
}

static void count_worker(void *ctx, uint32_t w, uint32_t n)
{
    atomic_uint *counts = ctx;
    assert_true(w < n);
    (void)atomic_fetch_add(&counts[w], 1);
}

static void every_worker_runs_every_job_once(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 5; n++) {
        acc_pool *pool;
        atomic_uint counts[5] = {0};
        assert_int_equal(acc_pool_create(&pool, n, NULL), ACCLLM_OK);
        for (int i = 0; i < 2000; i++) {
            acc_pool_run(pool, count_worker, counts);
            if (i % 500 == 0) (void)usleep(3000); /* let the workers fall asleep */
        }
        acc_pool_free(&pool);
        for (uint32_t w = 0; w < n; w++) assert_int_equal(counts[w], 2000);
    }
    acc_pool *none;
    assert_int_equal(acc_pool_create(&none, 0, NULL), ACCLLM_E_ARG);
    assert_int_equal(acc_pool_create(&none, 1025, NULL), ACCLLM_E_ARG);
    assert_null(none);
    assert_true(acc_default_threads() >= 1);
}

static void items_are_taken_once_and_in_halves(void **state)
{
    (void)state;
    for (uint32_t n_workers = 1; n_workers <= 5; n_workers++)
        for (uint32_t n = 0; n < 70; n++)
            for (uint32_t most = 1; most <= 9; most += 4) {
                acc_items s[5];
                uint8_t taken[70] = {0};
                uint32_t begin, end, total = 0, next = 0;
                const uint32_t least = most < 3 ? 1 : 3;
                acc_items_deal(s, n_workers, n);
                for (; acc_items_take(s, n_workers, 0, least, most, &begin, &end); total += end - begin) {
                    assert_true(begin < end && end <= n && end - begin <= most);
                    if (begin < n / n_workers) { /* its own share, in order */
                        const uint32_t left = n / n_workers - next, half = left - left / 2;
                        const uint32_t want = half < least ? least : half > most ? most : half;
                        assert_int_equal(begin, next);
                        assert_int_equal(end - begin, want < left ? want : left);
                        next = end;
                    } else {
                        assert_int_equal(next, n / n_workers);
                    }
                    for (uint32_t i = begin; i < end; i++) assert_int_equal(taken[i]++, 0);
                }
                assert_int_equal(total, n);
            }
}

typedef struct slow_job {
    acc_items items[3];
    atomic_uint begun, done, taken[200];
} slow_job;

/* The first worker to come does nothing with its first items until all others are done. */
static void slow_worker(void *ctx, uint32_t w, uint32_t n_workers)
{
    slow_job *j = ctx;
    const bool slow = atomic_fetch_add(&j->begun, 1) == 0;
    uint32_t begin, end;
    for (bool first = true; acc_items_take(j->items, n_workers, w, 1, 16, &begin, &end); first = false) {
        while (slow && first && atomic_load(&j->done) < 200 - (end - begin)) (void)usleep(20);
        for (uint32_t i = begin; i < end; i++) (void)atomic_fetch_add(&j->taken[i], 1);
        (void)atomic_fetch_add(&j->done, end - begin);
    }
}

static void what_a_slow_worker_leaves_others_do(void **state)
{
    (void)state;
    acc_pool *pool;
    assert_int_equal(acc_pool_create(&pool, 3, NULL), ACCLLM_OK);
    for (int i = 0; i < 200; i++) {
        slow_job j = {.begun = 0};
        acc_items_deal(j.items, 3, 200);
        acc_pool_run(pool, slow_worker, &j);
        assert_int_equal(j.done, 200);
        for (int k = 0; k < 200; k++) assert_int_equal(j.taken[k], 1);
    }
    acc_pool_free(&pool);
}

static void known_hashes(void **state)
{
    (void)state;
    assert_true(acc_fnv1a(ACC_FNV_START, "foobar", 6) == 0x85944171f73967e8u); /* published vector */
    assert_true(acc_random(0, 0) == 0xe220a8397b1dcdafu);                      /* splitmix64, seed 0 */
}

static void exponentials_are_close_to_the_true_ones(void **state)
{
    (void)state;
    assert_true(acc_exp(0) == 1 && acc_expf(0) == 1 && acc_expf(-0.0f) == 1);
    assert_true(isnan(acc_exp(NAN)) && isnan(acc_expf(NAN)));
    for (uint64_t i = 1; i < 200000; i++) {
        const double u = acc_random_unit(9, i) * acc_random_unit(10, i), x = (i % 2 ? -700 : 700) * u;
        const float y = (float)(i % 2 ? -87 * u : 88 * u);
        assert_true(fabs(acc_exp(x) - exp(x)) <= 1e-15 * exp(x));
        assert_true(fabs((double)acc_expf(y) - exp((double)y)) <= 2.5e-7 * exp((double)y));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_one_printable_line),
        cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(a_file_appears_whole_or_not_at_all),
        cmocka_unit_test(padding_is_zeros),
        cmocka_unit_test(forgotten_parts_leave_the_memory),
        cmocka_unit_test(a_full_disk_is_an_error),
        cmocka_unit_test(every_worker_runs_every_job_once),
        cmocka_unit_test(known_hashes),
        cmocka_unit_test(items_are_taken_once_and_in_halves),
        cmocka_unit_test(what_a_slow_worker_leaves_others_do),
        cmocka_unit_test(exponentials_are_close_to_the_true_ones),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
