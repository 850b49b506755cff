#include "eval/stream.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"

#define STREAM_BYTES ((size_t)1 << 30)
#define STREAM_RUNS 5

typedef uint64_t line __attribute__((vector_size(64)));

typedef struct stream {
    uint8_t *data;
    uint64_t *sums; /* one line per worker, so that the reads are used */
} stream;

static void share(uint32_t w, uint32_t n, size_t *begin, size_t *end)
{
    const size_t lines = STREAM_BYTES / sizeof(line);
    *begin = lines * w / n;
    *end = lines * (w + 1) / n;
}

/* Every worker touches its own part first: no shared zero page, memory near the reader. */
static void touch(void *ctx, uint32_t w, uint32_t n)
{
    const stream *s = ctx;
    size_t begin, end;
    share(w, n, &begin, &end);
    memset(s->data + begin * sizeof(line), 1, (end - begin) * sizeof(line));
}

static void read_all(void *ctx, uint32_t w, uint32_t n)
{
    const stream *s = ctx;
    const line *p = (const line *)(const void *)s->data;
    size_t begin, end;
    share(w, n, &begin, &end);
    line a = {0}, b = {0};
    size_t i = begin;
    for (; i + 2 <= end; i += 2) {
        a ^= p[i];
        b ^= p[i + 1];
    }
    if (i < end) a ^= p[i];
    a ^= b;
    s->sums[w * 8] = a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

accllm_status acc_stream_gb_s(acc_pool *pool, double *gb_s, accllm_error *err)
{
    stream s = {.data = acc_pages_alloc(STREAM_BYTES), .sums = acc_calloc(acc_pool_size(pool), 64)};
    *gb_s = 0;
    if (!s.data || !s.sums) {
        acc_pages_free(s.data, STREAM_BYTES);
        acc_free(s.sums);
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: stream of %zu MB", STREAM_BYTES >> 20);
    }
    acc_pool_run(pool, touch, &s);
    for (int i = 0; i < STREAM_RUNS; i++) {
        const double t = acc_seconds();
        acc_pool_run(pool, read_all, &s);
        const double rate = (double)STREAM_BYTES / (acc_seconds() - t) / 1e9;
        if (rate > *gb_s) *gb_s = rate;
    }
    acc_pages_free(s.data, STREAM_BYTES);
    acc_free(s.sums);
    return ACCLLM_OK;
}

/* One word of /sys/devices/system/cpu/cpu0/cache/indexI/NAME. */
static bool cache_word(int i, const char *name, char word[32])
{
    char path[96];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i, name);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool read = fscanf(f, "%31s", word) == 1;
    (void)fclose(f);
    return read;
}

uint64_t acc_last_level_cache(void)
{
    unsigned long top = 0;
    uint64_t bytes = 0;
    char level[32], type[32], size[32];
    for (int i = 0; i < 16; i++) {
        if (!cache_word(i, "level", level) || !cache_word(i, "type", type) || !cache_word(i, "size", size)) break;
        if (strcmp(type, "Instruction") == 0 || strtoul(level, NULL, 10) < top) continue;
        char *unit;
        top = strtoul(level, NULL, 10);
        bytes = strtoull(size, &unit, 10);
        bytes <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : 0;
    }
    return bytes;
}
