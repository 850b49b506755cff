#include "grammar/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/status.h"

enum { MOST_BYTES = 1024 }; /* longer tokens are never allowed */

static int by_bytes(const void *a, const void *b, void *tok)
{
    size_t n, m;
    const int32_t *x = a, *y = b;
    const char *s = accllm_token_bytes(tok, *x, &n), *t = accllm_token_bytes(tok, *y, &m);
    int order = memcmp(s, t, n < m ? n : m);
    if (order != 0) return order;
    return n != m ? (n > m) - (n < m) : (*x > *y) - (*x < *y);
}

/* Sorts the tokens into those that end a text and those that have one. */
static void take_tokens(accllm_vocabulary *v)
{
    size_t n;
    for (int32_t id = 0; id < accllm_tokenizer_size(v->tok); id++) {
        (void)accllm_token_bytes(v->tok, id, &n);
        if (accllm_token_ends_text(v->tok, id)) {
            v->ends[v->n_ends++] = id;
        } else if (n > 0 && n <= MOST_BYTES) {
            v->id[v->n_ids++] = id;
            if (n > v->longest) v->longest = (uint32_t)n;
        }
    }
    qsort_r(v->id, v->n_ids, sizeof *v->id, by_bytes, (void *)(uintptr_t)v->tok);
}

static size_t common(const char *s, size_t n, const char *t, size_t m)
{
    size_t i = 0;
    while (i < n && i < m && s[i] == t[i]) i++;
    return i;
}

static size_t count_nodes(const accllm_vocabulary *v)
{
    size_t count = 1, n = 0, m;
    const char *s = "";
    for (uint32_t i = 0; i < v->n_ids; i++) {
        const char *t = accllm_token_bytes(v->tok, v->id[i], &m);
        count += m - common(s, n, t, m);
        s = t;
        n = m;
    }
    return count;
}

/* open: [longest + 1], the nodes from the root to the last token. */
static void fill_nodes(accllm_vocabulary *v, uint32_t *open)
{
    size_t depth = 0, n = 0, m;
    const char *s = "";
    v->node[0] = (acc_trie_node){0};
    v->n_nodes = 1;
    open[0] = 0;
    for (uint32_t i = 0; i < v->n_ids; i++) {
        const char *t = accllm_token_bytes(v->tok, v->id[i], &m);
        size_t same = common(s, n, t, m);
        for (; depth > same; depth--) v->node[open[depth]].end = v->n_nodes;
        for (; depth < m; v->n_nodes++) {
            v->node[v->n_nodes] =
                (acc_trie_node){.first = i, .depth = (uint16_t)(depth + 1), .byte = (uint8_t)t[depth]};
            open[++depth] = v->n_nodes;
        }
        s = t;
        n = m;
    }
    for (; depth > 0; depth--) v->node[open[depth]].end = v->n_nodes;
    v->node[0].end = v->n_nodes;
    v->node[v->n_nodes] = (acc_trie_node){.end = v->n_nodes, .first = v->n_ids};
}

/* Some vocabularies put a blank before a text, and take it off again. */
static bool strips_blank(const accllm_vocabulary *v)
{
    char out[3 * MOST_BYTES + 16];
    accllm_text_stream s;
    for (uint32_t i = 0; i < v->n_ids; i++) {
        size_t n;
        if (*accllm_token_bytes(v->tok, v->id[i], &n) != ' ') continue;
        accllm_text_stream_init(&s, true);
        size_t m = accllm_text_stream_push(&s, v->tok, v->id[i], out, sizeof out);
        return m == 0 || *out != ' ' || (n > 1 && m + s.n_held < n);
    }
    return false;
}

static accllm_status fill(accllm_vocabulary *v, accllm_error *err)
{
    size_t n = (size_t)accllm_tokenizer_size(v->tok);
    void *p = NULL;
    ACC_TRY(acc_alloc(&p, n, sizeof *v->id, "vocabulary", err));
    v->id = p;
    ACC_TRY(acc_alloc(&p, n, sizeof *v->ends, "vocabulary", err));
    v->ends = p;
    take_tokens(v);
    size_t nodes = count_nodes(v);
    if (nodes >= UINT32_MAX) return acc_fail(err, ACCLLM_E_LIMIT, "the vocabulary is too large for a grammar");
    ACC_TRY(acc_alloc(&p, nodes + 1, sizeof *v->node, "vocabulary", err));
    v->node = p;
    ACC_TRY(acc_alloc(&p, v->longest + 1, sizeof(uint32_t), "vocabulary", err));
    fill_nodes(v, p);
    acc_free(p);
    v->strips_blank = strips_blank(v);
    return ACCLLM_OK;
}

accllm_status accllm_vocabulary_create(accllm_vocabulary **out, const accllm_tokenizer *tok, uint32_t n_vocab,
                                       accllm_error *err)
{
    if (!out || !tok) return acc_fail(err, ACCLLM_E_ARG, "vocabulary: no tokenizer or no place for it");
    *out = NULL;
    if (n_vocab < (uint32_t)accllm_tokenizer_size(tok))
        return acc_fail(err, ACCLLM_E_ARG, "vocabulary: %u logits for the %d tokens of the tokenizer", n_vocab,
                        (int)accllm_tokenizer_size(tok));
    accllm_vocabulary *v = acc_calloc(1, sizeof *v);
    if (!v) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: vocabulary");
    v->tok = tok;
    v->n_vocab = n_vocab;
    accllm_status status = fill(v, err);
    if (status == ACCLLM_OK)
        *out = v;
    else
        accllm_vocabulary_free(&v);
    return status;
}

void accllm_vocabulary_free(accllm_vocabulary **v)
{
    if (!v || !*v) return;
    acc_free((*v)->node);
    acc_free((*v)->id);
    acc_free((*v)->ends);
    acc_free(*v);
    *v = NULL;
}

size_t accllm_vocabulary_bytes(const accllm_vocabulary *v)
{
    return sizeof *v + (v->n_nodes + 1) * sizeof *v->node + 2 * (size_t)accllm_tokenizer_size(v->tok) * sizeof *v->id;
}
