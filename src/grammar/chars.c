/* Sets of characters, and the nodes of bytes that read their UTF-8. */
#include <stdlib.h>

#include "grammar/builder.h"

enum { MOST_RANGES = 65536, LAST_CHAR = 0x10ffff, FIRST_SURROGATE = 0xd800, LAST_SURROGATE = 0xdfff };

accllm_status acc_chars_add(acc_chars *c, uint32_t lo, uint32_t hi, accllm_error *err)
{
    void *p = c->r;
    if (c->n == MOST_RANGES) return acc_fail(err, ACCLLM_E_LIMIT, "a character class has too many ranges");
    bool ok = acc_grow(&p, c->n, &c->cap, sizeof *c->r);
    c->r = p;
    if (!ok) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: character class");
    c->r[c->n++] = (acc_char_range){lo, hi};
    return ACCLLM_OK;
}

void acc_chars_free(acc_chars *c)
{
    free(c->r);
    *c = (acc_chars){0};
}

static int by_start(const void *a, const void *b)
{
    const acc_char_range *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

static void join(acc_chars *c)
{
    size_t n = 0;
    if (c->n > 0) qsort(c->r, c->n, sizeof *c->r, by_start);
    for (size_t i = 0; i < c->n; i++) {
        acc_char_range r = c->r[i];
        if (n > 0 && r.lo <= c->r[n - 1].hi + 1) {
            if (r.hi > c->r[n - 1].hi) c->r[n - 1].hi = r.hi;
        } else {
            c->r[n++] = r;
        }
    }
    c->n = n;
}

/* The characters that c does not have, of sorted ranges that do not touch. */
static accllm_status turn(acc_chars *c, accllm_error *err)
{
    acc_chars other = {0};
    accllm_status status = ACCLLM_OK;
    uint32_t from = 0;
    for (size_t i = 0; i < c->n && status == ACCLLM_OK; i++) {
        if (c->r[i].lo > from) status = acc_chars_add(&other, from, c->r[i].lo - 1, err);
        from = c->r[i].hi + 1;
    }
    if (status == ACCLLM_OK && from <= LAST_CHAR) status = acc_chars_add(&other, from, LAST_CHAR, err);
    acc_chars_free(c);
    *c = other;
    return status;
}

accllm_status acc_chars_settle(acc_chars *c, bool negate, accllm_error *err)
{
    /* out with the surrogates: they are added to the complement, whose complement is the set without them */
    join(c);
    if (!negate) ACC_TRY(turn(c, err));
    ACC_TRY(acc_chars_add(c, FIRST_SURROGATE, LAST_SURROGATE, err));
    join(c);
    return turn(c, err);
}

/* A node's ranges while they are collected, byte by byte in ascending order. */
typedef struct ranges {
    acc_byte_range r[256];
    size_t n;
} ranges;

static void put(ranges *out, unsigned byte, uint32_t to)
{
    acc_byte_range *last = out->n ? &out->r[out->n - 1] : NULL;
    if (last && last->to == to && last->hi + 1u == byte)
        last->hi = (uint8_t)byte;
    else
        out->r[out->n++] = (acc_byte_range){(uint8_t)byte, (uint8_t)byte, to};
}

/* The characters first..last that begin with one byte, behind which `more` bytes follow. */
typedef struct block {
    const acc_char_range *r; /* the first range that may reach into it */
    size_t n;
    uint32_t first, last;
    unsigned more;
} block;

static accllm_status put_block(acc_builder *b, ranges *out, unsigned byte, block k, accllm_error *err);

/* The node behind the first byte of a block. */
static accllm_status inner_node(acc_builder *b, block k, uint32_t *node, accllm_error *err)
{
    ranges out = {.n = 0};
    const unsigned more = k.more - 1;
    for (unsigned digit = 0; digit < 64; digit++) {
        uint32_t first = (k.first & ~((64u << 6 * more) - 1)) + (digit << 6 * more);
        block inner = {k.r, k.n, first, first + (1u << 6 * more) - 1, more};
        if (inner.last < k.first || inner.first > k.last) continue;
        if (inner.first < k.first) inner.first = k.first;
        ACC_TRY(put_block(b, &out, 0x80 + digit, inner, err));
    }
    return acc_builder_node(b, out.r, out.n, node, err);
}

/* The node of `more` bytes that may all be any: 80 to BF. */
static accllm_status free_node(acc_builder *b, unsigned more, uint32_t *node, accllm_error *err)
{
    *node = 0;
    for (unsigned i = 0; i < more; i++) {
        acc_byte_range any = {0x80, 0xbf, *node};
        ACC_TRY(acc_builder_node(b, &any, 1, node, err));
    }
    return ACCLLM_OK;
}

/* Recursion: at most three deep, and only into blocks that have characters within the set and others without. */
static accllm_status put_block(acc_builder *b, ranges *out, unsigned byte, block k, accllm_error *err)
{
    uint32_t to = 0;
    while (k.n > 0 && k.r->hi < k.first) {
        k.r++;
        k.n--;
    }
    if (k.n == 0 || k.r->lo > k.last) return ACCLLM_OK;
    bool whole = k.last - k.first + 1 == 1u << 6 * k.more && k.r->lo <= k.first && k.r->hi >= k.last;
    ACC_TRY(whole ? free_node(b, k.more, &to, err) : inner_node(b, k, &to, err));
    put(out, byte, to);
    return ACCLLM_OK;
}

accllm_status acc_chars_node(acc_builder *b, const acc_chars *c, uint32_t *node, accllm_error *err)
{
    static const struct {
        uint32_t first, last; /* characters of this many bytes */
        unsigned lead;
    } length[] = {{0, 0x7f, 0}, {0x80, 0x7ff, 0xc0}, {0x800, 0xffff, 0xe0}, {0x10000, LAST_CHAR, 0xf0}};
    ranges out = {.n = 0};
    for (unsigned more = 0; more < 4; more++)
        for (uint32_t digit = length[more].first >> 6 * more; digit <= length[more].last >> 6 * more; digit++) {
            block k = {c->r, c->n, digit << 6 * more, (digit + 1) << 6 * more, more};
            k.last--;
            if (k.first < length[more].first) k.first = length[more].first;
            ACC_TRY(put_block(b, &out, length[more].lead + digit, k, err));
        }
    return acc_builder_node(b, out.r, out.n, node, err);
}
