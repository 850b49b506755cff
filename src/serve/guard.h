/* Who may ask: API keys and the origins of web pages. */
#ifndef ACC_SERVE_GUARD_H
#define ACC_SERVE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

typedef struct acc_guard {
    char **key, **origin; /* copies */
    size_t n_keys, n_origins;
} acc_guard;

accllm_status acc_guard_init(acc_guard *g, const char *const *keys, size_t n_keys, const char *const *origins,
                             size_t n_origins, accllm_error *err) ACC_MUST_CHECK;
void acc_guard_free(acc_guard *g);
/* authorization: the header's value, NULL if absent. True if there are no keys, or the token is one of them; the time
 * taken tells nothing of how much of it is right. */
bool acc_guard_key(const acc_guard *g, const char *authorization);
/* Pages of this machine, pages that came from this server under an IP address (host: the header's value, NULL if
 * absent), and the origins that were given. */
bool acc_guard_origin(const acc_guard *g, const char *origin, const char *host);

#endif
