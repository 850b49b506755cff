/*
 * Linear kernels. The expected sums are computed from the unpacked integers, independently of every set. Shapes with
 * odd rows and columns, all groups, extreme codes and activations, m at the limit of the overflow proof, parts of the
 * rows.
 */
#include "check.h"

#include <string.h>

#include "core/memory.h"

/* OPPOSED: the largest weights meet the smallest activations; HOSTILE: any bytes, m included. */
typedef enum content { MIXED, LARGEST, SMALLEST, OPPOSED, HOSTILE } content;

typedef struct matrix {
    acc_weight w;
    check_buffer blob, repacked;
    int8_t *ints; /* [row_blocks * 64][width] */
    uint8_t *m;   /* [row_blocks * 64][col_groups] */
    size_t width;
} matrix;

static void fill_codes(const acc_weight *w, content c, check_random *r, int8_t *codes, size_t n, uint8_t *m, size_t n_m)
{
    const uint32_t mmax = acc_weight_mmax(w);
    const bool largest = c == LARGEST || c == OPPOSED;
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = check_next(r);
        if (w->format == ACC_FMT_W2S) /* 0: (-L2, -L2, 0, 0); 95: (0, 0, L2, L2) */
            codes[i] = (int8_t)(largest ? 95 : c == SMALLEST ? 0 : v % 128);
        else if (w->format == ACC_FMT_W2)
            codes[i] = (int8_t)(largest ? 3 : c == SMALLEST ? -3 : 2 * (int)(v % 4) - 3);
        else if (w->format == ACC_FMT_W4)
            codes[i] = (int8_t)(largest ? 7 : c == SMALLEST ? -8 : (int)(v % 16) - 8);
        else
            codes[i] = (int8_t)(largest ? 127 : c == SMALLEST ? -127 : (int)(v % 255) - 127);
    }
    for (size_t i = 0; i < n_m; i++) m[i] = (uint8_t)(c == MIXED ? check_next(r) % (mmax + 1) : mmax);
}

static void make_matrix(matrix *x, const acc_kernels *k, content c, check_random *r)
{
    acc_weight *w = &x->w;
    x->width = (size_t)w->col_groups * w->group;
    x->blob = check_alloc(acc_weight_tiles_bytes(w));
    const size_t n = 64 * x->width / (w->format == ACC_FMT_W2S ? 4 : 1), n_m = 64 * (size_t)w->col_groups;
    x->ints = acc_calloc(w->row_blocks * 64 * x->width, 1);
    x->m = acc_calloc(w->row_blocks * n_m, 1);
    int8_t *codes = acc_calloc(n, 1);
    w->data = x->blob.data;
    for (uint32_t rb = 0; rb < w->row_blocks; rb++) {
        fill_codes(w, c, r, codes, n, x->m + rb * n_m, n_m);
        acc_weight_pack_block(w, x->blob.data, rb, codes, x->m + rb * n_m);
    }
    if (c == HOSTILE)
        for (size_t i = 0; i < x->blob.size; i++) x->blob.data[i] = (uint8_t)check_next(r);
    for (uint32_t rb = 0; rb < w->row_blocks; rb++)
        acc_weight_unpack_block(w, rb, x->ints + rb * 64 * x->width, x->m + rb * n_m);
    acc_free(codes);
    const size_t repacked = k->w[w->format].repack ? k->w[w->format].repack_bytes(w) : 0;
    w->repacked = NULL;
    if (repacked) {
        x->repacked = check_alloc(repacked);
        k->w[w->format].repack(w, x->repacked.data);
        w->repacked = x->repacked.data;
    }
}

static void free_matrix(matrix *x)
{
    check_release(&x->blob);
    if (x->w.repacked) check_release(&x->repacked);
    acc_free(x->ints);
    acc_free(x->m);
}

/* want [n_tokens][row_blocks * 64] */
static void expected(const matrix *x, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *want)
{
    const uint32_t rows = x->w.row_blocks * 64, group = x->w.group;
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t t = 0; t < n_tokens; t++) {
            uint32_t sum = 0;
            for (uint32_t cg = 0; cg < x->w.col_groups; cg++) {
                const int8_t *w = x->ints + row * x->width + (size_t)cg * group, *b = a + t * lda + (size_t)cg * group;
                int32_t s = 0;
                for (uint32_t i = 0; i < group; i++) s += w[i] * b[i];
                sum += (uint32_t)s * x->m[(size_t)row * x->w.col_groups + cg];
            }
            want[(size_t)t * rows + row] = (int32_t)sum;
        }
}

static void fill_tokens(const acc_weight *w, content c, check_random *r, int8_t *a, size_t lda, uint32_t n_tokens)
{
    for (uint32_t t = 0; t < n_tokens; t++) {
        int8_t *x = a + t * lda;
        memset(x, 0, lda);
        for (uint32_t i = 0; i < w->cols; i++) {
            const uint64_t v = check_next(r);
            x[i] = (int8_t)(c == LARGEST                    ? 127
                            : c == SMALLEST || c == OPPOSED ? -127
                            : v % 16 == 0                   ? (v & 16 ? 127 : -127)
                                                            : (int)(v / 16 % 255) - 127);
        }
    }
}

static void check_rows(const acc_kernels *k, const matrix *x, const int8_t *a, size_t lda, const int32_t *expect,
                       uint32_t n_tokens, uint32_t rb0, uint32_t rb1, uint64_t seed, bool vec)
{
    const acc_weight *w = &x->w;
    const size_t n = (size_t)(rb1 - rb0) * 64, ldi = n + (vec ? 0 : 64);
    check_buffer isum = check_alloc(((n_tokens - 1) * ldi + n) * 4);
    check_buffer scratch = check_alloc(acc_kernel_scratch_bytes(w->cols, n_tokens));
    int32_t *y = (int32_t *)(void *)isum.data;
    if (k->w[w->format].pack) k->w[w->format].pack(w, a, lda, n_tokens, scratch.data);
    for (int i = 0; i < 2; i++) /* what was packed serves again */
        if (vec)
            k->w[w->format].matvec(w, a, y, rb0, rb1, scratch.data);
        else
            k->w[w->format].matmul(w, a, lda, n_tokens, y, ldi, rb0, rb1, scratch.data);
    for (uint32_t t = 0; t < n_tokens; t++)
        for (uint32_t i = 0; i < n; i++) {
            const int32_t want = expect[(size_t)t * w->row_blocks * 64 + rb0 * 64 + i];
            if (y[t * ldi + i] != want)
                fail_msg("%s %s %s: seed %llu, %u x %u, group %u, levels (%u, %u), token %u of %u, row %u of blocks "
                         "%u..%u: %d, expected %d",
                         k->name, acc_format_name(w->format), vec ? "matvec" : "matmul", (unsigned long long)seed,
                         w->rows, w->cols, w->group, w->level1, w->level2, t, n_tokens, i, rb0, rb1, y[t * ldi + i],
                         want);
        }
    for (uint32_t t = 0; t + 1 < n_tokens; t++)
        for (size_t i = n; i < ldi; i++) assert_int_equal(y[t * ldi + i], (int32_t)0xa5a5a5a5);
    check_release(&isum);
    check_release(&scratch);
}

static void check_matrix(const acc_kernels *k, acc_format f, const uint32_t shape[3], const int levels[2], content c,
                         const uint32_t *tokens, uint64_t seed)
{
    matrix x;
    check_random r = {seed, 0};
    accllm_error err;
    if (acc_weight_init(&x.w, f, shape[0], shape[1], shape[2], (uint32_t)levels[0], (uint32_t)levels[1], &err) != 0)
        fail_msg("%s", err.text);
    make_matrix(&x, k, c, &r);
    const bool vec = tokens == NULL;
    const uint32_t one[] = {1, 0}, rbs = x.w.row_blocks;
    const size_t lda = acc_round_up(x.width, 64) + (vec ? 0 : 64);
    for (const uint32_t *t = vec ? one : tokens; *t; t++) {
        check_buffer a = check_alloc((*t - 1) * lda + x.width);
        /* the last token's row ends with the buffer */
        check_buffer wide = check_alloc(*t * lda);
        fill_tokens(&x.w, c, &r, (int8_t *)wide.data, lda, *t);
        memcpy(a.data, wide.data, a.size);
        const int8_t *codes = (const int8_t *)a.data;
        int32_t *want = acc_calloc((size_t)*t * rbs * 64, sizeof *want);
        expected(&x, codes, lda, *t, want);
        check_rows(k, &x, codes, lda, want, *t, 0, rbs, seed, vec);
        if (rbs > 1) {
            check_rows(k, &x, codes, lda, want, *t, 1, rbs, seed, vec);
            check_rows(k, &x, codes, lda, want, *t, rbs / 2, rbs / 2 + 1, seed, vec);
        }
        acc_free(want);
        check_release(&a);
        check_release(&wide);
    }
    free_matrix(&x);
}

static const int levels[3][2] = {{1, 2}, {1, 3}, {2, 5}};
static const uint32_t shapes[][3] = {
    {1, 32, 0},     {63, 576, 0},  {64, 128, 128}, {65, 100, 0},
    {130, 1536, 0}, {576, 576, 0}, {64, 640, 32},  {129, 1000, 64},
};

#define N_SHAPES (sizeof shapes / sizeof *shapes)

static void check_format(const acc_kernels *k, acc_format f, const uint32_t *tokens)
{
    uint64_t seeds[4];
    size_t n_seeds = check_seeds(seeds);
    if (tokens) n_seeds = 1; /* each token count is another draw */
    for (size_t l = 0; l < (f == ACC_FMT_W2S ? 3 : 1); l++)
        for (size_t s = 0; s < N_SHAPES; s++) {
            if (l == 2 && shapes[s][2] == 128) continue;
            for (size_t i = 0; i < n_seeds; i++) check_matrix(k, f, shapes[s], levels[l], MIXED, tokens, seeds[i]);
            for (content c = LARGEST; c <= HOSTILE; c++) check_matrix(k, f, shapes[s], levels[l], c, tokens, 1);
        }
    /* the limit of m below 255, sums close to 2^31 */
    const uint32_t wide[3] = {70, 11008, 0}, few[] = {2, 5, 19, 0};
    for (content c = MIXED; c <= HOSTILE; c++) check_matrix(k, f, wide, levels[0], c, tokens ? few : NULL, 1);
}

void check_matvec(void **state)
{
    acc_kernels k;
    check_set(&k, *state);
    for (int f = 0; f < ACC_FMT_COUNT; f++) check_format(&k, (acc_format)f, NULL);
}

void check_matmul(void **state)
{
    acc_kernels k;
    check_set(&k, *state);
    static const uint32_t tokens[] = {2, 3, 4, 5, 6, 7, 8, 19, 0}; /* every block of tokens that a set has */
    for (int f = 0; f < ACC_FMT_COUNT; f++) check_format(&k, (acc_format)f, tokens);
}
