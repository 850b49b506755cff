/* Tokens into text that is whole UTF-8 at every step. */
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void accllm_text_stream_init(accllm_text_stream *s, bool at_start)
{
    *s = (accllm_text_stream){.at_start = at_start};
}

typedef struct sink {
    char *out;
    size_t used, cap;
} sink;

/* A buffer smaller than the header asks for loses characters, never whole memory. */
static void put(sink *k, const char *s, size_t n)
{
    if (n > k->cap - k->used) return;
    memcpy(k->out + k->used, s, n);
    k->used += n;
}

/* Writes what the held bytes settle; what remains is the beginning of a character. */
static void settle(accllm_text_stream *s, sink *k)
{
    while (s->n_held > 0) {
        acc_utf8_seq q = acc_utf8_scan(s->held, s->n_held);
        if (q.state == ACC_UTF8_INCOMPLETE) return;
        if (q.state == ACC_UTF8_VALID)
            put(k, s->held, q.len);
        else
            put(k, REPLACEMENT, 3);
        s->n_held -= q.len;
        memmove(s->held, s->held + q.len, s->n_held);
    }
}

size_t accllm_text_stream_push(accllm_text_stream *s, const accllm_tokenizer *tok, int32_t id, char *out, size_t cap)
{
    size_t n, i = 0;
    const char *bytes = accllm_token_bytes(tok, id, &n);
    sink k = {out, 0, cap};
    if (s->at_start && n > 0) {
        if (!tok->bpe && tok->space_prefix && bytes[0] == ' ') i = 1;
        s->at_start = false;
    }
    for (; i < n; i++) {
        s->held[s->n_held++] = bytes[i];
        settle(s, &k);
    }
    return k.used;
}

size_t accllm_text_stream_flush(accllm_text_stream *s, char *out, size_t cap)
{
    sink k = {out, 0, cap};
    if (s->n_held > 0) put(&k, REPLACEMENT, 3); /* the beginning of one character */
    s->n_held = 0;
    return k.used;
}
