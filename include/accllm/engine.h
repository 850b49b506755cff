/*
 * Models and sessions. A model is immutable after it was opened and may be shared by threads; a session is one
 * timeline (KV cache, position) and is used by one thread at a time. The quantised engine (docs/numerics.md) and the
 * float reference stand behind the same calls.
 */
#ifndef ACCLLM_ENGINE_H
#define ACCLLM_ENGINE_H

#include "runtime.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accllm_model accllm_model;
typedef struct accllm_session accllm_session;

typedef enum accllm_numerics {
    ACCLLM_NUMERICS_AUTO = 0,     /* contract for an AccLLM file, float for a source checkpoint */
    ACCLLM_NUMERICS_CONTRACT = 1, /* the bit-exact quantised engine; AccLLM files only */
    ACCLLM_NUMERICS_FLOAT = 2,    /* the float reference (weights dequantised) */
} accllm_numerics;

typedef struct accllm_model_params {
    size_t struct_size;
    bool use_mmap;
    accllm_numerics numerics;
} accllm_model_params;

typedef struct accllm_model_info {
    char name[128];
    char architecture[32]; /* of the source: "llama", "qwen2" */
    bool packed;           /* an AccLLM file */
    accllm_numerics numerics;
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train;
    uint32_t default_sinks, default_window, default_kv_bits, page;
    uint64_t n_params, n_linear_params;
    uint64_t linear_bytes; /* all bytes of the linear layers, padding and scales included */
    uint64_t head_bytes;   /* lm_head (the embedding where tied) */
    uint64_t file_bytes;
    double bits_per_weight;       /* linear_bytes * 8 / n_linear_params */
    double bits_per_weight_total; /* all tensors / all parameters */
} accllm_model_info;

ACCLLM_API void accllm_model_params_init(accllm_model_params *p);
/* path: an AccLLM file, a GGUF of llama or qwen2 architecture or a llama2.c checkpoint (the latter two: float
 * reference). */
ACCLLM_API accllm_status accllm_model_open(accllm_model **out, accllm_runtime *rt, const char *path,
                                           const accllm_model_params *p, accllm_error *err);
/* A built-in shape ("llama2-7b", "llama3.2-1b", "tinyllama-1.1b", "qwen2.5-0.5b", "smollm2-135m") with random packed
 * weights of the format ("w2s", "w2", "w4", "w8"), head "w8" or "w4": for measuring speed, never quality. It has no
 * tokenizer. */
ACCLLM_API accllm_status accllm_model_random(accllm_model **out, accllm_runtime *rt, const char *shape,
                                             const char *weights, const char *head, accllm_error *err);
ACCLLM_API void accllm_model_free(accllm_model **m);
ACCLLM_API const accllm_model_info *accllm_model_get_info(const accllm_model *m);
ACCLLM_API const accllm_tokenizer *accllm_model_tokenizer(const accllm_model *m); /* NULL: none */

/* What computes: the same bits from each. */
typedef enum accllm_backend {
    ACCLLM_BACKEND_CPU = 0,
    ACCLLM_BACKEND_DEVICE = 1, /* the accelerator's instruction-level model; AccLLM files only */
    ACCLLM_BACKEND_RTL = 2,    /* its Verilated RTL, which ACCLLM_RTL in the environment names (docs/accelerator.md) */
} accllm_backend;

typedef struct accllm_session_params {
    size_t struct_size;
    uint32_t sinks;      /* up to 1024; UINT32_MAX: the file's default */
    uint32_t window;     /* 0: the file's default, at most the trained context less the sinks */
    bool full_attention; /* no window: n_ctx positions are kept, more is refused (E_LIMIT) */
    uint32_t n_ctx;      /* with full_attention; 0: the trained context */
    uint32_t kv_bits;    /* 4 or 8; 0: the file's default. Float reference: 0 or 32 is a float cache */
    uint32_t kv_near;    /* with 4 bits: the last tokens that are kept at 8 bits too, up to 256; UINT32_MAX: 64 */
    uint32_t chunk;      /* prefill chunk in tokens, up to 4096 (float reference: any); 0: 128 */
    uint32_t max_logits; /* rows of logits that one call may return; 0: 1 */
    bool force;          /* allow sinks + window above the trained context */
    bool trace;          /* keep the trace hash of docs/numerics.md */
    bool batch_only;     /* advances in batches (batch.h) alone: no working memory and no logits of its own */
    accllm_backend backend;
} accllm_session_params;

ACCLLM_API void accllm_session_params_init(accllm_session_params *p);
ACCLLM_API accllm_status accllm_session_create(accllm_session **out, accllm_model *m, const accllm_session_params *p,
                                               accllm_error *err);
ACCLLM_API void accllm_session_free(accllm_session **s);
ACCLLM_API void accllm_session_reset(accllm_session *s);
/* Takes the session back to where it had read only the first `position` tokens: what follows is as if the others had
 * never been there. E_ARG: a position ahead of the present one, or a session with trace (its hash is of all that
 * happened); E_LIMIT: the window of that position is not kept any more; with kv_near that is so when more than a chunk
 * (an accelerator's: as few as 2 tokens, by the position) is taken back, except to the beginning. The session then
 * stays as it was. */
ACCLLM_API accllm_status accllm_session_rewind(accllm_session *s, uint64_t position, accllm_error *err);

/* Advances the session by n tokens (any n; cut into chunks inside; one token is decode). The logits of the last
 * n_logits of these positions are computed, n_logits <= min(n, max_logits); *logits (may be NULL if n_logits is 0)
 * points to [n_logits][n_vocab] floats owned by the session and valid until the next call.
 * On an error the session stands behind the last whole chunk, see accllm_session_position(), and may go on from there
 * (an accelerator's behind the last whole token; one that stopped within a token wants a reset first, and says so).
 * E_ARG also: another thread's call uses the session, or it was made with batch_only. */
ACCLLM_API accllm_status accllm_session_eval(accllm_session *s, const int32_t *ids, size_t n, size_t n_logits,
                                             const float **logits, accllm_error *err);
ACCLLM_API uint64_t accllm_session_position(const accllm_session *s); /* tokens seen */
ACCLLM_API uint64_t accllm_session_bytes(const accllm_session *s);    /* memory of this machine that the session owns */
ACCLLM_API uint32_t accllm_session_sinks(const accllm_session *s);
ACCLLM_API uint32_t accllm_session_window(const accllm_session *s);
ACCLLM_API uint32_t accllm_session_kv_bits(const accllm_session *s);
/* Hash of every layer's residual and of all logits returned so far (float reference: of the logits alone); 0 without
 * trace. */
ACCLLM_API uint64_t accllm_session_trace_hash(const accllm_session *s);
/* For benchmarks: sets the position to depth and fills sinks and window with pseudo-random codes of a fixed seed; the
 * session is not to be taken back behind that position, nor saved. */
ACCLLM_API accllm_status accllm_session_fill(accllm_session *s, uint64_t depth, accllm_error *err);
/* Bytes of KV cache that one decode step reads at the present position. */
ACCLLM_API uint64_t accllm_session_kv_bytes_per_token(const accllm_session *s);

#ifdef __cplusplus
}
#endif
#endif
