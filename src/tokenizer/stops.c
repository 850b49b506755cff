#include <stdint.h>
#include <string.h>

#include "accllm/tokenizer.h"

size_t accllm_find_stop(const char *const *stops, size_t n_stops, const char *text, size_t len)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < n_stops; i++) {
        const char *at = memmem(text, len, stops[i], strlen(stops[i]));
        if (at && (size_t)(at - text) < first) first = (size_t)(at - text);
    }
    return first;
}

size_t accllm_held_by_stops(const char *const *stops, size_t n_stops, const char *text, size_t len)
{
    size_t most = 0;
    for (size_t i = 0; i < n_stops; i++) {
        const size_t n = strlen(stops[i]) - 1;
        size_t k = n < len ? n : len;
        while (k > most && memcmp(text + len - k, stops[i], k) != 0) k--;
        if (k > most) most = k;
    }
    return most;
}
