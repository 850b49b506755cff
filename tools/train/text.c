/* Texts as sequences of token ids. */
#include <stdlib.h>
#include <string.h>

#include "compress/calibration.h"
#include "core/file.h"
#include "core/memory.h"
#include "train.h"

static accllm_status push(train_text *t, int32_t id, accllm_error *err)
{
    if (t->used == t->cap) {
        const size_t cap = t->cap ? 2 * t->cap : 1 << 16;
        int32_t *more = cap <= SIZE_MAX / sizeof *more ? realloc(t->ids, cap * sizeof *more) : NULL;
        if (!more) return acc_fail(err, ACCLLM_E_NOMEM, "out of memory: token ids");
        t->ids = more;
        t->cap = cap;
    }
    t->ids[t->used++] = id;
    return ACCLLM_OK;
}

/* A sequence begins with a BOS, be it the document's own. */
static accllm_status put(train_text *t, int32_t id, int32_t bos, accllm_error *err)
{
    if (t->used % t->seq_len == 0 && id != bos) ACC_TRY(push(t, bos, err));
    return push(t, id, err);
}

static accllm_status add_document(train_text *t, const accllm_tokenizer *tok, const char *s, size_t n,
                                  accllm_error *err)
{
    const int32_t bos = accllm_tokenizer_bos(tok);
    int32_t *ids;
    size_t count;
    while (n && s[n - 1] == '\n') n--;
    if (n == 0) return ACCLLM_OK;
    ACC_TRY(accllm_tokenize(tok, s, n, 0, &ids, &count, err));
    accllm_status status = put(t, bos, bos, err);
    for (size_t i = 0; i < count && status == ACCLLM_OK; i++) status = put(t, ids[i], bos, err);
    free(ids);
    return status == ACCLLM_OK ? put(t, accllm_tokenizer_eos(tok), bos, err) : status;
}

accllm_status train_text_add(train_text *t, const accllm_tokenizer *tok, const char *path, accllm_error *err)
{
    acc_file f;
    ACC_TRY(acc_file_open(&f, path, true, err));
    const char *at = (const char *)f.data;
    accllm_status s = ACCLLM_OK;
    for (size_t left = f.size, next; left > 0 && s == ACCLLM_OK; at += next, left -= next)
        s = add_document(t, tok, at, acc_document(at, left, &next), err);
    acc_file_close(&f);
    return s == ACCLLM_OK ? s : acc_prefix(err, s, "%s", path);
}

void train_text_close(train_text *t, const accllm_tokenizer *tok, uint32_t n_seqs)
{
    const size_t whole = t->used / t->seq_len;
    t->n_seqs = whole < n_seqs ? (uint32_t)whole : n_seqs;
    t->bytes = 0;
    for (size_t i = 0; i < (size_t)t->n_seqs * t->seq_len; i++) {
        size_t n = 0;
        if (i % t->seq_len) (void)accllm_token_bytes(tok, t->ids[i], &n);
        t->bytes += n;
    }
}

void train_text_free(train_text *t)
{
    free(t->ids);
    *t = (train_text){0};
}
