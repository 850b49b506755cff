/* Round-to-nearest with given scales; for W2S the best code word of each quad under a diagonal cost. */
#include "compress/solver.h"
#include "core/memory.h"

typedef struct rtn_job {
    acc_codes *c;
    const float *wt;
    const acc_w2s_book *book;
    const acc_quad_form *forms; /* one per quad, or one for all */
    bool one_form;
} rtn_job;

static void strip_w2s(const rtn_job *j, uint32_t r0)
{
    acc_codes *c = j->c;
    for (uint32_t t = 0; t * 4 < c->cols; t++) {
        float w[4][ACC_LANES] = {{0}}, q[4][ACC_LANES];
        uint8_t code[ACC_LANES];
        for (uint32_t k = 0; k < 4 && t * 4 + k < c->cols; k++)
            for (uint32_t l = 0; l < ACC_LANES; l++) w[k][l] = j->wt[(size_t)(t * 4 + k) * c->rows_pad + r0 + l];
        const float *scale = c->scale + (size_t)(t * 4 / c->group) * c->rows_pad + r0;
        acc_w2s_choose(j->book, &j->forms[j->one_form ? 0 : t], w, scale, code, q);
        for (uint32_t l = 0; l < ACC_LANES; l++) c->codes[(size_t)(r0 + l) * c->n_units + t] = (int8_t)code[l];
    }
}

static void strip_dense(const rtn_job *j, uint32_t r0)
{
    acc_codes *c = j->c;
    const acc_grid grid = acc_grid_of(c->format);
    for (uint32_t col = 0; col < c->cols; col++) {
        const float *scale = c->scale + (size_t)(col / c->group) * c->rows_pad + r0;
        for (uint32_t l = 0; l < ACC_LANES; l++) {
            const float v = scale[l] > 0 ? j->wt[(size_t)col * c->rows_pad + r0 + l] / scale[l] : 0;
            c->codes[(size_t)(r0 + l) * c->n_units + col] = (int8_t)acc_grid_round(grid, v);
        }
    }
}

static void rtn_worker(void *ctx, uint32_t worker, uint32_t n_workers)
{
    const rtn_job *j = ctx;
    uint32_t begin, end;
    acc_share(j->c->rows_pad / ACC_LANES, worker, n_workers, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        if (j->c->format == ACC_FMT_W2S)
            strip_w2s(j, i * ACC_LANES);
        else
            strip_dense(j, i * ACC_LANES);
    }
}

accllm_status acc_solve_rtn(acc_pool *pool, acc_codes *c, const float *wt, const float *d, accllm_error *err)
{
    acc_w2s_book book;
    rtn_job j = {.c = c, .wt = wt, .book = &book, .one_form = d == NULL && c->cols % 4 == 0};
    void *forms = NULL;
    if (c->format == ACC_FMT_W2S) {
        uint32_t n = j.one_form ? 1 : (c->cols + 3) / 4;
        ACC_TRY(acc_alloc(&forms, n, sizeof(acc_quad_form), "costs of code words", err));
        acc_w2s_book_init(&book, c->level1, c->level2);
        for (uint32_t t = 0; t < n; t++) {
            double a[4][4] = {{0}};
            /* Columns beyond the matrix: dear, so that their codes stay zero. */
            for (uint32_t k = 0; k < 4; k++) a[k][k] = t * 4 + k >= c->cols ? 1e12 : d ? (double)d[t * 4 + k] : 1.0;
            acc_quad_form_init((acc_quad_form *)forms + t, a, &book);
        }
    }
    j.forms = forms;
    acc_pool_run(pool, rtn_worker, &j);
    acc_free(forms);
    return ACCLLM_OK;
}
