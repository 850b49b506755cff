#include "core/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"

/* Spins before a waiting thread sleeps: about 20 us, the length of a short step of decode. */
#define SPINS 4000

/*
 * A job is n_threads shares. Threads claim shares rather than own them: where the system gives a worker no time, the
 * others do its share, and a job never waits for a thread that has not begun. `claim` holds the job's number and the
 * shares left in one word, so a worker that comes late cannot take a share of another job.
 */
struct acc_pool {
    uint32_t n_threads;
    acc_job *job;
    void *ctx;
    _Alignas(ACC_ALIGN) atomic_ullong claim;    /* number of the job << 32 | shares not yet claimed */
    _Alignas(ACC_ALIGN) atomic_uint generation; /* rises by one per job */
    _Alignas(ACC_ALIGN) atomic_uint unfinished; /* shares of the present job */
    atomic_bool stop;
    pthread_mutex_t callers; /* one job at a time: sessions of several threads share the pool */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    uint32_t n_started;
    pthread_t *threads;
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits until *a differs from `from`: spins a while, then sleeps on cond. */
static void wait_change(acc_pool *p, atomic_uint *a, unsigned from, pthread_cond_t *cond)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(a, memory_order_acquire) != from) return;
        cpu_relax();
    }
    (void)pthread_mutex_lock(&p->lock);
    while (atomic_load_explicit(a, memory_order_acquire) == from) (void)pthread_cond_wait(cond, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
}

/* Runs shares of the present job until none is left to claim. */
static void work(acc_pool *p)
{
    unsigned long long c = atomic_load_explicit(&p->claim, memory_order_acquire);
    while ((uint32_t)c > 0) {
        if (!atomic_compare_exchange_weak_explicit(&p->claim, &c, c - 1, memory_order_acquire, memory_order_acquire))
            continue;
        /* The job cannot end before this share does, so its fields stand still. */
        p->job(p->ctx, p->n_threads - (uint32_t)c, p->n_threads);
        if (atomic_fetch_sub_explicit(&p->unfinished, 1, memory_order_acq_rel) == 1) {
            (void)pthread_mutex_lock(&p->lock);
            (void)pthread_cond_signal(&p->done);
            (void)pthread_mutex_unlock(&p->lock);
        }
        c = atomic_load_explicit(&p->claim, memory_order_acquire);
    }
}

static void *worker_main(void *arg)
{
    acc_pool *p = arg;
    for (unsigned seen = 0;;) {
        wait_change(p, &p->generation, seen, &p->wake);
        seen = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (atomic_load(&p->stop)) return NULL;
        work(p);
    }
}

static accllm_status start_workers(acc_pool *p, accllm_error *err)
{
    for (uint32_t w = 1; w < p->n_threads; w++) {
        if (pthread_create(&p->threads[w], NULL, worker_main, p) != 0)
            return acc_fail(err, ACCLLM_E_LIMIT, "cannot start thread %u of %u", w + 1, p->n_threads);
        p->n_started = w;
    }
    return ACCLLM_OK;
}

accllm_status acc_pool_create(acc_pool **out, uint32_t n_threads, accllm_error *err)
{
    *out = NULL;
    if (n_threads == 0 || n_threads > 1024)
        return acc_fail(err, ACCLLM_E_ARG, "threads must be 1 to 1024, not %u", n_threads);
    acc_pool *p = acc_calloc(1, sizeof *p);
    if (!p) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: thread pool");
    p->n_threads = n_threads;
    (void)pthread_mutex_init(&p->callers, NULL);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->wake, NULL);
    (void)pthread_cond_init(&p->done, NULL);
    p->threads = acc_calloc(n_threads, sizeof *p->threads);
    accllm_status s = p->threads ? start_workers(p, err) : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: thread pool");
    if (s != ACCLLM_OK)
        acc_pool_free(&p);
    else
        *out = p;
    return s;
}

/* Raises the generation under the lock, so that a worker about to sleep cannot miss it. */
static void raise_generation(acc_pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    atomic_fetch_add_explicit(&p->generation, 1, memory_order_release);
    (void)pthread_cond_broadcast(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

void acc_pool_free(acc_pool **pool)
{
    acc_pool *p = *pool;
    if (!p) return;
    atomic_store(&p->stop, true);
    raise_generation(p);
    for (uint32_t w = 1; w <= p->n_started; w++) (void)pthread_join(p->threads[w], NULL);
    (void)pthread_cond_destroy(&p->done);
    (void)pthread_cond_destroy(&p->wake);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_mutex_destroy(&p->callers);
    acc_free(p->threads);
    acc_free(p);
    *pool = NULL;
}

uint32_t acc_pool_size(const acc_pool *pool)
{
    return pool->n_threads;
}

void acc_pool_run(acc_pool *p, acc_job *job, void *ctx)
{
    if (p->n_threads == 1) {
        job(ctx, 0, 1);
        return;
    }
    (void)pthread_mutex_lock(&p->callers);
    p->job = job;
    p->ctx = ctx;
    atomic_store_explicit(&p->unfinished, p->n_threads, memory_order_relaxed);
    unsigned long long number = (atomic_load_explicit(&p->claim, memory_order_relaxed) >> 32) + 1;
    atomic_store_explicit(&p->claim, number << 32 | p->n_threads, memory_order_release);
    raise_generation(p);
    work(p);
    for (unsigned left; (left = atomic_load_explicit(&p->unfinished, memory_order_acquire)) != 0;)
        wait_change(p, &p->unfinished, left, &p->done);
    (void)pthread_mutex_unlock(&p->callers);
}

/* cgroup v2 "quota period" or v1 cfs_quota_us / cfs_period_us; 0: no limit known. */
static uint32_t quota_cpus(void)
{
    long long quota = -1, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f) {
        if (fscanf(f, "%lld %lld", &quota, &period) != 2) quota = -1;
        (void)fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re")) != NULL) {
        if (fscanf(f, "%lld", &quota) != 1) quota = -1;
        (void)fclose(f);
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re")) != NULL) {
            if (fscanf(f, "%lld", &period) != 1) period = 0;
            (void)fclose(f);
        }
    }
    if (quota <= 0 || period <= 0) return 0;
    return quota < period ? 1 : (uint32_t)(quota / period);
}

/* True if cpu is the first of its core's hardware threads that the mask allows. */
static bool first_sibling(int cpu, const cpu_set_t *mask)
{
    char path[96], line[128];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "re");
    if (!f) return true;
    bool first = true;
    if (fgets(line, sizeof line, f)) {
        for (char *p = line; *p >= '0' && *p <= '9';) {
            char *end;
            long a = strtol(p, &end, 10), b = a;
            if (*end == '-') b = strtol(end + 1, &end, 10);
            for (long c = a; c <= b && c < cpu && c < CPU_SETSIZE; c++)
                if (CPU_ISSET((size_t)c, mask)) first = false;
            p = *end == ',' ? end + 1 : end;
        }
    }
    (void)fclose(f);
    return first;
}

uint32_t acc_default_threads(void)
{
    cpu_set_t mask;
    CPU_ZERO(&mask);
    uint32_t cores = 0;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        for (int c = 0; c < CPU_SETSIZE; c++)
            if (CPU_ISSET((size_t)c, &mask) && first_sibling(c, &mask)) cores++;
    uint32_t quota = quota_cpus();
    if (quota && quota < cores) cores = quota;
    return cores ? cores : 1;
}
