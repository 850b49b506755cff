/* The vocabulary: names, types and scores from the metadata, the bytes that each token stands for, tables to find them.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

#define MAX_TOKENS (1u << 24)
#define MAX_TOKEN_BYTES (1u << 16)
#define KEY(name) "tokenizer.ggml." name
#define BLANK "\xe2\x96\x81"          /* SentencePiece's U+2581 */
#define UNKNOWN_TEXT " \xe2\x81\x87 " /* what SentencePiece shows for an unknown token */

static bool shown_as_itself(unsigned b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b != 0xad);
}

uint32_t acc_byte_char(uint8_t byte)
{
    if (shown_as_itself(byte)) return byte;
    uint32_t cp = 0x100;
    for (unsigned b = 0; b < byte; b++) cp += !shown_as_itself(b);
    return cp;
}

int acc_char_byte(uint32_t cp)
{
    if (cp < 0x100) return shown_as_itself(cp) ? (int)cp : -1;
    uint32_t rank = cp - 0x100;
    for (unsigned b = 0; b < 256; b++)
        if (!shown_as_itself(b) && rank-- == 0) return (int)b;
    return -1;
}

/* Characters outside the byte alphabet stand for themselves. */
static size_t decode_byte_level(char *out, const char *s, size_t n, const int16_t table[0x144])
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        acc_utf8_seq q = acc_utf8_scan(s + i, n - i);
        uint32_t cp = q.state == ACC_UTF8_VALID ? acc_utf8_decode(s + i, q.len) : UINT32_MAX;
        if (cp < 0x144 && table[cp] >= 0) {
            out[used++] = (char)table[cp];
        } else {
            memcpy(out + used, s + i, q.len);
            used += q.len;
        }
        i += q.len;
    }
    return used;
}

static size_t decode_blanks(char *out, const char *s, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        bool blank = n - i >= 3 && memcmp(s + i, BLANK, 3) == 0;
        out[used++] = blank ? ' ' : s[i];
        i += blank ? 3 : 1;
    }
    return used;
}

/* "<0x0A>": the byte, else -1. */
static int byte_name(const char *s, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
    const char *hi = memchr(digits, s[3], 16), *lo = memchr(digits, s[4], 16);
    return hi && lo ? (int)((hi - digits) << 4 | (lo - digits)) : -1;
}

static accllm_status copy_names(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    size_t total = 0;
    acc_str s;
    void *p = NULL;
    for (int32_t id = 0; id < t->n; id++) {
        if (!acc_gguf_array_str(meta, KEY("tokens"), (size_t)id, &s))
            return acc_fail(err, ACCLLM_E_FORMAT, "token %" PRId32 " cannot be read", id);
        if (s.n > MAX_TOKEN_BYTES)
            return acc_fail(err, ACCLLM_E_LIMIT, "token %" PRId32 " has %zu bytes (limit %u)", id, s.n,
                            MAX_TOKEN_BYTES);
        if (!acc_add(total, s.n + 1, &total)) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: vocabulary");
    }
    ACC_TRY(acc_alloc(&p, total, 1, "vocabulary", err));
    char *at = t->names = p;
    ACC_TRY(acc_alloc(&p, total, 1, "vocabulary", err));
    t->bytes = p;
    for (int32_t id = 0; id < t->n; id++) {
        if (!acc_gguf_array_str(meta, KEY("tokens"), (size_t)id, &s)) return acc_fail(err, ACCLLM_E_FORMAT, "tokens");
        memcpy(at, s.s, s.n);
        t->tokens[id].name = at;
        t->tokens[id].name_len = (uint32_t)s.n;
        at += s.n + 1;
    }
    return ACCLLM_OK;
}

static accllm_status read_types(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    size_t n = 0;
    bool given = acc_gguf_array(meta, KEY("token_type"), NULL, &n);
    if (!given && acc_gguf_has(meta, KEY("token_type")))
        return acc_fail(err, ACCLLM_E_FORMAT, "tokenizer.ggml.token_type is not an array");
    if (given && n != (size_t)t->n)
        return acc_fail(err, ACCLLM_E_FORMAT, "%zu token types for %" PRId32 " tokens", n, t->n);
    for (int32_t id = 0; id < t->n; id++) {
        int64_t type = ACC_TOKEN_NORMAL;
        if (given && (!acc_gguf_array_i64(meta, KEY("token_type"), (size_t)id, &type) || type < 0 || type > 6))
            return acc_fail(err, ACCLLM_E_FORMAT, "token %" PRId32 " has no valid type", id);
        t->tokens[id].type = type == 0 ? ACC_TOKEN_NORMAL : (uint8_t)type;
    }
    return ACCLLM_OK;
}

/* A float's bits in an order that integers sort by, the largest float first. */
static uint32_t descending(float x)
{
    uint32_t u;
    x += 0.0f; /* -0 becomes 0 */
    memcpy(&u, &x, sizeof u);
    return ~(u >> 31 ? ~u : u | 0x80000000u);
}

static accllm_status read_scores(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    size_t n = 0;
    if (!acc_gguf_array(meta, KEY("scores"), NULL, &n) || n != (size_t)t->n)
        return acc_fail(err, ACCLLM_E_FORMAT, "%zu token scores for %" PRId32 " tokens", n, t->n);
    for (int32_t id = 0; id < t->n; id++) {
        double score;
        if (!acc_gguf_array_f64(meta, KEY("scores"), (size_t)id, &score) || isnan(score))
            return acc_fail(err, ACCLLM_E_FORMAT, "token %" PRId32 " has no valid score", id);
        t->tokens[id].order = descending((float)score);
    }
    return ACCLLM_OK;
}

/* Writes what the token adds to a text to out. Names as they are where no alphabet hides blanks and bytes. */
static size_t token_bytes(const accllm_tokenizer *t, const acc_token *k, const int16_t table[0x144], char *out)
{
    int byte = byte_name(k->name, k->name_len);
    if (k->type == ACC_TOKEN_CONTROL || (t->bpe && k->type == ACC_TOKEN_UNKNOWN)) return 0;
    if (k->type == ACC_TOKEN_BYTE && byte >= 0) {
        *out = (char)byte;
        return 1;
    }
    if (!t->bpe) return decode_blanks(out, k->name, k->name_len);
    if (k->type == ACC_TOKEN_USER_DEFINED) {
        memcpy(out, k->name, k->name_len);
        return k->name_len;
    }
    return decode_byte_level(out, k->name, k->name_len, table);
}

static void decode_all(accllm_tokenizer *t)
{
    int16_t table[0x144];
    for (uint32_t cp = 0; cp < 0x144; cp++) table[cp] = (int16_t)acc_char_byte(cp);
    char *at = t->bytes;
    for (int32_t id = 0; id < t->n; id++) {
        acc_token *k = &t->tokens[id];
        k->bytes = at;
        k->bytes_len = (uint32_t)token_bytes(t, k, table, at);
        at += k->bytes_len;
        if (!t->bpe && k->type == ACC_TOKEN_UNKNOWN) {
            k->bytes = UNKNOWN_TEXT;
            k->bytes_len = sizeof UNKNOWN_TEXT - 1;
        }
    }
}

/* May ordinary text become this token? Control tokens never: a text that spells one out stays text. */
static bool is_piece(const accllm_tokenizer *t, const acc_token *k)
{
    if (k->bytes_len == 0) return false;
    if (t->bpe) return k->type == ACC_TOKEN_NORMAL || k->type == ACC_TOKEN_UNUSED;
    return k->type == ACC_TOKEN_NORMAL || k->type == ACC_TOKEN_USER_DEFINED || k->type == ACC_TOKEN_UNUSED;
}

static bool blank_inside(const acc_token *k)
{
    for (uint32_t i = 1; i < k->bytes_len; i++)
        if (k->bytes[i] == ' ' && k->bytes[i - 1] != ' ') return true;
    return false;
}

static accllm_status fill_tables(accllm_tokenizer *t, accllm_error *err)
{
    ACC_TRY(acc_text_map_init(&t->by_name, (size_t)t->n, err));
    ACC_TRY(acc_text_map_init(&t->by_bytes, (size_t)t->n, err));
    t->words_apart = true;
    for (int32_t id = 0; id < t->n; id++) {
        const acc_token *k = &t->tokens[id];
        ACC_TRY(acc_text_map_put(&t->by_name, k->name, k->name_len, id, err));
        if (!is_piece(t, k) || (t->bpe && !t->pre.whole_words)) continue;
        ACC_TRY(acc_text_map_put(&t->by_bytes, k->bytes, k->bytes_len, id, err));
        if (k->bytes_len > t->max_piece) t->max_piece = k->bytes_len;
        if (blank_inside(k)) t->words_apart = false;
    }
    return ACCLLM_OK;
}

static void find_byte_tokens(accllm_tokenizer *t)
{
    t->byte_fallback = true;
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        size_t n = t->bpe ? acc_utf8_encode(acc_byte_char((uint8_t)b), name)
                          : (size_t)snprintf(name, sizeof name, "<0x%02X>", b);
        t->byte_id[b] = acc_text_map_get(&t->by_name, name, n);
        if (t->byte_id[b] < 0) t->byte_fallback = false;
    }
}

accllm_status acc_vocab_load(accllm_tokenizer *t, const acc_gguf *meta, accllm_error *err)
{
    acc_gguf_kv_type type;
    size_t n = 0;
    void *p = NULL;
    if (!acc_gguf_array(meta, KEY("tokens"), &type, &n) || type != ACC_GGUF_STRING || n == 0)
        return acc_fail(err, ACCLLM_E_FORMAT, "tokenizer.ggml.tokens is not a list of strings");
    if (n > MAX_TOKENS) return acc_fail(err, ACCLLM_E_LIMIT, "%zu tokens (limit %u)", n, MAX_TOKENS);
    t->n = (int32_t)n;
    ACC_TRY(acc_alloc(&p, n, sizeof *t->tokens, "vocabulary", err));
    t->tokens = p;
    ACC_TRY(copy_names(t, meta, err));
    ACC_TRY(read_types(t, meta, err));
    if (!t->bpe) ACC_TRY(read_scores(t, meta, err));
    decode_all(t);
    ACC_TRY(fill_tables(t, err));
    find_byte_tokens(t);
    return ACCLLM_OK;
}
