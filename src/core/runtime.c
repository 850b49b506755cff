#include "core/runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/memory.h"

void accllm_runtime_abort(accllm_runtime *rt)
{
    atomic_store_explicit(&rt->abort, true, memory_order_relaxed);
}

void accllm_runtime_clear_abort(accllm_runtime *rt)
{
    atomic_store_explicit(&rt->abort, false, memory_order_relaxed);
}

bool accllm_runtime_aborted(const accllm_runtime *rt)
{
    return atomic_load_explicit(&rt->abort, memory_order_relaxed);
}

accllm_status acc_check_abort(const accllm_runtime *rt, accllm_error *err)
{
    return accllm_runtime_aborted(rt) ? acc_fail(err, ACCLLM_E_CANCELLED, "cancelled") : ACCLLM_OK;
}

void acc_log(const accllm_runtime *rt, const char *fmt, ...)
{
    if (!rt->log) return;
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    rt->log(rt->log_user, line);
}

uint64_t accllm_peak_rss_bytes(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_maxrss * 1024 : 0;
}

uint64_t accllm_rss_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    int n = fscanf(f, "%llu %llu", &total, &resident);
    (void)fclose(f);
    return n == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
