/* Calibration text -> token sequences. */
#include <stdlib.h>
#include <string.h>

#include "compress/calibration.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"

#define MAX_TEXT ((size_t)16 << 20)

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
    int32_t *ids = NULL;
    size_t n = 0;
    const char *text = (const char *)acc_calibration_text;
    size_t size = acc_calibration_text_size;
    if (max_len < 2) return acc_fail(err, ACCLLM_E_ARG, "the context is too short for calibration");
    if (path) {
        ACC_TRY(acc_file_open(&file, path, false, err));
        text = (const char *)file.data;
        size = file.size < MAX_TEXT ? file.size : MAX_TEXT;
    }
    int32_t bos = accllm_tokenizer_adds_bos(tok) ? accllm_tokenizer_bos(tok) : -1;
    accllm_status s = accllm_tokenize(tok, size ? text : "", size, 0, &ids, &n, err);
    if (s == ACCLLM_OK && n < 2)
        s = acc_fail(err, ACCLLM_E_ARG, "%s: no text to calibrate on", path ? path : "built-in text");
    c->text_tokens = n;
    if (s == ACCLLM_OK) s = cut(c, ids, n, n_tokens, max_len, bos, err);
    if (s == ACCLLM_OK) s = check_ids(c, n_vocab, err);
    free(ids);
    acc_file_close(&file);
    if (s != ACCLLM_OK) acc_calibration_free(c);
    return s;
}

void acc_calibration_free(acc_calibration *c)
{
    acc_free(c->ids);
    *c = (acc_calibration){0};
}
