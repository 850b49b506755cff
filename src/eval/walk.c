#include "eval/walk.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

#define LOGITS_BYTES ((size_t)32 << 20)

accllm_status acc_walk_check(const accllm_ppl_params *p, accllm_error *err)
{
    if (!p || p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "parameters were not set up by accllm_ppl_params_init()");
    return ACCLLM_OK;
}

accllm_status acc_walk_init(acc_walk *w, const int32_t *ids, size_t n, int32_t bos, const accllm_ppl_params *p,
                            size_t rows, accllm_error *err)
{
    *w = (acc_walk){0};
    ACC_TRY(acc_walk_check(p, err));
    if (p->bucket == 0) return acc_fail(err, ACCLLM_E_ARG, "a bucket must hold at least one token");
    *w = (acc_walk){.ids = ids, .n = n, .bos = bos, .stream = p->stream, .rows = rows};
    size_t ctx = p->ctx, stride = p->stride ? p->stride : p->ctx, lead = bos >= 0;
    if (!p->stream && (ctx < 2 || stride > ctx))
        return acc_fail(err, ACCLLM_E_ARG, "context %zu, stride %zu: 2 <= context and stride <= context", ctx, stride);
    if (n + lead < 2) return acc_fail(err, ACCLLM_E_ARG, "the text has %zu tokens, too few to score one", n);
    w->span = p->stream ? n : ctx - lead;
    w->stride = p->stream ? n : stride < w->span ? stride : w->span;
    if (p->whole_windows && n < w->span)
        return acc_fail(err, ACCLLM_E_ARG, "the text has %zu tokens, less than one whole window of %zu", n, ctx);
    if (p->whole_windows) w->n -= (n - w->span) % w->stride;
    w->scored = acc_walk_first_target(w);
    return acc_alloc((void **)&w->buffer, rows, sizeof *w->buffer, "tokens", err);
}

void acc_walk_free(acc_walk *w)
{
    acc_free(w->buffer);
    *w = (acc_walk){0};
}

size_t acc_walk_first_target(const acc_walk *w)
{
    return w->bos < 0;
}

/* Opens the next window; false at the end of the text. */
static bool next_window(acc_walk *w)
{
    if (w->started && w->end == w->n) return false;
    w->begin = w->started ? w->begin + w->stride : 0;
    w->end = w->n - w->begin < w->span ? w->n : w->begin + w->span;
    if (w->scored < w->begin + acc_walk_first_target(w)) w->scored = w->begin + acc_walk_first_target(w);
    w->started = true;
    w->fed = 0;
    return w->scored < w->end;
}

bool acc_walk_next(acc_walk *w, acc_walk_step *step)
{
    size_t lead = w->bos >= 0, last = w->end - w->begin + lead; /* the window's tokens */
    bool fresh = !w->started || w->fed + 1 >= last;             /* nobody needs what follows the last token */
    if (fresh && !next_window(w)) return false;
    last = w->end - w->begin + lead;
    size_t n = last - 1 - w->fed < w->rows ? last - 1 - w->fed : w->rows;
    for (size_t i = 0; i < n; i++) {
        size_t at = w->fed + i;
        w->buffer[i] = at < lead ? w->bos : w->ids[w->begin + at - lead];
    }
    w->fed += n;
    size_t target_end = w->begin + w->fed + 1 - lead; /* the last row predicts text token target_end - 1 */
    *step = (acc_walk_step){fresh, w->buffer, n, 0, w->scored};
    if (target_end > w->scored) {
        step->n_rows = target_end - w->scored;
        w->scored = target_end;
    }
    return true;
}

accllm_session_params acc_walk_session(const accllm_session_params *sp, const accllm_model *m,
                                       const accllm_ppl_params *p, size_t n_text)
{
    accllm_session_params s;
    if (sp)
        s = *sp;
    else
        accllm_session_params_init(&s);
    size_t row = accllm_model_get_info(m)->n_vocab * sizeof(float), rows = LOGITS_BYTES / (row ? row : 1);
    if (s.max_logits < 2) s.max_logits = rows < 16 ? 16 : rows > 256 ? 256 : (uint32_t)rows;
    if (s.full_attention && s.n_ctx == 0) {
        size_t need = p->stream ? n_text + 1 : p->ctx;
        s.n_ctx = need < UINT32_MAX ? (uint32_t)need : UINT32_MAX;
    }
    return s;
}

accllm_status acc_walk_tokenize(const accllm_model *m, const char *text, size_t len, const accllm_ppl_params *p,
                                int32_t **ids, size_t *n, int32_t *bos, accllm_bos *mode, accllm_error *err)
{
    *ids = NULL;
    *bos = -1;
    if (p->struct_size != sizeof *p)
        return acc_fail(err, ACCLLM_E_ARG, "parameters were not set up by accllm_ppl_params_init()");
    if ((unsigned)p->bos > ACCLLM_BOS_WINDOW) return acc_fail(err, ACCLLM_E_ARG, "no such place for a BOS");
    *mode = p->bos;
    const accllm_tokenizer *tok = accllm_model_tokenizer(m);
    if (!tok) return acc_fail(err, ACCLLM_E_UNSUPPORTED, "the model has no tokenizer");
    if (*mode == ACCLLM_BOS_AUTO) *mode = accllm_tokenizer_adds_bos(tok) ? ACCLLM_BOS_WINDOW : ACCLLM_BOS_NONE;
    int32_t token = accllm_tokenizer_bos(tok);
    if (*mode != ACCLLM_BOS_NONE && token < 0)
        return acc_fail(err, ACCLLM_E_ARG, "the tokenizer has no beginning-of-text token");
    ACC_TRY(accllm_tokenize(tok, text, len, 0, ids, n, err));
    if (p->max_tokens && *n > p->max_tokens) *n = (size_t)p->max_tokens;
    if (*mode == ACCLLM_BOS_WINDOW) *bos = token;
    if (*mode != ACCLLM_BOS_ONCE) return ACCLLM_OK;
    int32_t *more = *n < SIZE_MAX / sizeof *more - 1 ? realloc(*ids, (*n + 1) * sizeof *more) : NULL;
    if (!more) {
        free(*ids);
        *ids = NULL;
        return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: tokens");
    }
    memmove(more + 1, more, *n * sizeof *more);
    more[0] = token;
    *ids = more;
    ++*n;
    return ACCLLM_OK;
}
