/* What lm_head in a format costs: the divergence itself, from the logits of some tokens before and after. What a tied
 * embedding in that format does to the layers is left out. */
#include "compress/head.h"
#include "core/memory.h"
#include "gemm/gemm.h"
#include "reference/logits.h"

#define TOKENS 256u /* spread evenly */

typedef struct head_cost {
    acc_head_work w;
    uint32_t n;      /* tokens */
    float *inputs;   /* [n][n_embd] */
    float *rows;     /* [ACC_HEAD_ROWS][n_embd]: what the codes stand for */
    float *logit[2]; /* [n][n_vocab]: the source's; with the codes */
} head_cost;

static accllm_status allocate(head_cost *h, accllm_error *err)
{
    const acc_hparams *hp = h->w.r->hp;
    void *p;
    ACC_TRY(acc_alloc(&p, (size_t)h->n * hp->n_embd, sizeof(float), "inputs of lm_head", err));
    h->inputs = p;
    ACC_TRY(acc_alloc(&p, (size_t)ACC_HEAD_ROWS * hp->n_embd, sizeof(float), "rows of lm_head", err));
    h->rows = p;
    for (int i = 0; i < 2; i++) {
        ACC_TRY(acc_alloc(&p, (size_t)h->n * hp->n_vocab, sizeof(float), "logits", err));
        h->logit[i] = p;
    }
    return ACCLLM_OK;
}

static accllm_status logits_of_rows(head_cost *h, uint32_t row, uint32_t n, accllm_error *err)
{
    acc_run *r = h->w.r;
    const uint32_t cols = r->hp->n_embd;
    acc_quantize_stats stats;
    acc_codes c;
    ACC_TRY(acc_check_abort(r->rt, err));
    ACC_TRY(acc_head_codes(&h->w, acc_head_id(r), row, n, &c, &stats, err));
    for (uint32_t i = 0; i < n; i++) acc_codes_dequant_row(&c, i, h->rows + (size_t)i * cols);
    acc_codes_free(&c);
    for (int i = 0; i < 2; i++) {
        acc_gemm g =
            acc_gemm_dense(h->n, n, cols, h->inputs, false, i ? h->rows : h->w.x, true, h->logit[i] + row, false);
        g.ldc = r->hp->n_vocab;
        acc_gemm_run(r->rt->pool, &g);
    }
    return ACCLLM_OK;
}

static accllm_status measure(head_cost *h, double *nats, accllm_error *err)
{
    const acc_hparams *hp = h->w.r->hp;
    ACC_TRY(acc_head_prepare(&h->w, err));
    for (uint32_t i = 0; i < h->n; i++)
        acc_head_inputs(&h->w, h->w.n_tokens * i / h->n, 1, h->inputs + (size_t)i * hp->n_embd);
    for (uint32_t row = 0; row < hp->n_vocab; row += ACC_HEAD_ROWS)
        ACC_TRY(logits_of_rows(h, row, acc_head_piece(hp->n_vocab, row), err));
    double sum = 0;
    for (uint32_t i = 0; i < h->n; i++) {
        const size_t at = (size_t)i * hp->n_vocab;
        sum += acc_divergence(h->logit[0] + at, h->logit[1] + at, hp->n_vocab);
    }
    *nats = sum / h->n;
    return ACCLLM_OK;
}

accllm_status acc_head_cost(acc_run *r, acc_format format, const float *hidden, size_t n_tokens, double *nats,
                            accllm_error *err)
{
    head_cost h = {.w = {.r = r, .format = format, .hidden = hidden, .n_tokens = n_tokens, .no_rtn = true}};
    h.n = n_tokens < TOKENS ? (uint32_t)n_tokens : TOKENS;
    accllm_status s = allocate(&h, err);
    if (s == ACCLLM_OK) s = measure(&h, nats, err);
    acc_head_work_free(&h.w);
    for (int i = 0; i < 2; i++) acc_free(h.logit[i]);
    acc_free(h.rows);
    acc_free(h.inputs);
    return s;
}
