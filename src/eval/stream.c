#include "eval/stream.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/inline.h"
#include "core/memory.h"
#include "eval/median.h"

#define STREAM_BYTES ((size_t)1 << 30)
#define TRIALS 3 /* of every loop, in turn; their median counts */

#define LINE 64
#define MOST_STREAMS 4

typedef uint64_t words __attribute__((vector_size(16), may_alias)); /* what every 64-bit CPU has registers for */

/* The exclusive or of n lines, read as a number of streams that stand far apart, each prefetched `ahead` bytes before
 * it is read (0: by the processor alone). */
ACC_INLINE uint64_t read_lines(const uint8_t *p, size_t n, const unsigned streams, const size_t ahead)
{
    const size_t part = n / streams * LINE;
    words a[MOST_STREAMS][4] = {0};
    for (size_t at = 0; at < part; at += LINE) {
#pragma GCC unroll 4
        for (unsigned s = 0; s < streams; s++) {
            const uint8_t *x = p + s * part + at;
            if (ahead) __builtin_prefetch(x + ahead, 0, 2);
#pragma GCC unroll 4
            for (unsigned i = 0; i < 4; i++) a[s][i] ^= *(const words *)(const void *)(x + 16 * i);
        }
    }
    for (size_t at = streams * part; at < n * LINE; at += 16) a[0][0] ^= *(const words *)(const void *)(p + at);
    words sum = {0};
    for (unsigned s = 0; s < streams; s++) sum ^= a[s][0] ^ a[s][1] ^ a[s][2] ^ a[s][3];
    return sum[0] ^ sum[1];
}

#define LOOP(name, streams, ahead)                       \
    static uint64_t name(const uint8_t *p, size_t n)     \
    {                                                    \
        return read_lines(p, n, streams, (ahead) << 10); \
    }
LOOP(read_1, 1, 0)
LOOP(read_1_ahead_1, 1, 1)
LOOP(read_1_ahead_4, 1, 4)
LOOP(read_1_ahead_16, 1, 16)
LOOP(read_1_ahead_32, 1, 32)
LOOP(read_2_ahead_2, 2, 2)
LOOP(read_4, 4, 0)
LOOP(read_4_ahead_1, 4, 1)

static acc_read_loop *const loops[] = {read_1,          read_1_ahead_1, read_1_ahead_4, read_1_ahead_16,
                                       read_1_ahead_32, read_2_ahead_2, read_4,         read_4_ahead_1};
enum { N_LOOPS = sizeof loops / sizeof *loops };

acc_read_loop *acc_stream_loop(size_t i)
{
    return i < N_LOOPS ? loops[i] : NULL;
}

struct acc_stream {
    acc_pool *pool;
    uint8_t *data;
    uint64_t *sums; /* one line per worker, so that the reads are used */
    acc_read_loop *read;
};

static void share(uint32_t w, uint32_t n, size_t *begin, size_t *end)
{
    const size_t lines = STREAM_BYTES / LINE;
    *begin = lines * w / n;
    *end = lines * (w + 1) / n;
}

/* Every worker touches its own part first: no shared zero page, memory near the reader. */
static void touch(void *ctx, uint32_t w, uint32_t n)
{
    const acc_stream *s = ctx;
    size_t begin, end;
    share(w, n, &begin, &end);
    memset(s->data + begin * LINE, 1, (end - begin) * LINE);
}

static void read_share(void *ctx, uint32_t w, uint32_t n)
{
    const acc_stream *s = ctx;
    size_t begin, end;
    share(w, n, &begin, &end);
    s->sums[w * 8] = s->read(s->data + begin * LINE, end - begin);
}

double acc_stream_rate(acc_stream *s, double seconds)
{
    const double begin = acc_seconds();
    double spent, bytes = 0;
    do {
        acc_pool_run(s->pool, read_share, s);
        bytes += (double)STREAM_BYTES;
        spent = acc_seconds() - begin;
    } while (spent < seconds);
    return bytes / spent / 1e9;
}

/* In turn, and by the median, since what other users of the memory leave us changes from one moment to the next. */
static acc_read_loop *fastest_loop(acc_stream *s)
{
    double rate[N_LOOPS][TRIALS];
    double best = 0;
    acc_read_loop *fastest = loops[0];
    for (int trial = 0; trial < TRIALS; trial++)
        for (size_t i = 0; i < N_LOOPS; i++) {
            s->read = loops[i];
            rate[i][trial] = acc_stream_rate(s, 0);
        }
    for (size_t i = 0; i < N_LOOPS; i++) {
        const double median = acc_median(rate[i], TRIALS);
        if (median <= best) continue;
        best = median;
        fastest = loops[i];
    }
    return fastest;
}

accllm_status acc_stream_create(acc_stream **out, acc_pool *pool, accllm_error *err)
{
    acc_stream *s = *out = acc_calloc(1, sizeof *s);
    if (s) {
        s->pool = pool;
        s->data = acc_pages_alloc(STREAM_BYTES);
        s->sums = acc_calloc(acc_pool_size(pool), LINE);
    }
    if (!s || !s->data || !s->sums) {
        acc_stream_free(out);
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: stream of %zu MB", STREAM_BYTES >> 20);
    }
    acc_pool_run(pool, touch, s);
    s->read = fastest_loop(s);
    return ACCLLM_OK;
}

void acc_stream_free(acc_stream **s)
{
    if (!*s) return;
    acc_pages_free((*s)->data, STREAM_BYTES);
    acc_free((*s)->sums);
    acc_free(*s);
    *s = NULL;
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
