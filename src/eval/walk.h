/* The walk of perplexity and KL over a text: windows or one stream, cut into calls of a session. */
#ifndef ACC_EVAL_WALK_H
#define ACC_EVAL_WALK_H

#include <stdbool.h>

#include "accllm/eval.h"
#include "core/status.h"

/* Text tokens [0, n) in windows of ctx tokens (the BOS among them, if there is one), each `stride` text tokens after
 * the one before; a stream is one window over everything. A window is fed to a freshly reset session; the token at text
 * index i is scored once, in the first window that holds it behind another token. */
typedef struct acc_walk {
    const int32_t *ids;
    size_t n;
    int32_t bos; /* -1: none */
    bool stream;
    size_t span, stride; /* text tokens per window, and from window to window */
    size_t rows;         /* most tokens per call */
    int32_t *buffer;     /* [rows] */
    size_t begin, end;   /* the present window in the text */
    size_t scored;       /* text index of the next token to score */
    size_t fed;          /* tokens of the window already given out, its BOS counted */
    bool started;
} acc_walk;

/* One call: ids [n_ids], of which the last n_rows rows of logits predict text tokens first_target, +1, ... */
typedef struct acc_walk_step {
    bool reset; /* a new window: reset the session first */
    const int32_t *ids;
    size_t n_ids, n_rows, first_target;
} acc_walk_step;

/* E_ARG: no parameters, or of another version. */
accllm_status acc_walk_check(const accllm_ppl_params *p, accllm_error *err) ACC_MUST_CHECK;
/* E_ARG: a context below 2, a stride above it, or fewer tokens than give one score. */
accllm_status acc_walk_init(acc_walk *w, const int32_t *ids, size_t n, int32_t bos, const accllm_ppl_params *p,
                            size_t rows, accllm_error *err) ACC_MUST_CHECK;
void acc_walk_free(acc_walk *w);
bool acc_walk_next(acc_walk *w, acc_walk_step *step); /* false: done */
size_t acc_walk_first_target(const acc_walk *w);      /* the first text index that has a score: 1 or, with BOS, 0 */

/* Session parameters for such a walk: several rows of logits per call within about 32 MB, and with full attention as
 * many positions as the walk needs. */
accllm_session_params acc_walk_session(const accllm_session_params *sp, const accllm_model *m,
                                       const accllm_ppl_params *p, size_t n_text);
/* The model's tokens of a text, at most p->max_tokens (0: all); the caller frees *ids. *bos is the token before every
 * window, -1: none; where it stands once, it is the first of *ids. *mode is p->bos resolved. */
accllm_status acc_walk_tokenize(const accllm_model *m, const char *text, size_t len, const accllm_ppl_params *p,
                                int32_t **ids, size_t *n, int32_t *bos, accllm_bos *mode,
                                accllm_error *err) ACC_MUST_CHECK;

#endif
