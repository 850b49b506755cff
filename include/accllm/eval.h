/*
 * Evaluation: perplexity (windows or stream), KL divergence, bench and inspection of model files.
 */
#ifndef ACCLLM_EVAL_H
#define ACCLLM_EVAL_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where beginning-of-text tokens stand. They are never scored. */
typedef enum accllm_bos {
    ACCLLM_BOS_AUTO = 0,   /* WINDOW if the tokenizer's metadata says that it adds one, else NONE */
    ACCLLM_BOS_NONE = 1,   /* nowhere: a window's first token has no score */
    ACCLLM_BOS_ONCE = 2,   /* before the text's first token, as GPTQ's and Wanda's scripts have it for Llama */
    ACCLLM_BOS_WINDOW = 3, /* before every window, as one of its ctx tokens: a deployed model always sees its sink */
} accllm_bos;

typedef struct accllm_ppl_params {
    size_t struct_size;
    uint32_t ctx;       /* window of tokens evaluated together, 2048 */
    uint32_t stride;    /* tokens scored per window; 0: ctx */
    bool stream;        /* one endless pass instead of windows */
    bool whole_windows; /* leave out the last window if it is short (GPTQ's protocol) */
    accllm_bos bos;
    uint64_t max_tokens; /* 0: all of the text */
    uint32_t bucket;     /* with stream, or stride < ctx: tokens per bucket, 10000 */
    /* so_far: the perplexity, or the divergence (accllm_eval_kl) */
    void (*progress)(void *user, double fraction, double so_far, double seconds_left);
    void *user;
} accllm_ppl_params;

typedef struct accllm_ppl_bucket {
    uint64_t from, to; /* scored token positions */
    double ppl;
    uint64_t rss_bytes; /* resident set when the bucket ended */
} accllm_ppl_bucket;

typedef struct accllm_ppl_result {
    double ppl, nll, nats_per_byte;
    uint64_t tokens;            /* scored */
    uint64_t windows;           /* 1 with stream */
    accllm_bos bos;             /* what AUTO came to */
    accllm_ppl_bucket *buckets; /* with stream, or stride < ctx; freed by accllm_ppl_result_free() */
    size_t n_buckets;
    double seconds;
} accllm_ppl_result;

ACCLLM_API void accllm_ppl_params_init(accllm_ppl_params *p);
/* The text (len bytes) is cut into tokens as one piece, then into windows of ctx tokens; a window's first token has no
 * score. With stride < ctx only the last `stride` tokens of each window are scored, except in the first. nats_per_byte
 * is the sum of all scores over the bytes of the scored tokens: it compares models of different vocabularies. E_ARG: a
 * BOS is asked for that the tokenizer lacks, or the text is too short; E_UNSUPPORTED: the model has no tokenizer. */
ACCLLM_API accllm_status accllm_eval_ppl(accllm_model *m, const accllm_session_params *sp, const char *text, size_t len,
                                         const accllm_ppl_params *p, accllm_ppl_result *r, accllm_error *err);
ACCLLM_API void accllm_ppl_result_free(accllm_ppl_result *r);

typedef struct accllm_kl_result {
    double kl_mean, top1_agreement; /* KL(ref || model) in nats per token */
    uint64_t tokens;
} accllm_kl_result;

ACCLLM_API accllm_status accllm_eval_kl(accllm_model *m, accllm_model *ref, const accllm_session_params *sp,
                                        const accllm_session_params *ref_sp, const char *text, size_t len,
                                        const accllm_ppl_params *p, accllm_kl_result *r, accllm_error *err);

/* One item of a task as it was scored. */
typedef struct accllm_task_item {
    uint64_t line; /* of the file */
    uint32_t n_choices, gold;
    const double *logprob;      /* [n_choices]: of the continuations' tokens together, nats */
    bool correct, correct_norm; /* the choice of the largest logprob, of the largest logprob per character */
} accllm_task_item;

typedef struct accllm_tasks_params {
    size_t struct_size;
    /* NULL or "auto": by the fields of the first item. One item a line of JSON:
     *   "choice"     {"query","choices","gold"}: query + " " + choice
     *   "question"   the same, query + "\nAnswer:" + " " + choice (auto: the query begins with "Question:")
     *   "hellaswag"  {"activity_label","ctx_a","ctx_b" (or "ctx"),"endings","label"}, or six lines of text a task:
     *                context, number of the right ending, four endings; cleaned as lm-evaluation-harness does
     *   "schema"     {"context_options","continuation","gold"}: option + " " + continuation
     *   "word"       {"context","continuation"} or {"text"}: is each of the continuation's tokens the likeliest? */
    const char *type;
    uint64_t limit; /* the first items only; 0: all */
    void (*progress)(void *user, double fraction, double accuracy_so_far, double seconds_left);
    void (*item)(void *user, const accllm_task_item *it); /* after each item; may be NULL */
    void *user;
} accllm_tasks_params;

typedef struct accllm_tasks_result {
    char type[16];
    double accuracy, accuracy_stderr;
    double accuracy_norm, accuracy_norm_stderr; /* by characters of the choice; < 0: not of this type */
    double perplexity;                          /* "word": exp(mean over items of -logprob); else < 0 */
    uint64_t n, tokens;                         /* items; scored tokens */
    uint64_t truncated; /* items that lost their beginning, with full attention: longer than the context */
    double seconds;
} accllm_tasks_result;

ACCLLM_API void accllm_tasks_params_init(accllm_tasks_params *p);
/* text: the file's len bytes. Context and continuation are cut into tokens as one text, blanks at the context's end
 * counted as the continuation's; a BOS stands first if the tokenizer adds one. The whole file is checked before the
 * first item is computed. E_FORMAT: a bad item, with its line. */
ACCLLM_API accllm_status accllm_eval_tasks(accllm_model *m, const accllm_session_params *sp, const char *text,
                                           size_t len, const accllm_tasks_params *p, accllm_tasks_result *r,
                                           accllm_error *err);

typedef struct accllm_rung {
    char name[16];  /* "FP", "+Λ", "+KV4", "+A8", "+2:4", "+W2" (the last by the model's format) */
    char what[128]; /* one line: what this rung computes */
    double ppl, nll, nats_per_byte;
    double ratio, step; /* ppl over the first rung's, over the one's before */
    uint64_t tokens;
    double seconds;
} accllm_rung;

typedef struct accllm_ladder_params {
    size_t struct_size;
    accllm_ppl_params ppl;    /* the windows; progress is called for the ladder as a whole. No stream */
    uint32_t sinks;           /* from the second rung on; UINT32_MAX: the model's default */
    uint32_t window, kv_bits; /* 0: the model's defaults, as accllm_session_params has them */
    uint32_t chunk;
    bool force, use_mmap;
} accllm_ladder_params;

typedef struct accllm_ladder_result {
    accllm_rung rung[8];
    size_t n;
    uint32_t sinks, window, kv_bits; /* what the defaults came to */
    accllm_bos bos;
    uint64_t windows;
} accllm_ladder_result;

ACCLLM_API void accllm_ladder_params_init(accllm_ladder_params *p);
/* The perplexity of one text from the float source to the packed model, one change more at every rung:
 *   FP    ref_path's weights in the float reference, full attention, float cache
 *   +Λ    the same with sinks and a window
 *   +KV4  w8_path's weights, dequantised, in the float reference; keys and values pass through the cache's codes with
 *         that file's key means: rounding the weights to 8 bits is part of this rung
 *   +A8   w8_path in the quantised engine: 8-bit activations and queries, integer attention
 *   +2:4  the same with zeros where the packed model drops weights. The weights that stay are the source's, not
 *         what the compressor made of them: what dropping costs when nothing makes up for it. Left out for dense
 *         formats
 *   +W2   the packed model as it runs
 * model_path: an AccLLM file; ref_path: the checkpoint it was made of; w8_path: the same checkpoint compressed to W8.
 * E_ARG: models of different shapes or tokenizers, or no windows; E_UNSUPPORTED: a model without tokenizer. On failure
 * *r holds the rungs that were done. */
ACCLLM_API accllm_status accllm_eval_ladder(accllm_runtime *rt, const char *model_path, const char *ref_path,
                                            const char *w8_path, const char *text, size_t len,
                                            const accllm_ladder_params *p, accllm_ladder_result *r, accllm_error *err);

typedef struct accllm_bench_params {
    size_t struct_size;
    uint32_t n_prompt, n_gen; /* 512, 128 */
    uint64_t depth;
    uint32_t reps;       /* 5 */
    uint32_t n_sessions; /* 1: that decode together, in one batch */
} accllm_bench_params;

typedef struct accllm_bench_result {
    double decode_tok_s, decode_tok_s_min, decode_tok_s_max; /* of all sessions together */
    double prefill_tok_s;                                    /* of one session's prompt */
    /* What a step reads once, whatever the number of sessions, in the kernel set's layout. */
    uint64_t weight_bytes_per_token, lm_head_bytes;
    uint64_t kv_bytes_per_token;         /* what it reads for each session */
    uint64_t session_bytes, batch_bytes; /* memory of one session; of the batch that works for all */
    double decode_gb_s, stream_gb_s;     /* stream: plain reads of the same threads, in between */
    double roofline_ratio; /* of decode over the reads beside it, median; < 0: weights under 8x the last-level cache */
    uint64_t peak_rss_bytes;
} accllm_bench_result;

ACCLLM_API void accllm_bench_params_init(accllm_bench_params *p);
ACCLLM_API accllm_status accllm_bench(accllm_model *m, const accllm_session_params *sp, const accllm_bench_params *p,
                                      accllm_bench_result *r, accllm_error *err);

typedef struct accllm_tensor_info {
    const char *name;   /* as in the file */
    const char *format; /* "w2s", "w2", "w4", "w8", "f32", "q4_1" ... */
    uint64_t rows, cols, bytes;
    uint32_t group;
} accllm_tensor_info;

typedef struct accllm_inspection accllm_inspection;
/* Reads the headers of any GGUF, or of a llama2.c checkpoint; with verify every code and scale of an AccLLM file is
 * checked (other files have none), E_FORMAT names the first bad. */
ACCLLM_API accllm_status accllm_inspect(accllm_inspection **out, const char *path, bool verify, accllm_error *err);
ACCLLM_API void accllm_inspection_free(accllm_inspection **i);
ACCLLM_API const accllm_model_info *accllm_inspection_info(const accllm_inspection *i);
ACCLLM_API uint32_t accllm_inspection_format_version(const accllm_inspection *i); /* 0: not an AccLLM file */
ACCLLM_API size_t accllm_inspection_tensors(const accllm_inspection *i, const accllm_tensor_info **tensors);

#ifdef __cplusplus
}
#endif
#endif
