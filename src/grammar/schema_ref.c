/* References within a schema: JSON pointers (RFC 6901) in a URI's fragment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/schema.h"

/* One step of a pointer: the member or item called part[0..n). */
static const json_t *member(const json_t *at, const char *part, size_t n)
{
    char key[256];
    size_t used = 0;
    if (n >= sizeof key) return NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (part[i] == '%' && n - i > 2 && sscanf(part + i + 1, "%2x", &byte) == 1) {
            key[used++] = (char)byte;
            i += 2;
        } else {
            key[used++] = part[i];
        }
    }
    n = used;
    for (size_t i = used = 0; i < n; i++) {
        bool escape = key[i] == '~' && i + 1 < n && (key[i + 1] == '0' || key[i + 1] == '1');
        key[used++] = !escape ? key[i] : key[i + 1] == '0' ? '~' : '/';
        i += escape;
    }
    key[used] = '\0';
    if (json_is_array(at)) return json_array_get(at, strtoul(key, NULL, 10));
    return json_object_getn(at, key, used);
}

accllm_status acc_schema_target(const acc_schema *s, const char *ref, const json_t **out)
{
    const json_t *at = s->root;
    const char *c = ref + 1;
    if (*ref != '#' || (*c && *c != '/'))
        return acc_schema_refuse(s, "$ref", "only references within the schema are supported (#/...)");
    while (at && *c == '/') {
        size_t n = strcspn(++c, "/");
        at = member(at, c, n);
        c += n;
    }
    if (!at) return acc_fail(s->err, ACCLLM_E_FORMAT, "JSON schema: $ref %.100s leads nowhere", ref);
    *out = at;
    return ACCLLM_OK;
}
