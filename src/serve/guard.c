#include "serve/guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/memory.h"

static accllm_status copy_keys(acc_guard *g, const char *const *keys, accllm_error *err)
{
    void *room = NULL;
    ACC_TRY(acc_alloc(&room, g->n_keys, sizeof *g->key, "API keys", err));
    g->key = room;
    for (size_t i = 0; i < g->n_keys; i++) {
        size_t n = strlen(keys[i]);
        if (n == 0) return acc_fail(err, ACCLLM_E_ARG, "an API key is empty");
        if (n >= ACC_MAX_KEY)
            return acc_fail(err, ACCLLM_E_ARG, "an API key has %zu bytes, more than %d", n, ACC_MAX_KEY - 1);
        memcpy(g->key[i], keys[i], n);
    }
    return ACCLLM_OK;
}

/* As browsers send it; what has another form would never be met. */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    return strcmp(text, "*") == 0 || strcmp(text, "null") == 0 ||
           (host && host > text && host[3] && !strchr(host + 3, '/'));
}

static accllm_status copy_origins(acc_guard *g, const char *const *origins, accllm_error *err)
{
    for (size_t i = 0; i < g->n_origins; i++)
        if (!is_origin(origins[i]))
            return acc_fail(err, ACCLLM_E_ARG, "%s is no origin as https://app.example or http://10.0.0.7:3000 is",
                            origins[i]);
    g->origin = calloc(g->n_origins + 1, sizeof *g->origin);
    bool ok = g->origin != NULL;
    for (size_t i = 0; ok && i < g->n_origins; i++)
        ok = (g->origin[i] = acc_strndup(origins[i], strlen(origins[i]))) != NULL;
    return ok ? ACCLLM_OK : acc_fail(err, ACCLLM_E_NOMEM, "out of memory: origins");
}

accllm_status acc_guard_init(acc_guard *g, const char *const *keys, size_t n_keys, const char *const *origins,
                             size_t n_origins, accllm_error *err)
{
    *g = (acc_guard){.n_keys = n_keys, .n_origins = n_origins};
    ACC_TRY(copy_keys(g, keys, err));
    return copy_origins(g, origins, err);
}

void acc_guard_free(acc_guard *g)
{
    for (size_t i = 0; g->origin && g->origin[i]; i++) free(g->origin[i]);
    free(g->origin);
    acc_free(g->key);
    *g = (acc_guard){0};
}

/* Looks at every byte of what was given and at its end, whatever is found on the way. */
static bool same(const char *given, const char key[ACC_MAX_KEY])
{
    unsigned char differ = 0;
    size_t n = strlen(given);
    for (size_t i = 0; i <= n; i++) differ |= (unsigned char)(given[i] ^ key[i % ACC_MAX_KEY]);
    return n < ACC_MAX_KEY && differ == 0;
}

bool acc_guard_key(const acc_guard *g, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    bool good = false;
    if (g->n_keys == 0) return true;
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return false;
    for (size_t i = 0; i < g->n_keys; i++) good |= same(authorization + sizeof scheme - 1, g->key[i]);
    return good;
}

static bool of_this_machine(const char *origin)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};
    const char *host = strstr(origin, "://");
    if (!host) return false;
    host += 3;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        size_t n = strlen(hosts[i]);
        if (strncasecmp(host, hosts[i], n) == 0 && (host[n] == '\0' || host[n] == ':')) return true;
    }
    return false;
}

static bool is_address(const char *host, size_t n)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    bool six = n > 2 && host[0] == '[' && host[n - 1] == ']';
    if (six) host++, n -= 2;
    if (n == 0 || n >= sizeof text) return false;
    (void)snprintf(text, sizeof text, "%.*s", (int)n, host);
    return inet_pton(six ? AF_INET6 : AF_INET, text, address) == 1;
}

/* The page came from this server itself. That is believed of an address alone: a name that leads here may be an
 * attacker's, who lets his own name point to this machine once his page was loaded. */
static bool of_this_server(const char *origin, const char *host)
{
    const char *rest = strstr(origin, "://");
    if (!rest || !host || strcasecmp(rest + 3, host) != 0) return false;
    const char *colon = strrchr(host, ':');
    return is_address(host, colon && !strchr(colon, ']') ? (size_t)(colon - host) : strlen(host));
}

bool acc_guard_origin(const acc_guard *g, const char *origin, const char *host)
{
    for (size_t i = 0; i < g->n_origins; i++)
        if (strcmp(g->origin[i], "*") == 0 || strcasecmp(g->origin[i], origin) == 0) return true;
    return of_this_machine(origin) || of_this_server(origin, host);
}
