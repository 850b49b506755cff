/* Who may ask: API keys and the origins of web pages. */
#ifndef ACC_SERVE_GUARD_H
#define ACC_SERVE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

enum { ACC_MAX_KEY = 512 };

typedef struct acc_guard {
    char (*key)[ACC_MAX_KEY]; /* [n_keys], zeros behind each */
    char **origin;            /* copies */
    size_t n_keys, n_origins;
} acc_guard;

/* E_ARG: a key that is empty, or has ACC_MAX_KEY bytes or more. */
accllm_status acc_guard_init(acc_guard *g, const char *const *keys, size_t n_keys, const char *const *origins,
                             size_t n_origins, accllm_error *err) ACC_MUST_CHECK;
void acc_guard_free(acc_guard *g);
/* authorization: the header's value, NULL if absent. True if there are no keys, or the token is one of them; the time
 * taken depends on what was given alone, not on how much of it is right or how long a key is. */
bool acc_guard_key(const acc_guard *g, const char *authorization);
/* Pages of this machine, pages that came from this server under an IP address (host: the header's value, NULL if
 * absent), and the origins that were given. */
bool acc_guard_origin(const acc_guard *g, const char *origin, const char *host);

#endif
