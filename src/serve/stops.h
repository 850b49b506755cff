/* Stop texts: where one stands in a text, and how much of the text's end may still become one. */
#ifndef ACC_SERVE_STOPS_H
#define ACC_SERVE_STOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ACC_MAX_STOPS = 16, ACC_MAX_STOP_BYTES = 256 };

typedef struct acc_stops {
    char *text[ACC_MAX_STOPS]; /* malloc'ed, not empty */
    size_t len[ACC_MAX_STOPS];
    size_t n;
} acc_stops;

void acc_stops_free(acc_stops *s);
/* The offset of the first stop text, SIZE_MAX if there is none. */
size_t acc_stops_find(const acc_stops *s, const char *text, size_t len);
/* How many bytes at the end are the beginning of a stop text; the most that any of them gives. */
size_t acc_stops_held(const acc_stops *s, const char *text, size_t len);

#endif
