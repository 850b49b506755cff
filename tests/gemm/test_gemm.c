/* Products against three loops: odd shapes, gaps between rows, every transposition, one and several threads, and
 * operands in bfloat16. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/hash.h"
#include "core/memory.h"
#include "gemm/gemm.h"

#define MOST 160 /* rows, columns and inner size at most, gaps included */

typedef struct operands {
    float a[MOST * MOST], b[MOST * MOST], c[MOST * MOST], expected[MOST * MOST];
} operands;

static const uint32_t shapes[][3] = {{1, 1, 1},    {1, 97, 64},  {3, 5, 7},     {16, 16, 16},  {17, 1, 33},
                                     {64, 3, 130}, {65, 66, 67}, {128, 96, 31}, {140, 150, 1}, {150, 140, 150}};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* Whole numbers up to `most` where most > 0, exact in bfloat16 and in every sum of them; else any in (-1, 1). */
static void fill(float *x, uint64_t seed, int most)
{
    for (uint64_t i = 0; i < (uint64_t)MOST * MOST; i++) {
        const uint64_t r = acc_random(seed, i);
        x[i] = most ? (float)((int)(r % (uint64_t)(2 * most + 1)) - most) : (float)(int64_t)r * 0x1p-63f;
    }
}

static acc_gemm product(operands *o, size_t shape, unsigned how, uint32_t gap)
{
    const uint32_t m = shapes[shape][0], n = shapes[shape][1], k = shapes[shape][2];
    acc_gemm g = acc_gemm_dense(m, n, k, o->a, how & 1, o->b, how & 2, o->c, how & 4);
    g.lda += gap;
    g.ldb += gap;
    g.ldc += gap;
    return g;
}

static void expect(operands *o, const acc_gemm *g, double tolerance)
{
    acc_gemm plain = *g;
    plain.c = o->expected;
    acc_gemm_plain(&plain);
    for (size_t i = 0; i < (size_t)MOST * MOST; i++)
        if (!(fabs((double)o->c[i] - (double)o->expected[i]) <= tolerance)) {
            const double got = (double)o->c[i], want = (double)o->expected[i];
            fail_msg("%u x %u x %u, %d %d: %g at %zu, expected %g", g->m, g->n, g->k, g->trans_a, g->trans_b, got, i,
                     want);
        }
}

static void each_way(acc_pool *pool, acc_gemm_bf16 *bf16, int most, double tolerance)
{
    operands *o = acc_calloc(1, sizeof *o);
    assert_non_null(o);
    fill(o->a, 1, most);
    fill(o->b, 2, most);
    for (size_t s = 0; s < N_SHAPES; s++)
        for (unsigned how = 0; how < 8; how++)
            for (uint32_t gap = 0; gap < 8; gap += 7) {
                acc_gemm g = product(o, s, how, gap);
                g.bf16 = bf16;
                fill(o->c, 3, most);
                memcpy(o->expected, o->c, sizeof o->c);
                if (pool)
                    acc_gemm_run(pool, &g);
                else
                    acc_gemm_one(&g);
                expect(o, &g, tolerance);
            }
    acc_free(o);
}

static void products_equal_three_loops(void **state)
{
    (void)state;
    acc_pool *pool;
    each_way(NULL, NULL, 9, 0);
    each_way(NULL, NULL, 0, 1e-5);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        assert_int_equal(acc_pool_create(&pool, threads, NULL), ACCLLM_OK);
        each_way(pool, NULL, 9, 0);
        acc_pool_free(&pool);
    }
}

static acc_gemm_bf16 *bf16_or_skip(acc_pool *pool)
{
    acc_gemm_bf16 *b;
    assert_int_equal(acc_gemm_bf16_create(&b, pool, (size_t)MOST * MOST, NULL), ACCLLM_OK);
    assert_int_equal(b != NULL, acc_gemm_bf16_bytes(1) != 0);
    assert_int_equal(b != NULL, strstr(acc_gemm_kind(), "bfloat16") != NULL);
    if (!b) {
        acc_pool_free(&pool);
        skip(); /* this CPU has no bfloat16 */
    }
    return b;
}

static void bfloat16_is_exact_on_small_numbers_and_near_on_others(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        acc_pool *pool;
        assert_int_equal(acc_pool_create(&pool, threads, NULL), ACCLLM_OK);
        acc_gemm_bf16 *b = bf16_or_skip(pool);
        each_way(pool, b, 9, 0);
        each_way(pool, b, 0, 150 * 0x1p-8);
        acc_gemm_bf16_free(&b);
        acc_pool_free(&pool);
    }
}

/* What is not a number must come out as such: training stops on it. */
static void bfloat16_keeps_what_is_no_number(void **state)
{
    (void)state;
    acc_pool *pool;
    assert_int_equal(acc_pool_create(&pool, 2, NULL), ACCLLM_OK);
    acc_gemm_bf16 *b = bf16_or_skip(pool);
    uint32_t all_bits = 0x7fffffff, low_bit = 0x7f800001;
    float a[4] = {1, 0, 0, INFINITY}, e[4] = {1, 0, 0, 1}, c[4];
    memcpy(&a[0], &all_bits, sizeof all_bits);
    memcpy(&a[1], &low_bit, sizeof low_bit);
    acc_gemm g = acc_gemm_dense(2, 2, 2, a, false, e, false, c, false);
    g.bf16 = b;
    acc_gemm_run(pool, &g);
    assert_true(isnan(c[0]) && isnan(c[1]));
    assert_true(!isfinite(c[3]));
    acc_gemm_bf16_free(&b);
    acc_pool_free(&pool);
}

static void gram_matrices_add_up(void **state)
{
    (void)state;
    enum { K = 37, N = 131 };
    static float x[K * N], chunk[N * N];
    static double sum[N * N];
    acc_pool *pool;
    assert_int_equal(acc_pool_create(&pool, 2, NULL), ACCLLM_OK);
    for (uint64_t i = 0; i < (uint64_t)K * N; i++) x[i] = (float)(acc_random(4, i) % 9) - 4;
    acc_gram_add(pool, x, K, N, chunk, sum);
    acc_gram_add(pool, x, K, N, chunk, sum);
    for (size_t i = 0; i < N; i++)
        for (size_t j = i; j < N; j++) {
            double expected = 0;
            for (size_t k = 0; k < K; k++) expected += 2 * (double)x[k * N + i] * (double)x[k * N + j];
            assert_true(sum[i * N + j] == expected);
        }
    acc_pool_free(&pool);
}

/* A thread that sends another one signals, and what their handler found of that one's stack. */
static pthread_t receiver;
static uintptr_t stack_begin, stack_end;
static volatile sig_atomic_t received, off_the_stack;
static atomic_bool enough;

static void on_signal(int number)
{
    const uintptr_t here = (uintptr_t)&number;
    received++;
    if (here < stack_begin || here >= stack_end) off_the_stack++;
}

static void *send_signals(void *arg)
{
    const struct timespec pause = {.tv_nsec = 50000};
    while (!atomic_load(&enough)) {
        (void)nanosleep(&pause, NULL);
        (void)pthread_kill(receiver, SIGUSR1);
    }
    return arg;
}

static void find_stack(void)
{
    pthread_attr_t a;
    void *begin;
    size_t bytes;
    receiver = pthread_self();
    assert_int_equal(pthread_getattr_np(receiver, &a), 0);
    assert_int_equal(pthread_attr_getstack(&a, &begin, &bytes), 0);
    assert_int_equal(pthread_attr_destroy(&a), 0);
    stack_begin = (uintptr_t)begin;
    stack_end = stack_begin + bytes;
}

/* A handler's frame stands where the stack pointer says: never in the midst of the heap. */
static void signals_meet_a_stack(void **state)
{
    (void)state;
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    operands *o = acc_calloc(1, sizeof *o);
    pthread_t sender;
    assert_non_null(o);
    fill(o->a, 1, 9);
    fill(o->b, 2, 9);
    find_stack();
    assert_int_equal(sigaction(SIGUSR1, &act, NULL), 0);
    assert_int_equal(pthread_create(&sender, NULL, send_signals, NULL), 0);
    while (received < 300) {
        acc_gemm g = product(o, N_SHAPES - 1, (unsigned)received & 3, 0);
        acc_gemm_one(&g);
    }
    atomic_store(&enough, true);
    assert_int_equal(pthread_join(sender, NULL), 0);
    assert_int_equal(off_the_stack, 0);
    acc_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_three_loops),
        cmocka_unit_test(bfloat16_is_exact_on_small_numbers_and_near_on_others),
        cmocka_unit_test(bfloat16_keeps_what_is_no_number),
        cmocka_unit_test(gram_matrices_add_up),
        cmocka_unit_test(signals_meet_a_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
