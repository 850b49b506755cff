/* Calibration text -> token sequences. */
#include <stdlib.h>
#include <string.h>

#include "compress/calibration.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"

#define MAX_TEXT ((size_t)64 << 20)
#define DOCUMENT_END "<|endoftext|>"

/* Cuts the text's tokens into sequences that begin at evenly spread places. */
static accllm_status cut(acc_calibration *c, const int32_t *ids, size_t n, uint32_t n_tokens, uint32_t max_len,
                         int32_t bos, accllm_error *err)
{
    const uint32_t head = bos >= 0;
    const size_t body = max_len - head; /* tokens of text in a full sequence */
    size_t want = n_tokens / max_len ? n_tokens / max_len : 1, have = n / body;
    c->n_seqs = (uint32_t)(have == 0 ? 1 : want < have ? want : have);
    c->seq_len = have == 0 ? (uint32_t)n + head : max_len;
    void *p;
    ACC_TRY(acc_alloc(&p, (size_t)c->n_seqs * c->seq_len, sizeof *c->ids, "calibration tokens", err));
    c->ids = p;
    const size_t len = c->seq_len - head, slack = n - len;
    for (uint32_t s = 0; s < c->n_seqs; s++) {
        int32_t *out = c->ids + (size_t)s * c->seq_len;
        size_t start = c->n_seqs > 1 ? slack * s / (c->n_seqs - 1) : 0;
        if (head) out[0] = bos;
        memcpy(out + head, ids + start, len * sizeof *out);
    }
    c->hash = acc_fnv1a(ACC_FNV_START, c->ids, (size_t)c->n_seqs * c->seq_len * sizeof *c->ids);
    return ACCLLM_OK;
}

/* The id of a special token that separates documents: the vocabulary's own, else its BOS, else -1. */
static int32_t separator(const accllm_tokenizer *tok)
{
    int32_t *ids = NULL, id = -1;
    size_t n = 0;
    if (accllm_tokenize(tok, DOCUMENT_END, strlen(DOCUMENT_END), ACCLLM_TOKENIZE_SPECIAL, &ids, &n, NULL) ==
            ACCLLM_OK &&
        n == 1)
        id = ids[0];
    free(ids);
    return id < 0 && accllm_tokenizer_adds_bos(tok) ? accllm_tokenizer_bos(tok) : id;
}

size_t acc_document(const char *text, size_t size, size_t *next)
{
    const size_t mark = strlen(DOCUMENT_END);
    for (size_t at = 0; at + mark <= size;) {
        const bool found = memcmp(text + at, DOCUMENT_END, mark) == 0;
        if (found && (at + mark == size || text[at + mark] == '\n')) {
            *next = at + mark + (at + mark < size);
            return at;
        }
        const char *line = memchr(text + at, '\n', size - at);
        if (!line) break;
        at = (size_t)(line - text) + 1;
    }
    *next = size;
    return size;
}

typedef struct id_list {
    int32_t *ids;
    size_t n, room;
} id_list;

static accllm_status append(id_list *l, const int32_t *ids, size_t n, accllm_error *err)
{
    if (n == 0) return ACCLLM_OK;
    if (l->n + n > l->room) {
        const size_t room = l->room * 2 > l->n + n ? l->room * 2 : l->n + n;
        int32_t *more = realloc(l->ids, room * sizeof *more);
        if (!more) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: calibration tokens");
        l->ids = more;
        l->room = room;
    }
    memcpy(l->ids + l->n, ids, n * sizeof *ids);
    l->n += n;
    return ACCLLM_OK;
}

/* All documents one after the other, a separator between two. Special tokens count: the text is the user's own. */
static accllm_status tokenize_all(id_list *out, const accllm_tokenizer *tok, const char *text, size_t size,
                                  accllm_error *err)
{
    const int32_t between = separator(tok);
    for (size_t next; size > 0; text += next, size -= next) {
        int32_t *ids = NULL;
        size_t n = 0;
        const size_t len = acc_document(text, size, &next);
        accllm_status s = accllm_tokenize(tok, text, len, ACCLLM_TOKENIZE_SPECIAL, &ids, &n, err);
        if (s == ACCLLM_OK && n && out->n && between >= 0) s = append(out, &between, 1, err);
        if (s == ACCLLM_OK) s = append(out, ids, n, err);
        free(ids);
        ACC_TRY(s);
    }
    return ACCLLM_OK;
}

static accllm_status check_ids(const acc_calibration *c, uint32_t n_vocab, accllm_error *err)
{
    for (size_t i = 0; i < (size_t)c->n_seqs * c->seq_len; i++)
        if (c->ids[i] < 0 || (uint32_t)c->ids[i] >= n_vocab)
            return acc_fail(err, ACCLLM_E_FORMAT, "the tokenizer gives id %d, the model has %u tokens", c->ids[i],
                            n_vocab);
    return ACCLLM_OK;
}

accllm_status acc_calibration_create(acc_calibration *c, const accllm_tokenizer *tok, const char *path,
                                     uint32_t n_tokens, uint32_t max_len, uint32_t n_vocab, accllm_error *err)
{
    *c = (acc_calibration){0};
    acc_file file = {0};
    id_list all = {0};
    const char *text = (const char *)acc_calibration_text;
    size_t size = acc_calibration_text_size;
    if (max_len < 2) return acc_fail(err, ACCLLM_E_ARG, "the context is too short for calibration");
    if (path) {
        ACC_TRY(acc_file_open(&file, path, false, err));
        text = (const char *)file.data;
        size = file.size < MAX_TEXT ? file.size : MAX_TEXT;
    }
    int32_t bos = accllm_tokenizer_adds_bos(tok) ? accllm_tokenizer_bos(tok) : -1;
    accllm_status s = tokenize_all(&all, tok, text, size, err);
    if (s == ACCLLM_OK && all.n < 2)
        s = acc_fail(err, ACCLLM_E_ARG, "%s: no text to calibrate on", path ? path : "built-in text");
    c->text_tokens = all.n;
    c->text_hash = acc_fnv1a(ACC_FNV_START, all.ids, all.n * sizeof *all.ids);
    if (s == ACCLLM_OK) s = cut(c, all.ids, all.n, n_tokens, max_len, bos, err);
    if (s == ACCLLM_OK) s = check_ids(c, n_vocab, err);
    free(all.ids);
    acc_file_close(&file);
    if (s != ACCLLM_OK) acc_calibration_free(c);
    return s;
}

void acc_calibration_free(acc_calibration *c)
{
    acc_free(c->ids);
    *c = (acc_calibration){0};
}
