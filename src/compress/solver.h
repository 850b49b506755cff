/*
 * The solver: one matrix of float weights and the Hessian of its inputs -> integer codes and scales of a packed format.
 * Pure functions over matrices; nothing here knows of models or files.
 *
 * Method: optimal brain surgery with error feedback over static scales (Hassibi & Stork 1993; GPTQ, Frantar et al.
 * 2022; SparseGPT, Frantar & Alistarh 2023), with the exact cost of every code word of a quad in the place of separate
 * pruning and rounding. Weights are held transposed, [column][row], so that rows are the vector lanes.
 */
#ifndef ACC_COMPRESS_SOLVER_H
#define ACC_COMPRESS_SOLVER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "core/threads.h"
#include "weights/grid.h"

#define ACC_LANES 16        /* rows that a kernel works on together */
#define ACC_SOLVE_BATCH 128 /* columns between two updates of the rest by GEMM; a multiple of 4 */
#define ACC_W2S_HALF 60     /* W2S codes up to sign, without the zero quad */

/* ---- Hessian of the inputs (hessian.c) ---- */

/* Sum of x x^T over tokens, upper triangle, in double: massive activations must not drown the rest. */
typedef struct acc_hessian {
    uint32_t cols;
    uint64_t tokens;
    double *sum;  /* [cols][cols] */
    float *chunk; /* [cols][cols], one chunk's sum */
} acc_hessian;

accllm_status acc_hessian_create(acc_hessian *h, uint32_t cols, accllm_error *err) ACC_MUST_CHECK;
void acc_hessian_free(acc_hessian *h); /* safe on a zeroed struct, zeroes it */
void acc_hessian_reset(acc_hessian *h);
/* x [n_tokens][cols]. */
void acc_hessian_add(acc_pool *pool, acc_hessian *h, const float *x, uint32_t n_tokens);

/* What the sweeps need of a Hessian: H/T + damping * mean(diag) * I = (U^T U)^-1, columns reordered in units (a unit is
 * the columns of one code) by falling diagonal. */
typedef struct acc_factor {
    uint32_t cols, unit;
    uint32_t n;      /* cols rounded up to whole units */
    uint32_t *order; /* [n / unit]: the unit of the original matrix that stands at this place */
    float *u;        /* [n][n] upper triangular, in the new order */
    float *d;        /* [n], original order: 1 / diag of the inverse, the cost of changing one weight */
    float *h;        /* [cols][cols], original order, undamped mean: for losses */
    float lambda;    /* damping * mean(diag) */
    double damping;  /* what was used: raised where the factorisation failed */
    uint32_t dead;   /* columns that no token ever touched */
} acc_factor;

/* E_NUMERIC: h holds NaN or infinity, or cannot be factored. `what` names it in messages. */
accllm_status acc_factor_create(acc_factor *f, const acc_hessian *h, uint32_t unit, double damping, const char *what,
                                accllm_error *err) ACC_MUST_CHECK;
void acc_factor_free(acc_factor *f); /* safe on a zeroed struct, zeroes it */
/* Columns of one code. */
static inline uint32_t acc_code_unit(acc_format f)
{
    return f == ACC_FMT_W2S ? 4 : 1;
}
/* Makes f (zeroed, or of the same h and damping) serve the codes of a format, unless it does already. */
accllm_status acc_factor_for(acc_factor *f, const acc_hessian *h, acc_format format, double damping, const char *what,
                             accllm_error *err) ACC_MUST_CHECK;

/* ---- codes of a block of rows (codes.c) ---- */

typedef struct acc_codes {
    acc_format format;
    uint32_t rows, cols;
    uint32_t rows_pad; /* multiple of 64 */
    uint32_t group, n_groups;
    uint32_t unit, n_units; /* columns per code; codes per row, padding included */
    int level1, level2;
    uint32_t mmax; /* 0: one scale per row (W8) */
    int8_t *codes; /* [rows_pad][n_units] as acc_weight_pack_block() takes them */
    uint8_t *m;    /* [rows_pad][n_groups] */
    float *rscale; /* [rows_pad] */
    float *scale;  /* [n_groups][rows_pad]: m * rscale */
} acc_codes;

/* All weights zero. shape gives format, cols, group and levels; rows may be a part of its rows. */
accllm_status acc_codes_create(acc_codes *c, const acc_weight *shape, uint32_t rows, accllm_error *err) ACC_MUST_CHECK;
void acc_codes_free(acc_codes *c);
/* Row r as floats [cols]. */
void acc_codes_dequant_row(const acc_codes *c, uint32_t r, float *out);

/* Weights transposed and padded: out [cols_pad][rows_pad] of w [rows][cols]. E_NUMERIC: NaN or infinity. */
accllm_status acc_transpose_weights(acc_pool *pool, const float *w, uint32_t rows, uint32_t cols, float *out,
                                    uint32_t rows_pad, const char *what, accllm_error *err) ACC_MUST_CHECK;

/* ---- scales (scales.c) ---- */

/* Chooses scale, m and rscale of every row and group: the point of a grid that loses least over round-to-nearest, each
 * column's squared error weighted by d [cols] (NULL: 1). wt [>= cols][rows_pad]. */
void acc_choose_scales(acc_pool *pool, acc_codes *c, const float *wt, const float *d);
/* The levels (of those that the group allows) that lose least on a sample of rows; sets c->level1, level2. */
void acc_choose_levels(acc_pool *pool, acc_codes *c, const float *wt, const float *d);

/* ---- code choice ---- */

/* The code words of a pair of levels: representatives up to sign, as two picks. */
typedef struct acc_w2s_book {
    uint8_t i[ACC_W2S_HALF], j[ACC_W2S_HALF]; /* positions of the picks */
    float a[ACC_W2S_HALF], b[ACC_W2S_HALF];   /* their values; a single has b = 0 */
    int8_t quad[ACC_W2S_HALF][4];
    uint8_t plus[ACC_W2S_HALF], minus[ACC_W2S_HALF]; /* the code words of +quad and -quad */
} acc_w2s_book;

#define ACC_W2S_ZERO 96

void acc_w2s_book_init(acc_w2s_book *book, int level1, int level2);

/* One quad's quadratic form: cost of error e is e a e^T; k[c] = quad_c a quad_c^T. */
typedef struct acc_quad_form {
    float a[4][4];
    float k[ACC_W2S_HALF];
} acc_quad_form;

void acc_quad_form_init(acc_quad_form *f, const double a[4][4], const acc_w2s_book *book);

/* For each lane the code word with the least (w - s q) a (w - s q)^T among all 121; q is its quad. */
void acc_w2s_choose(const acc_w2s_book *book, const acc_quad_form *f, const float w[4][ACC_LANES],
                    const float s[ACC_LANES], uint8_t code[ACC_LANES], float q[4][ACC_LANES]);

/* Rounds to nearest with the scales in c, each column's error weighted by d (NULL: 1). */
accllm_status acc_solve_rtn(acc_pool *pool, acc_codes *c, const float *wt, const float *d,
                            accllm_error *err) ACC_MUST_CHECK;
/* The sweeps with error feedback over the scales in c. wt [f->n][rows_pad] is consumed. */
accllm_status acc_solve_obs(acc_pool *pool, acc_codes *c, float *wt, const acc_factor *f,
                            accllm_error *err) ACC_MUST_CHECK;

/* Coordinate descent from the codes and scales in c, which never raises the (damped) loss. wt [f->n][rows_pad]: the
 * weights, consumed. */
accllm_status acc_solve_descent(acc_pool *pool, acc_codes *c, float *wt, const acc_factor *f, uint32_t sweeps,
                                accllm_error *err) ACC_MUST_CHECK;

/* One strip (ACC_LANES rows from row r0) of one batch of columns, in the factor's order; w and e [n][ACC_LANES]: e gets
 * the errors in units of the factor's diagonal. One function per kind of code. */
typedef struct acc_sweep {
    acc_codes *c;
    const acc_factor *f;
    const acc_w2s_book *book;   /* W2S */
    const acc_quad_form *forms; /* W2S: [n / 4], in the factor's order */
    float *wt, *e;              /* [n][rows_pad]; [ACC_SOLVE_BATCH][rows_pad] */
    uint32_t begin, count;      /* the batch's columns */
} acc_sweep;

void acc_sweep_w2s(const acc_sweep *s, uint32_t r0, float (*w)[ACC_LANES], float (*e)[ACC_LANES]);
void acc_sweep_dense(const acc_sweep *s, uint32_t r0, float (*w)[ACC_LANES], float (*e)[ACC_LANES]);

/* ---- loss (loss.c) ---- */

typedef struct acc_loss {
    double error;  /* sum over rows of (q - w) H (q - w)^T */
    double signal; /* sum over rows of w H w^T */
} acc_loss;

/* Loss of the codes against w [rows][cols] under H [cols][cols]. With refit, each row's rscale is first multiplied by
 * the closed-form best factor, which never raises the loss. */
accllm_status acc_codes_loss(acc_pool *pool, acc_codes *c, const float *w, const float *h, bool refit, acc_loss *loss,
                             accllm_error *err) ACC_MUST_CHECK;

/* ---- one matrix (quantize.c) ---- */

typedef struct acc_quantize_params {
    bool obs;
    uint32_t descent;   /* sweeps of coordinate descent after it */
    bool choose_levels; /* of W2S: (1,2), (1,3), (2,5) by predicted loss; else the shape's levels */
    bool no_rtn;        /* round-to-nearest is not measured */
} acc_quantize_params;

typedef struct acc_quantize_stats {
    double error, signal; /* of the result, under H (0, 0 without a factor) */
    double rtn_error;     /* of round-to-nearest, the same H; < 0: not measured */
    double seconds;
} acc_quantize_stats;

/*
 * w [rows][cols] -> codes of *c. f may be NULL for round-to-nearest.
 * E_NUMERIC where w or H is not finite.
 */
accllm_status acc_quantize(acc_pool *pool, const acc_quantize_params *p, acc_weight *shape, const float *w,
                           const acc_factor *f, acc_codes *c, acc_quantize_stats *stats, const char *what,
                           accllm_error *err) ACC_MUST_CHECK;
/* Packs all rows of c as row blocks [first_block, ...) of the blob of shape and writes their rscale. */
void acc_codes_pack(const acc_codes *c, const acc_weight *shape, uint8_t *blob, uint32_t first_block);

#endif
