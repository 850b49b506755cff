/*
 * One word into tokens: neighbours merge, the best pair first (byte-level BPE: the lowest rank, Sennrich et al. 2016;
 * SentencePiece-BPE: the highest score, Kudo and Richardson 2018), ties from the left. A linked list of symbols and a
 * heap of candidate pairs: O(n log n) for a word of n bytes.
 */
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

#define CACHED_WORD 64 /* longer words hardly come again */

/* Gives *array room for n items; the first `used` are kept. */
static accllm_status grow(void **array, size_t *cap, size_t used, size_t n, size_t size, accllm_error *err)
{
    if (n <= *cap) return ACCLLM_OK;
    size_t want = *cap;
    while (want < n)
        if (!acc_add(want, want / 2 + 64, &want)) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: word");
    void *p = NULL;
    ACC_TRY(acc_alloc(&p, want, size, "word", err));
    if (used) memcpy(p, *array, used * size);
    acc_free(*array);
    *array = p;
    *cap = want;
    return ACCLLM_OK;
}

static void sift_down(acc_bigram *h, size_t n, acc_bigram x)
{
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && h[child + 1].order < h[child].order) child++;
        if (x.order <= h[child].order) break;
        h[i] = h[child];
    }
    h[i] = x;
}

static accllm_status push_bigram(acc_encoder *e, acc_bigram x, accllm_error *err)
{
    void *p = e->heap;
    ACC_TRY(grow(&p, &e->cap_heap, e->n_heap, e->n_heap + 1, sizeof x, err));
    acc_bigram *h = e->heap = p;
    size_t i = e->n_heap++;
    for (; i > 0 && x.order < h[(i - 1) / 2].order; i = (i - 1) / 2) h[i] = h[(i - 1) / 2];
    h[i] = x;
    return ACCLLM_OK;
}

static acc_bigram pop_bigram(acc_encoder *e)
{
    acc_bigram top = e->heap[0];
    e->n_heap--;
    if (e->n_heap > 0) sift_down(e->heap, e->n_heap, e->heap[e->n_heap]);
    return top;
}

/* Notes that `left` and its neighbour can become one token. */
static accllm_status consider(acc_encoder *e, const char *s, int32_t left, accllm_error *err)
{
    const accllm_tokenizer *t = e->tok;
    const acc_symbol *l = &e->symbols[left], *r = &e->symbols[l->next];
    uint32_t key = 0, len = l->len + r->len;
    int32_t id = -1;
    if (t->bpe) {
        id = acc_pair_map_get(&t->merges, l->id, r->id, &key);
    } else if (len <= t->max_piece) {
        id = acc_text_map_get(&t->by_bytes, s + l->pos, len);
        if (id >= 0) key = t->tokens[id].order;
    }
    if (id < 0) return ACCLLM_OK;
    return push_bigram(e, (acc_bigram){(uint64_t)key << 32 | (uint32_t)left, l->next, len, id}, err);
}

/* The word's smallest parts: bytes, or SentencePiece's characters. */
static accllm_status first_symbols(acc_encoder *e, const char *s, size_t len, int32_t *count, accllm_error *err)
{
    const accllm_tokenizer *t = e->tok;
    void *p = e->symbols;
    ACC_TRY(grow(&p, &e->cap_symbols, 0, len, sizeof *e->symbols, err));
    e->symbols = p;
    int32_t n = 0;
    for (size_t at = 0; at < len; n++) {
        acc_symbol *y = &e->symbols[n];
        *y = (acc_symbol){(uint32_t)at, 1, n - 1, n + 1, -1};
        if (t->bpe) {
            y->id = t->byte_id[(uint8_t)s[at]];
        } else {
            acc_utf8_seq q = acc_utf8_scan(s + at, len - at);
            if (q.state == ACC_UTF8_VALID) y->len = q.len;
            y->id = acc_text_map_get(&t->by_bytes, s + at, y->len);
        }
        at += y->len;
    }
    if (n > 0) e->symbols[n - 1].next = -1;
    *count = n;
    return ACCLLM_OK;
}

static accllm_status merge_all(acc_encoder *e, const char *s, int32_t n, accllm_error *err)
{
    e->n_heap = 0;
    for (int32_t i = 0; i + 1 < n; i++) ACC_TRY(consider(e, s, i, err));
    while (e->n_heap > 0) {
        acc_bigram b = pop_bigram(e);
        int32_t left = (int32_t)(uint32_t)b.order;
        acc_symbol *l = &e->symbols[left], *r = &e->symbols[b.right];
        if (l->len == 0 || l->next != b.right || l->len + r->len != b.len) continue;
        l->len = b.len;
        l->id = b.id;
        l->next = r->next;
        r->len = 0;
        if (l->next >= 0) {
            e->symbols[l->next].prev = left;
            ACC_TRY(consider(e, s, left, err));
        }
        if (l->prev >= 0) ACC_TRY(consider(e, s, l->prev, err));
    }
    return ACCLLM_OK;
}

/* A symbol without a token: its bytes' tokens; without byte fallback one unknown token for a run of such symbols, as
 * SentencePiece does. Byte-level BPE leaves out a byte that the vocabulary lacks, as others do. */
static accllm_status push_unknown(acc_encoder *e, const char *s, uint32_t len, accllm_error *err)
{
    const accllm_tokenizer *t = e->tok;
    if (t->bpe) return ACCLLM_OK;
    if (t->byte_fallback) {
        for (uint32_t i = 0; i < len; i++) ACC_TRY(acc_encoder_push(e, t->byte_id[(uint8_t)s[i]], err));
        return ACCLLM_OK;
    }
    bool run = e->n_ids > e->fragment && e->ids[e->n_ids - 1] == t->unk;
    return t->unk < 0 || run ? ACCLLM_OK : acc_encoder_push(e, t->unk, err);
}

static accllm_status merge_word(acc_encoder *e, const char *s, size_t len, accllm_error *err)
{
    int32_t n = 0;
    if (e->tok->bpe && e->tok->pre.whole_words) {
        int32_t id = acc_text_map_get(&e->tok->by_bytes, s, len);
        if (id >= 0) return acc_encoder_push(e, id, err);
    }
    ACC_TRY(first_symbols(e, s, len, &n, err));
    ACC_TRY(merge_all(e, s, n, err));
    for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = e->symbols[i].next) {
        const acc_symbol *y = &e->symbols[i];
        if (y->id >= 0)
            ACC_TRY(acc_encoder_push(e, y->id, err));
        else
            ACC_TRY(push_unknown(e, s + y->pos, y->len, err));
    }
    return ACCLLM_OK;
}

accllm_status acc_encoder_word(acc_encoder *e, const char *s, size_t len, accllm_error *err)
{
    /* Runs of unknown tokens reach over words, so such words have no tokens of their own to keep. */
    bool keep = e->cache && len <= CACHED_WORD && (e->tok->bpe || e->tok->byte_fallback);
    if (!keep) return merge_word(e, s, len, err);
    uint64_t hash = acc_fnv1a(ACC_FNV_START, s, len);
    acc_cached_word *w = &e->cache[(hash ^ hash >> 32) & e->cache_mask];
    if (w->epoch == e->epoch && w->hash == hash && w->len == len && memcmp(w->s, s, len) == 0) {
        for (uint32_t i = 0; i < w->n_ids; i++) ACC_TRY(acc_encoder_push(e, e->ids[w->first_id + i], err));
        return ACCLLM_OK;
    }
    size_t first = e->n_ids;
    ACC_TRY(merge_word(e, s, len, err));
    *w = (acc_cached_word){hash, s, (uint32_t)len, e->epoch, (uint32_t)(e->n_ids - first), first};
    return ACCLLM_OK;
}
