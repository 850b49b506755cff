/*
 * The kernel table. One struct of function pointers: filled with the scalar reference (the definition,
 * docs/numerics.md) and overridden by the tiers that the CPU has. Every kernel of every set equals scalar bit for bit.
 *
 * Kernels allocate nothing and read nothing out of bounds. Buffers: 64-byte aligned unless said otherwise.
 */
#ifndef ACC_KERNELS_KERNELS_H
#define ACC_KERNELS_KERNELS_H

#include <stdbool.h>

#include "weights/weights.h"

/* ---- linear layers: isum[n] = sum_g m[n,g] * sum_k w[n,k] a[k], modulo 2^32 ---- */

/* What the two below read instead of codes, where a set has it: made in scratch once for the same tokens and all
 * matrices of a format, group and number of columns. n_tokens 1: for matvec; more: for matmul. */
typedef void acc_pack_fn(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, void *scratch);
/* Rows of row blocks [rb0, rb1) for one token. a: [col_groups * group] int8 in -127..127, zero beyond cols.
 * isum: [(rb1 - rb0) * 64]. scratch: acc_kernel_scratch_bytes(), as pack left it. */
typedef void acc_matvec_fn(const acc_weight *w, const int8_t *a, int32_t *isum, uint32_t rb0, uint32_t rb1,
                           void *scratch);
/* The same for n_tokens tokens, 2 or more: a [n_tokens][lda], isum [n_tokens][ldi]. lda a multiple of 64. */
typedef void acc_matmul_fn(const acc_weight *w, const int8_t *a, size_t lda, uint32_t n_tokens, int32_t *isum,
                           size_t ldi, uint32_t rb0, uint32_t rb1, void *scratch);

/* ---- attention (docs/numerics.md "Attention of one query and head") ---- */

/* One quantised query: of one head for one resident page, or for the sinks. */
typedef struct acc_attn_query {
    const int8_t *q; /* [head_dim padded to 32], zero beyond head_dim */
    int32_t sum;     /* of q */
    float c;         /* qscale * kappa */
    float beta;
} acc_attn_query;

/* A run of positions whose lines stand together: part of one page. Layout: design section 4. */
typedef struct acc_attn_piece {
    const uint8_t *k, *v;
    const uint16_t *kscale, *vscale; /* f16 bits */
    const uint8_t *kzero, *vzero;    /* NULL with 8 bits */
    uint32_t n;                      /* positions, a multiple of 16 */
    uint32_t variant;                /* which query */
} acc_attn_piece;

/* One segment of one query position, for the n_heads query heads that share a KV head. The pieces' positions are
 * numbered from 0 on; first <= i < end take part (what stands outside is arbitrary but readable). */
typedef struct acc_attn_segment {
    const acc_attn_piece *pieces;
    uint32_t n_pieces;
    uint32_t first, end;
    uint32_t head_dim, n_heads;
    const acc_attn_query *queries; /* [variant][n_heads] */
    float *max;                    /* out [n_heads]: M */
    uint32_t *l;                   /* out [n_heads]: L */
    float *o;                      /* out [n_heads][head_dim]: float(acc - z) * (B / 32640); zeros when B = 0 */
} acc_attn_segment;

/* Limits of the kernels; the loader refuses more. */
#define ACC_MAX_HEAD_DIM 256
/* Positions of a segment; its pieces may hold up to 32 more outside first..end. */
#define ACC_SEGMENT_KV4 4096u
#define ACC_SEGMENT_KV8 512u

/* So many bytes ahead kernels ask the processor for keys and values; the first ones of a segment are the caller's to
 * ask for. (Llama-2-7B's shape, AVX2, position 2,048: attention takes 3 % more time with 1,024 or 4,096.) */
#define ACC_ATTN_AHEAD 2048u

typedef void acc_attn_fn(const acc_attn_segment *s, void *scratch);

/* Window query for one page: rotates q (half-split pairs by cos/sin [head_dim / 2]), beta = sum(rotated * mu) * att,
 * Walsh-Hadamard over blocks of `block`, A8. Writes out->{sum, c, beta} and the codes to q8 (= out->q), zero-padded to
 * a multiple of 32. c = qscale * kappa with kappa = att / block. Sinks: block = 1, mu = NULL (beta 0).
 * Returns false when the vector holds a NaN or infinity. */
typedef bool acc_attn_query_fn(const float *q, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                               uint32_t block, float att, int8_t *q8, acc_attn_query *out);

/* ---- keys and values on their way into the cache (docs/numerics.md "Keys, values, queries") ---- */

/* What a key's codes are made of: x [head_dim, room for a multiple of 32] = the key rotated, less mu (may be NULL),
 * transformed over blocks of `block`. Sinks: block = 1, mu = NULL. */
typedef void acc_kv_turn_fn(const float *key, const float *cos, const float *sin, const float *mu, uint32_t head_dim,
                            uint32_t block, float *x);
/* acc_kv4(), acc_kv4_key() and acc_kv8(): codes, scale and zero. */
typedef bool acc_kv4_fn(const float *x, uint32_t n, uint8_t *u, uint16_t *scale, uint8_t *zero);
typedef bool acc_kv4_key_fn(const float *x, uint32_t n, const float *direction, uint8_t *u, uint16_t *scale,
                            uint8_t *zero);
typedef bool acc_kv8_fn(const float *x, uint32_t n, int8_t *u, uint16_t *scale);

/* ---- vector operations ---- */

/* A8 of x [n]: codes (zeros up to n_pad) and the scale. False: NaN or infinity. */
typedef bool acc_a8_fn(const float *x, uint32_t n, uint32_t n_pad, int8_t *a, float *scale);
/* RMSNorm fused with A8: z = x * g, scale = (M_z / 127) * r. */
typedef bool acc_norm_a8_fn(const float *x, const float *g, uint32_t n, uint32_t n_pad, float eps, int8_t *a,
                            float *scale);
/* y[i] = SiLU(gate[i]) * up[i]. */
typedef void acc_silu_mul_fn(const float *gate, const float *up, float *y, uint32_t n);
/* y[i] = float(isum[i]) * (rscale[i] * scale); bias (may be NULL) is one more add. */
typedef void acc_scale_fn(const int32_t *isum, const float *rscale, float scale, const float *bias, float *y,
                          uint32_t n);

typedef struct acc_kernels {
    const char *name; /* "scalar", "avx2", "avxvnni", "avx512", "amx", "neon", "dotprod", "i8mm" */
    struct {
        acc_pack_fn *pack; /* NULL: nothing to do */
        acc_matvec_fn *matvec;
        acc_matmul_fn *matmul;
        /* Bytes of this set's own layout of w, 0 (or repack NULL): it reads the file's. */
        size_t (*repack_bytes)(const acc_weight *w);
        void (*repack)(const acc_weight *w, uint8_t *dst);
        /* Row blocks that matvec wants at once, since it walks them inside a column group and may make tables first. */
        uint32_t run;
    } w[ACC_FMT_COUNT];
    acc_attn_fn *attn4, *attn8;
    acc_attn_query_fn *attn_query;
    acc_kv_turn_fn *kv_turn;
    acc_kv4_fn *kv4;
    acc_kv4_key_fn *kv4_key;
    acc_kv8_fn *kv8;
    acc_a8_fn *a8;
    acc_norm_a8_fn *norm_a8;
    acc_silu_mul_fn *silu_mul;
    acc_scale_fn *scale;
} acc_kernels;

/* Bytes: enough for every kernel on matrices of up to max_cols columns and chunks of max_tokens tokens; one per worker.
 */
size_t acc_kernel_scratch_bytes(uint32_t max_cols, uint32_t max_tokens);

/* Fills *k for isa ("auto", NULL, or a set's name). E_UNSUPPORTED lists the sets that exist here. */
accllm_status acc_kernels_select(acc_kernels *k, const char *isa, accllm_error *err) ACC_MUST_CHECK;
/* Names of the sets that this build and machine can run, "scalar" first, ended by NULL. */
void acc_kernels_available(const char *names[8]);

/* Each set: overrides what it has. */
void acc_kernels_init_scalar(acc_kernels *k);
#ifdef ACC_HAVE_X86
void acc_kernels_init_avx2(acc_kernels *k);
void acc_kernels_init_avxvnni(acc_kernels *k);
void acc_kernels_init_avx512(acc_kernels *k); /* needs F, BW, VL, DQ, VBMI, VNNI */
void acc_kernels_init_amx(acc_kernels *k);    /* needs TILE, INT8, and what avx512 needs */
#endif
#ifdef ACC_HAVE_NEON
void acc_kernels_init_neon(acc_kernels *k);
void acc_kernels_init_dotprod(acc_kernels *k);
void acc_kernels_init_i8mm(acc_kernels *k);
#endif

#endif
