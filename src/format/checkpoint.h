/*
 * A source checkpoint seen as one thing whatever its file format: hyper-parameters, metadata (tokenizer keys in GGUF
 * form) and float rows on demand. Q and K rows come out for half-split rotary pairs (design section 2), whatever the
 * file's convention. A reader of packed AccLLM files offers the same interface (model/packed.h), so the float
 * reference, the compressor and the exporter do not care.
 */
#ifndef ACC_FORMAT_CHECKPOINT_H
#define ACC_FORMAT_CHECKPOINT_H

#include "format/gguf.h"

#define ACC_MAX_HEAD_DIM 256
#define ACC_MAX_SINKS 1024
#define ACC_MAX_NEAR 256 /* positions of a 4-bit cache that are kept at 8 bits too: within a segment of attention */

typedef struct acc_hparams {
    char name[128];
    char arch[32]; /* "llama" */
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train;
    float norm_eps;
    float attn_scale;                          /* default 1/sqrt(head_dim) in double, rounded once */
    bool tied;                                 /* no output tensor: lm_head is the embedding */
    double rope_freq[ACC_MAX_HEAD_DIM / 2];    /* radians per position, any rope scaling folded in */
    uint64_t rope_steps[ACC_MAX_HEAD_DIM / 2]; /* rne(freq / 2 pi * 2^64), extended precision */
} acc_hparams;

typedef enum acc_tensor_id {
    ACC_T_TOKEN_EMBD,  /* [n_vocab][n_embd] */
    ACC_T_OUTPUT,      /* [n_vocab][n_embd], absent when tied */
    ACC_T_OUTPUT_NORM, /* [1][n_embd] */
    ACC_T_ATTN_NORM,
    ACC_T_FFN_NORM, /* [1][n_embd] */
    ACC_T_ATTN_Q,
    ACC_T_ATTN_K,
    ACC_T_ATTN_V,   /* [heads * head_dim][n_embd] */
    ACC_T_ATTN_OUT, /* [n_embd][heads * head_dim] */
    ACC_T_FFN_GATE,
    ACC_T_FFN_UP,   /* [n_ff][n_embd] */
    ACC_T_FFN_DOWN, /* [n_embd][n_ff] */
    ACC_T_ATTN_Q_BIAS,
    ACC_T_ATTN_K_BIAS,
    ACC_T_ATTN_V_BIAS, /* [1][rows]; may be absent */
    ACC_T_COUNT
} acc_tensor_id;

/* The GGUF base name: "attn_q" gives "blk.N.attn_q.weight"; biases "blk.N.attn_q.bias". Layer is ignored for the first
 * three. Writes at most cap bytes; suffix e.g. "weight", "w2s", NULL for none. */
const char *acc_tensor_base(acc_tensor_id id);
bool acc_tensor_is_global(acc_tensor_id id); /* the first three */
#define ACC_N_LINEAR 7                       /* q k v out gate up down: ACC_T_ATTN_Q and on, in this order */
bool acc_tensor_is_linear(acc_tensor_id id); /* one of these */
void acc_tensor_name(char *buf, size_t cap, acc_tensor_id id, uint32_t layer, const char *suffix);
/* Shape by the hyper-parameters. */
void acc_tensor_shape(const acc_hparams *hp, acc_tensor_id id, uint64_t *rows, uint64_t *cols);

typedef struct acc_source acc_source;
struct acc_source {
    acc_hparams hp;
    const acc_gguf *meta; /* tokenizer.* keys; may be NULL */
    bool (*has)(const acc_source *s, acc_tensor_id id, uint32_t layer);
    /* Rows [row0, row0 + n_rows) as floats, [n_rows][cols]. E_NUMERIC: a NaN or infinity (names tensor and row). */
    accllm_status (*read_rows)(const acc_source *s, acc_tensor_id id, uint32_t layer, uint64_t row0, uint64_t n_rows,
                               float *out, accllm_error *err);
    void (*close)(acc_source *s); /* frees s */
};

/* A llama-architecture GGUF, or a llama2.c checkpoint (v0) with tokenizer.bin (or tok*.bin) beside it. */
accllm_status acc_checkpoint_open(acc_source **out, const char *path, bool use_mmap, accllm_error *err) ACC_MUST_CHECK;
/* True when the GGUF at path is a packed AccLLM file. */
bool acc_is_packed(const acc_gguf *g);

/* E_UNSUPPORTED or E_FORMAT for sizes that no model of this family has or that contradict each other. */
accllm_status acc_hparams_check(const acc_hparams *hp, accllm_error *err) ACC_MUST_CHECK;
/* E_ARG when rows [row0, row0 + n_rows) of the tensor do not exist. */
accllm_status acc_rows_range(const acc_hparams *hp, acc_tensor_id id, uint32_t layer, uint64_t row0, uint64_t n_rows,
                             accllm_error *err) ACC_MUST_CHECK;
/* E_NUMERIC when one of x [n_rows][cols] is a NaN or infinity; names tensor and row. */
accllm_status acc_rows_check(const acc_hparams *hp, acc_tensor_id id, uint32_t layer, uint64_t row0, uint64_t n_rows,
                             const float *x, accllm_error *err) ACC_MUST_CHECK;
/* The row of a file with interleaved rotary pairs that is row `row` of one with half-split pairs. */
uint64_t acc_interleaved_row(uint64_t row, uint32_t head_dim);
/* Its inverse: which row of ours a file with interleaved pairs has at `row`. */
uint64_t acc_half_split_row(uint64_t row, uint32_t head_dim);
/* The "llama.*" keys that hold the sizes, the epsilon and the rotary base theta. */
void acc_gguf_out_llama(acc_gguf_out *o, const acc_hparams *hp, float theta);

/* Fills attn_scale, rope_freq and rope_steps from head_dim, theta and optional per-pair divisors (NULL: none). */
void acc_hparams_rope(acc_hparams *hp, double theta, const float *factors);

#endif
