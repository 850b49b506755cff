/* UTF-8: what a byte string begins with, code points to bytes and back. */
#include "tokenizer/utf8.h"

/* The length that a lead byte announces (0: not a lead byte) and the bounds of the byte after it. */
static unsigned lead(uint8_t b, uint8_t *lo, uint8_t *hi)
{
    *lo = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
    *hi = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    if (b < 0x80) return 1;
    if (b < 0xc2) return 0;
    if (b < 0xe0) return 2;
    if (b < 0xf0) return 3;
    return b < 0xf5 ? 4 : 0;
}

acc_utf8_seq acc_utf8_scan(const char *s, size_t n)
{
    const uint8_t *p = (const uint8_t *)s;
    uint8_t lo, hi;
    unsigned need = lead(p[0], &lo, &hi);
    if (need == 0) return (acc_utf8_seq){ACC_UTF8_INVALID, 1};
    for (unsigned i = 1; i < need; i++) {
        if (i == n) return (acc_utf8_seq){ACC_UTF8_INCOMPLETE, i};
        if (p[i] < lo || p[i] > hi) return (acc_utf8_seq){ACC_UTF8_INVALID, i};
        lo = 0x80;
        hi = 0xbf;
    }
    return (acc_utf8_seq){ACC_UTF8_VALID, need};
}

size_t acc_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        if ((uint8_t)s[i] < 0x80) {
            i++;
            continue;
        }
        acc_utf8_seq q = acc_utf8_scan(s + i, n - i);
        if (q.state != ACC_UTF8_VALID) break;
        i += q.len;
    }
    return i;
}

uint32_t acc_utf8_decode(const char *s, unsigned len)
{
    static const uint8_t mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t cp = (uint8_t)s[0] & mask[len];
    for (unsigned i = 1; i < len; i++) cp = cp << 6 | ((uint8_t)s[i] & 0x3f);
    return cp;
}

unsigned acc_utf8_encode(uint32_t cp, char out[4])
{
    unsigned len = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const uint8_t first[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (unsigned i = len - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(first[len] | cp);
    return len;
}
