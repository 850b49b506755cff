/* Linear kernels against the clock: one thread, weights in cache and from memory, best of several runs. */
#include "check.h"

#include <string.h>

#include "core/clock.h"
#include "core/memory.h"

typedef struct bench_case {
    const char *name;
    uint32_t rows, cols, copies, tokens; /* copies: matrices walked in turn; tokens 0: matvec */
} bench_case;

static const bench_case cases[] = {
    {"cache", 576, 576, 1, 0},     {"cache", 256, 4096, 1, 0},     {"L2", 4096, 768, 1, 0},
    {"memory", 4096, 4096, 24, 0}, {"memory", 4096, 11008, 10, 0}, {"memory", 576, 1536, 400, 0},
    {"prefill", 256, 4096, 1, 8},  {"prefill", 256, 4096, 1, 128}, {"prefill", 576, 576, 1, 128},
};

typedef struct bench_state {
    acc_weight *w;
    uint8_t *blob, *repacked;
    size_t blob_bytes, repacked_bytes;
    int8_t *a;
    int32_t *isum;
    void *scratch;
} bench_state;

static bool bench_make(bench_state *b, const acc_kernels *k, acc_format f, const bench_case *c)
{
    acc_weight w;
    memset(b, 0, sizeof *b);
    if (acc_weight_init(&w, f, c->rows, c->cols, 0, 1, 2, NULL) != ACCLLM_OK) return false;
    const size_t width = (size_t)w.col_groups * w.group, bytes = acc_round_up(acc_weight_bytes(&w), 64);
    const uint32_t tokens = c->tokens ? c->tokens : 1;
    const bool repack = k->w[f].repack != NULL;
    b->w = acc_calloc(c->copies, sizeof *b->w);
    b->blob_bytes = bytes * (repack ? 1 : c->copies) + 64;
    b->blob = acc_pages_alloc(b->blob_bytes);
    if (repack) {
        b->repacked_bytes = k->w[f].repack_bytes(&w) * c->copies;
        b->repacked = acc_pages_alloc(b->repacked_bytes);
    }
    b->a = acc_calloc(tokens, width);
    b->isum = acc_calloc((size_t)w.row_blocks * 64 * tokens, sizeof *b->isum);
    b->scratch = acc_calloc(acc_kernel_scratch_bytes(c->cols, tokens), 1);
    if (!b->w || !b->blob || (repack && !b->repacked) || !b->a || !b->isum || !b->scratch) return false;
    for (size_t i = 0; i < b->blob_bytes; i += 8) {
        const uint64_t v = acc_random(1, i);
        memcpy(b->blob + i, &v, b->blob_bytes - i < 8 ? b->blob_bytes - i : 8);
    }
    for (size_t i = 0; i < tokens * width; i++) b->a[i] = (int8_t)((int)(acc_random(2, i) % 255) - 127);
    for (uint32_t i = 0; i < c->copies; i++) {
        b->w[i] = w;
        b->w[i].data = b->blob + (repack ? 0 : i * bytes);
        if (!repack) continue;
        uint8_t *dst = b->repacked + i * k->w[f].repack_bytes(&w);
        k->w[f].repack(&b->w[i], dst);
        b->w[i].repacked = dst;
    }
    return true;
}

static void bench_free(bench_state *b)
{
    acc_free(b->w);
    acc_pages_free(b->blob, b->blob_bytes);
    acc_pages_free(b->repacked, b->repacked_bytes);
    acc_free(b->a);
    acc_free(b->isum);
    acc_free(b->scratch);
}

static double bench_run(const bench_state *b, const acc_kernels *k, const bench_case *c)
{
    const acc_format f = b->w[0].format;
    const size_t lda = (size_t)b->w[0].col_groups * b->w[0].group, ldi = (size_t)b->w[0].row_blocks * 64;
    double best = 1e9;
    const double start = acc_seconds();
    for (int run = 0; run < 3 || (run < 2000 && acc_seconds() - start < 0.5); run++) {
        for (uint32_t i = 0; i < c->copies; i++) { /* each matrix alone: a short span is seldom interrupted */
            const acc_weight *w = &b->w[i];
            const double t = acc_seconds();
            if (k->w[f].pack) k->w[f].pack(w, b->a, lda, c->tokens ? c->tokens : 1, b->scratch);
            if (c->tokens)
                k->w[f].matmul(w, b->a, lda, c->tokens, b->isum, ldi, 0, w->row_blocks, b->scratch);
            else
                k->w[f].matvec(w, b->a, b->isum, 0, w->row_blocks, b->scratch);
            const double d = acc_seconds() - t;
            if (d < best) best = d;
        }
    }
    return best;
}

void bench_linear(const acc_kernels *k, const char *only)
{
    for (int f = 0; f < ACC_FMT_COUNT; f++) {
        if (only && strcmp(only, acc_format_name((acc_format)f)) != 0) continue;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const bench_case *c = &cases[i];
            bench_state b;
            if (!bench_make(&b, k, (acc_format)f, c)) {
                (void)fprintf(stderr, "out of memory: %u x %u\n", c->rows, c->cols);
            } else {
                const double s = bench_run(&b, k, c), weights = (double)c->rows * c->cols;
                const uint32_t tokens = c->tokens ? c->tokens : 1;
                /* GB/s of the bytes that the kernel reads; Gweight/s counts a weight once per token */
                const double bytes =
                    k->w[f].repack ? (double)k->w[f].repack_bytes(b.w) : (double)acc_weight_tiles_bytes(b.w);
                (void)printf("%s_%s,%s,%ux%u*%u %s,%.0f,%.2f,%.1f\n", acc_format_name((acc_format)f),
                             c->tokens ? "matmul" : "matvec", k->name, c->rows, c->cols, tokens, c->name, s * 1e9,
                             bytes / s / 1e9, weights * tokens / s / 1e9);
                (void)fflush(stdout);
            }
            bench_free(&b);
        }
    }
}
