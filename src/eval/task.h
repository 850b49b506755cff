/*
 * Items of evaluation tasks: read from a file's lines, turned into texts as lm-evaluation-harness (Gao et al.) does,
 * and scored by likelihood.
 */
#ifndef ACC_EVAL_TASK_H
#define ACC_EVAL_TASK_H

#include <jansson.h>
#include <stdbool.h>

#include "accllm/eval.h"
#include "core/status.h"
#include "core/threads.h"

#define ACC_TASK_MAX_CHOICES 64u
#define ACC_TASK_MAX_LINE ((size_t)4 << 20)

typedef enum acc_task_type {
    ACC_TASK_AUTO,
    ACC_TASK_CHOICE,    /* which continuation of one context */
    ACC_TASK_QUESTION,  /* the same behind "Answer:" */
    ACC_TASK_HELLASWAG, /* the same with HellaSwag's cleaning */
    ACC_TASK_SCHEMA,    /* which context before one continuation */
    ACC_TASK_WORD,      /* is the continuation what the model would write */
    ACC_TASK_TYPES
} acc_task_type;

const char *acc_task_type_name(acc_task_type t);
int acc_task_type_parse(const char *name); /* -1: unknown */

/* A context and a continuation, malloc'ed, terminated, the continuation's leading blank included. */
typedef struct acc_task_pair {
    char *context, *continuation;
    uint32_t length; /* characters of the choice, that acc_norm divides by */
} acc_task_pair;

typedef struct acc_task_item {
    uint64_t line; /* where it begins */
    uint32_t n, gold;
    acc_task_pair pair[ACC_TASK_MAX_CHOICES];
} acc_task_item;

void acc_task_item_clear(acc_task_item *item); /* safe on a zeroed struct */

/* A file's items one after the other. The bytes stay the caller's. */
typedef struct acc_task_reader {
    const char *at, *end;
    uint64_t line; /* number of the line at `at` */
    acc_task_type type;
    bool json;
} acc_task_reader;

/* E_ARG: an unknown type. */
accllm_status acc_task_open(acc_task_reader *r, const char *text, size_t len, const char *type,
                            accllm_error *err) ACC_MUST_CHECK;
/* item->n is 0 at the end. E_FORMAT names the line. The first item settles the type; all others must be of the same. */
accllm_status acc_task_next(acc_task_reader *r, acc_task_item *item, accllm_error *err) ACC_MUST_CHECK;

/* task_forms.c: the texts of an item. `type` is settled here by the fields where it is ACC_TASK_AUTO. */
accllm_status acc_task_from_json(acc_task_item *item, acc_task_type *type, const json_t *object,
                                 accllm_error *err) ACC_MUST_CHECK;
/* HellaSwag's text form; the lines are terminated. */
accllm_status acc_task_from_lines(acc_task_item *item, const char *context, uint32_t gold, char *const endings[4],
                                  accllm_error *err) ACC_MUST_CHECK;

/* ---- task_score.c ---- */

/* ids [n]: the context's tokens, then from `first` on those that are scored. */
typedef struct acc_task_tokens {
    int32_t *ids;
    size_t n, first;
} acc_task_tokens;

typedef struct acc_task_score {
    double logprob; /* of all scored tokens, nats */
    uint32_t tokens;
    bool greedy; /* each of them was the likeliest */
} acc_task_score;

typedef struct acc_scorer {
    const accllm_tokenizer *tok;
    size_t n_vocab;
    accllm_session *s;
    acc_pool *pool;
    uint32_t rows;      /* of logits that one call gives */
    double *log_sums;   /* [rows] */
    size_t limit;       /* most tokens of a sequence: longer ones lose their beginning. SIZE_MAX: none */
    uint64_t truncated; /* items that did */
} acc_scorer;

/* Every pair of the item in tokens: context and continuation are cut as one text, blanks at the context's end counted
 * as the continuation's. out [item->n] is freed by acc_task_tokens_free(), after failures too. */
accllm_status acc_task_tokenize(acc_scorer *s, const acc_task_item *item, acc_task_tokens *out,
                                accllm_error *err) ACC_MUST_CHECK;
void acc_task_tokens_free(acc_task_tokens *t, uint32_t n);
/* Tokens that all n sequences begin with and that none of them scores. */
size_t acc_task_shared(const acc_task_tokens *t, uint32_t n);
/* What is shared is computed once. scores [n]. */
accllm_status acc_task_score_all(acc_scorer *s, const acc_task_tokens *t, uint32_t n, acc_task_score *scores,
                                 accllm_error *err) ACC_MUST_CHECK;

#endif
