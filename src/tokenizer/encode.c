/* Text into tokens: special tokens cut the text into fragments, fragments become words, words become tokens. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "tokenizer/internal.h"

#define CACHE_SLOTS 16384 /* at most; a short text gets one for every eight bytes */
#define CACHE_FROM 2048   /* a shorter text repeats too few words to pay for the cache */
#define MAX_TEXT ((size_t)INT32_MAX - 1)

accllm_status acc_encoder_init(acc_encoder *e, const accllm_tokenizer *t, size_t len, accllm_error *err)
{
    void *p = NULL;
    *e = (acc_encoder){.tok = t};
    if (len > MAX_TEXT) return acc_fail(err, ACCLLM_E_LIMIT, "a text of %zu bytes (limit %zu)", len, MAX_TEXT);
    e->cap_ids = len / 3 + 16;
    e->ids = malloc(e->cap_ids * sizeof *e->ids);
    if (!e->ids) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: token ids");
    if (t->bpe) ACC_TRY(acc_matcher_init(&e->matcher, err));
    if (len < CACHE_FROM) return ACCLLM_OK;
    size_t slots = CACHE_SLOTS;
    while (slots > len / 8) slots /= 2;
    ACC_TRY(acc_alloc(&p, slots, sizeof *e->cache, "word cache", err));
    e->cache = p;
    e->cache_mask = slots - 1;
    return ACCLLM_OK;
}

void acc_encoder_free(acc_encoder *e)
{
    free(e->ids);
    acc_free(e->symbols);
    acc_free(e->heap);
    acc_free(e->cache);
    acc_free(e->text);
    acc_matcher_free(&e->matcher);
    *e = (acc_encoder){0};
}

accllm_status acc_encoder_push(acc_encoder *e, int32_t id, accllm_error *err)
{
    if (e->n_ids == e->cap_ids) {
        size_t cap, bytes;
        int32_t *more = NULL;
        if (acc_mul(e->cap_ids, 2, &cap) && acc_mul(cap, sizeof *more, &bytes)) more = realloc(e->ids, bytes);
        if (!more) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: token ids");
        e->ids = more;
        e->cap_ids = cap;
    }
    e->ids[e->n_ids++] = id;
    return ACCLLM_OK;
}

static accllm_status word(void *ctx, const char *s, size_t len, accllm_error *err)
{
    return acc_encoder_word(ctx, s, len, err);
}

/* The fragment with a blank in front and SentencePiece's own blank (U+2581) as a blank, into e->text. */
static accllm_status spell(acc_encoder *e, const char *s, size_t len, size_t *out_len, accllm_error *err)
{
    if (e->cap_text < len + 1) {
        void *p = NULL;
        ACC_TRY(acc_alloc(&p, len + 1, 1, "text", err));
        acc_free(e->text);
        e->text = p;
        e->cap_text = len + 1;
    }
    size_t n = 0;
    if (e->tok->space_prefix) e->text[n++] = ' ';
    for (size_t i = 0; i < len;) {
        bool blank = len - i >= 3 && memcmp(s + i, "\xe2\x96\x81", 3) == 0;
        e->text[n++] = blank ? ' ' : s[i];
        i += blank ? 3 : 1;
    }
    *out_len = n;
    return ACCLLM_OK;
}

/* Where no token holds a blank behind another character, merges never reach over such a place, so cutting there changes
 * nothing and keeps words short. */
static accllm_status sentencepiece(acc_encoder *e, const char *s, size_t len, accllm_error *err)
{
    size_t n = 0, start = 0;
    ACC_TRY(spell(e, s, len, &n, err));
    if (!e->tok->words_apart) return acc_encoder_word(e, e->text, n, err);
    for (size_t i = 1; i < n; i++) {
        if (e->text[i] != ' ' || e->text[i - 1] == ' ') continue;
        ACC_TRY(acc_encoder_word(e, e->text + start, i - start, err));
        start = i;
    }
    return acc_encoder_word(e, e->text + start, n - start, err);
}

static accllm_status fragment(acc_encoder *e, const char *s, size_t len, accllm_error *err)
{
    if (len == 0) return ACCLLM_OK;
    e->fragment = e->n_ids;
    e->epoch++; /* words kept so far point into other bytes */
    if (!e->tok->bpe) return sentencepiece(e, s, len, err);
    return acc_pretokenize(&e->tok->pre, &e->matcher, s, len, word, e, err);
}

accllm_status acc_encoder_text(acc_encoder *e, const char *s, size_t len, bool specials, accllm_error *err)
{
    size_t start = 0, at = 0;
    while (at < len) {
        int32_t id;
        size_t n = acc_special_match(e->tok, s + at, len - at, specials, &id);
        if (n == 0) {
            at++;
            continue;
        }
        ACC_TRY(fragment(e, s + start, at - start, err));
        ACC_TRY(acc_encoder_push(e, id, err));
        start = at += n;
    }
    return fragment(e, s + start, len - start, err);
}

accllm_status accllm_tokenize(const accllm_tokenizer *tok, const char *text, size_t len, unsigned flags, int32_t **ids,
                              size_t *n, accllm_error *err)
{
    if (!ids || !n) return acc_fail(err, ACCLLM_E_ARG, "tokenize: no place for the ids");
    *ids = NULL;
    *n = 0;
    if (!tok || (!text && len > 0)) return acc_fail(err, ACCLLM_E_ARG, "tokenize: no tokenizer or no text");
    if (flags & ~(unsigned)(ACCLLM_TOKENIZE_BOS | ACCLLM_TOKENIZE_SPECIAL))
        return acc_fail(err, ACCLLM_E_ARG, "tokenize: unknown flags %#x", flags);
    if (!text) text = "";
    acc_encoder e;
    accllm_status status = acc_encoder_init(&e, tok, len, err);
    if (status == ACCLLM_OK && (flags & ACCLLM_TOKENIZE_BOS) && tok->bos >= 0)
        status = acc_encoder_push(&e, tok->bos, err);
    if (status == ACCLLM_OK) status = acc_encoder_text(&e, text, len, flags & ACCLLM_TOKENIZE_SPECIAL, err);
    if (status == ACCLLM_OK) {
        *ids = e.ids;
        *n = e.n_ids;
        e.ids = NULL;
    }
    acc_encoder_free(&e);
    return status;
}
