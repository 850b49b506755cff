/*
 * An HTTP server that speaks OpenAI's API over one model (docs/server.md). It has a fixed number of sessions, made when
 * it is created, so that its memory is known then; requests beyond them wait in a bounded queue.
 */
#ifndef ACCLLM_SERVER_H
#define ACCLLM_SERVER_H

#include "engine.h"
#include "sampler.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct accllm_server accllm_server;

typedef struct accllm_server_params {
    size_t struct_size;
    const char *host;            /* NULL: 127.0.0.1 */
    uint16_t port;               /* 0: any that is free */
    const char *model_name;      /* as clients see it; NULL: the model's own */
    const char *const *api_keys; /* one of them must come with a request; none: all may ask */
    size_t n_api_keys;
    const char *const *origins; /* of web pages that may ask ("*": all); pages of this machine always may */
    size_t n_origins;
    uint32_t parallel;             /* sessions; 0: 4, or with a memory limit as many as fit, up to 64 */
    uint64_t memory_limit;         /* bytes for model and sessions together; 0: none */
    uint32_t queue;                /* requests that may wait for a session; 0: 64 */
    uint64_t max_tokens;           /* of a chat's answer not told its length, and for -1; 0: the trained context */
    uint32_t ping_seconds;         /* a stream that is silent for so long gets a comment line; 0: 10 */
    uint32_t drain_seconds;        /* answers that run when the server is stopped may go on for so long; 0: 10 */
    accllm_sampler_params sampler; /* where a request does not say */
    bool pin_system;        /* chats whose system message is longer than the sinks, and so would leave, are refused */
    const char *state_dir;  /* where the sessions' states are saved and restored from (state.h); NULL: nowhere */
    uint32_t state_seconds; /* the least time between two saves; 0: 10. The end saves all */
} accllm_server_params;

typedef struct accllm_server_info {
    char url[96]; /* "http://127.0.0.1:8080" */
    char model_name[128];
    bool loopback; /* only this machine reaches it */
    uint32_t sessions;
    uint64_t session_bytes,
        model_bytes; /* the model as its file or as it stands in memory, whichever is more; working memory */
} accllm_server_info;

ACCLLM_API void accllm_server_params_init(accllm_server_params *p);
/* Makes the sessions (by sp; NULL: the defaults) and opens the port. The texts in p are copied. rt, the runtime of m,
 * and m must outlive the server. E_ARG, E_LIMIT: parameters that cannot be met; E_IO: the port or the
 * folder for states cannot be had; E_UNSUPPORTED: such a folder, but a model whose sessions have no states. */
ACCLLM_API accllm_status accllm_server_create(accllm_server **out, accllm_runtime *rt, accllm_model *m,
                                              const accllm_session_params *sp, const accllm_server_params *p,
                                              accllm_error *err);
ACCLLM_API void accllm_server_free(accllm_server **s);
ACCLLM_API const accllm_server_info *accllm_server_get_info(const accllm_server *s);
/* Serves until accllm_server_stop(): this thread speaks HTTP, one more drives the engine, and one saves states where
 * there is a folder for them. The program must ignore SIGPIPE: a client may leave while it is written to. */
ACCLLM_API accllm_status accllm_server_run(accllm_server *s, accllm_error *err);
/* The first call closes the port, refuses what waits and lets running answers end; a second one, or the end of
 * drain_seconds, cuts them off by accllm_runtime_abort(), whose flag stays up. Safe in a signal handler. */
ACCLLM_API void accllm_server_stop(accllm_server *s);

#ifdef __cplusplus
}
#endif

#endif
