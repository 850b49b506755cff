/* The inside of a forward pass, shared by the files of src/model. */
#ifndef ACC_MODEL_BATCH_H
#define ACC_MODEL_BATCH_H

#include "core/items.h"
#include "model/session.h"

/* Sizes that follow from the model. */
typedef struct acc_dims {
    uint32_t q_dim, kv_dim, group; /* rows of q, rows of k; query heads of a KV head */
    uint32_t x_stride, q_stride, ff_stride;
    size_t a8_stride, q8_stride, part_stride;
    uint32_t kv_unit; /* row blocks that hold whole KV heads */
    uint32_t block;   /* of the Hadamard transform */
} acc_dims;

acc_dims acc_dims_of(const acc_packed *m);

/* What one worker needs for itself. */
typedef struct acc_worker {
    _Alignas(64) int8_t *a8; /* one row: this worker's own copy of the codes, [a8_stride] */
    float a8_scale;
    uint32_t index;
    int32_t *isum;      /* [isum_size] */
    float *rows, *gate; /* float results of a run of rows: one token; all tokens of a call */
    void *scratch;      /* of the kernels */
    struct {
        acc_format format;
        uint32_t group, cols, t0, t1; /* t1 0: nothing */
    } packed;                         /* what the scratch holds for kernels->w[].matvec and matmul */
    const char **failed;              /* [max_rows]: what was not finite, NULL: nothing */
    bool any_failed;
} acc_worker;

/* One token of a step. */
typedef struct acc_row {
    acc_step_item *item;
    acc_quant_session *s;
    uint64_t pos;
} acc_row;

/* What the linear layers of a phase read: floats, quantised by the A8 rule or by the norm fused with it. */
typedef struct acc_source_rows {
    const float *x, *gain; /* gain NULL: no norm */
    size_t stride;
    uint32_t n, pad; /* columns; columns padded as the matrices want them */
    uint32_t n_tokens;
    const uint32_t *rows; /* [n_tokens]: which rows of x; NULL: the first ones */
    const char *what;     /* for messages */
} acc_source_rows;

/* The quantised input of a linear layer. */
typedef struct acc_input {
    const int8_t *a; /* [n][lda] */
    size_t lda;
    const float *scale; /* [n] */
    uint32_t n;
} acc_input;

struct acc_batch {
    acc_packed *m;
    accllm_runtime *rt;
    const acc_kernels *k;
    acc_dims d;
    uint32_t max_rows;
    float *x;   /* residual, [max_rows][x_stride] */
    float *q;   /* [max_rows][q_stride] */
    float *att; /* attention's output, the input of o */
    float *ff;  /* SiLU(gate) * up, [max_rows][ff_stride] */
    int8_t *a8; /* several rows: their codes, [max_rows][a8_stride] */
    float *a8_scale;
    uint32_t n_workers;
    acc_worker *workers;
    acc_items *left; /* [n_workers]: of the present phase's work */
    size_t isum_size;
    acc_row *rows;        /* [max_rows] */
    uint64_t *seen;       /* [max_rows + 1]: the cost of attention before each row, in positions */
    uint32_t *logit_rows; /* [max_rows]: the rows whose logits are wanted */
    float **logits;       /* and where each goes */
    uint8_t *memory;
    size_t memory_bytes;

    /* the present step and phase */
    acc_step_item *items;
    uint32_t n_items, alive; /* alive: that go on */
    uint32_t n, layer, n_logits;
    bool hidden;          /* some item wants its hidden states */
    accllm_status status; /* the first failure */
    accllm_error *err;
    acc_source_rows src;
    uint32_t cuts; /* parts of its tokens that a row block's work is cut into */
};

/* Row blocks that one call of a kernel takes: decode walks long runs, so that what a kernel derives from the input
 * serves many rows; several tokens stay in the cache. Both are rounded up to whole units. */
#define ACC_DECODE_BLOCKS 256u
#define ACC_PREFILL_BLOCKS 8u

static inline uint32_t acc_blocks_per_call(uint32_t n_tokens, uint32_t unit)
{
    uint32_t blocks = n_tokens == 1 ? ACC_DECODE_BLOCKS : ACC_PREFILL_BLOCKS;
    return (blocks + unit - 1) / unit * unit;
}

/* Notes that something of a row is not finite. */
static inline void acc_row_failed(acc_worker *wk, uint32_t row, const char *what)
{
    wk->failed[row] = what;
    wk->any_failed = true;
}

/* ---- linear.c ---- */

/* Takes the results of rows [row, row + n) of one token. */
typedef void acc_sink(acc_batch *b, acc_worker *wk, const acc_weight *w, uint32_t token, uint32_t row, uint32_t n,
                      const int32_t *isum, float scale);

/* Row blocks times tokens. */
typedef struct acc_tile {
    uint32_t rb0, rb1, t0, t1;
} acc_tile;

/* The rows and tokens of a tile; rb0 a multiple of unit. */
void acc_linear_run(acc_batch *b, acc_worker *wk, const acc_weight *w, const acc_input *in, const acc_tile *tile,
                    uint32_t unit, acc_sink *sink);
/* Of row blocks that are cut into `cuts` parts of n_tokens tokens each, the first tile of parts [*i, end); *i moves
 * behind it. */
acc_tile acc_next_tile(uint32_t cuts, uint32_t n_tokens, uint32_t *i, uint32_t end);

/* ---- attention.c ---- */

/* Items of the job acc_attend_some(). */
uint32_t acc_attend_items(const acc_batch *b);
/* Job: this worker's part of all rows' attention. */
void acc_attend_some(void *ctx, uint32_t worker, uint32_t n_workers);

/* ---- layer.c ---- */

/* Layer b->layer. False: no session goes on. */
bool acc_layer_run(acc_batch *b);
/* The final norm and lm_head over b->logit_rows. */
void acc_head_run(acc_batch *b);
/* The final norm over the rows of the items that want their hidden states. */
void acc_hidden_run(acc_batch *b);

/* ---- step.c ---- */

/* Where the next failure's message goes: NULL once one was told. */
accllm_error *acc_item_error(acc_batch *b);
/* The item fails; its message was just written to acc_item_error(). */
void acc_item_failed(acc_batch *b, acc_step_item *item, accllm_status status);

#endif
