/* UTF-8 by the Unicode Standard, section 3.9, table 3-7: no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef ACC_TOKENIZER_UTF8_H
#define ACC_TOKENIZER_UTF8_H

#include <stddef.h>
#include <stdint.h>

typedef enum acc_utf8_state {
    ACC_UTF8_VALID,      /* a whole character of len bytes */
    ACC_UTF8_INCOMPLETE, /* all n bytes at hand are the beginning of a character; len = n */
    ACC_UTF8_INVALID,    /* no character begins like this; len = the bytes that one U+FFFD stands for (1..3) */
} acc_utf8_state;

typedef struct acc_utf8_seq {
    acc_utf8_state state;
    unsigned len;
} acc_utf8_seq;

/* What s[0..n) begins with; n >= 1. An invalid sequence's length is its "maximal subpart", section 3.9. */
acc_utf8_seq acc_utf8_scan(const char *s, size_t n);
/* The length of the longest valid beginning of s[0..n). */
size_t acc_utf8_valid(const char *s, size_t n);
/* The code point of a valid sequence of len bytes. */
uint32_t acc_utf8_decode(const char *s, unsigned len);
/* Writes the bytes of cp (at most 4) and returns their number. */
unsigned acc_utf8_encode(uint32_t cp, char out[4]);

#endif
