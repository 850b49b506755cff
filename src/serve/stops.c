#include "serve/stops.h"

#include <stdlib.h>
#include <string.h>

void acc_stops_free(acc_stops *s)
{
    for (size_t i = 0; i < s->n; i++) free(s->text[i]);
    s->n = 0;
}

size_t acc_stops_find(const acc_stops *s, const char *text, size_t len)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++) {
        const char *at = memmem(text, len, s->text[i], s->len[i]);
        if (at && (size_t)(at - text) < first) first = (size_t)(at - text);
    }
    return first;
}

size_t acc_stops_held(const acc_stops *s, const char *text, size_t len)
{
    size_t most = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t k = s->len[i] - 1 < len ? s->len[i] - 1 : len;
        while (k > most && memcmp(text + len - k, s->text[i], k) != 0) k--;
        if (k > most) most = k;
    }
    return most;
}
